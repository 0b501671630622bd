//! The store for what identifies requests: replay protection and idempotency.
//!
//! Both operations are asynchronous, for a store that replicas share; in this process they never wait.

use std::sync::Arc;
use std::time::Duration;

use super::delivery::{Claim, Deliveries};
use super::replay::{ReplayKey, Seen, SeenRequests, whole_seconds};

/// The store of one scheme of one route.
#[derive(Clone, Debug)]
pub(super) struct ReplayStore {
    /// Its window in seconds; schemes that share the backing may have a longer one.
    window_s: u64,
    backing: Backing,
}

#[derive(Clone, Debug)]
enum Backing {
    InProcess(Arc<InProcess>),
}

/// The part that schemes with shared secrets have in common.
#[derive(Debug)]
pub(super) struct InProcess {
    seen: Arc<SeenRequests>,
    deliveries: Arc<Deliveries>,
}

impl InProcess {
    pub(super) fn new(seen: SeenRequests) -> Arc<Self> {
        let seen = Arc::new(seen);
        Arc::new(InProcess {
            deliveries: Arc::new(Deliveries::new(seen.clone())),
            seen,
        })
    }

    /// This store, adapted to another configuration and extended by what `others` have seen. Deliveries in progress are
    /// kept.
    pub(super) fn following(
        self: &Arc<Self>,
        others: &[Arc<InProcess>],
        window: Duration,
        schemes: usize,
    ) -> Arc<Self> {
        self.seen.widen(window, schemes);
        for other in others {
            self.seen.absorb(&other.seen);
        }
        self.clone()
    }

    pub(super) fn seen(&self) -> &SeenRequests {
        &self.seen
    }

    /// How many were dropped before they expired.
    pub(super) fn dropped(&self) -> u64 {
        self.seen.dropped()
    }
}

impl ReplayStore {
    /// A store with this window; `None` when the window is zero.
    pub(super) fn in_process(shared: &Arc<InProcess>, window: Duration) -> Option<Self> {
        (!window.is_zero()).then(|| ReplayStore {
            window_s: whole_seconds(window),
            backing: Backing::InProcess(shared.clone()),
        })
    }

    /// Checks and inserts in one step: of equal keys at the same time one is the first.
    pub(super) async fn check_and_insert(&self, key: ReplayKey, now: Duration) -> Seen {
        match &self.backing {
            Backing::InProcess(shared) => shared.seen.check_and_insert(key, now, self.window_s),
        }
    }

    /// Checks and inserts the delivery of a platform, which needs a response within `respond_within` even while another
    /// request with it is in progress.
    pub(super) async fn claim(
        &self,
        key: ReplayKey,
        now: Duration,
        respond_within: Duration,
    ) -> Claim {
        match &self.backing {
            Backing::InProcess(shared) => {
                let deliveries = &shared.deliveries;
                deliveries.claim(key, now, self.window_s, respond_within)
            }
        }
    }
}
