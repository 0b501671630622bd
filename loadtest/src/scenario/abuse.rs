//! What must be refused: unsigned, wrongly signed, stale, sent before, too large.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use weir::signature::signer::{Again, Signer};

use super::{Scenario, Sent, Wants, request};
use crate::door::Door;
use crate::wanted::{Expect, Judged, Wanted};

/// Larger ones are not sent to find out that they are too large.
const OVERSIZED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How much older than the oldest that is let in.
const PAST_AGE_S: u64 = 60;

pub(super) const FIRST: &str = "abuse:first";

/// The request that is sent again once it has been let in.
#[derive(Debug, Default)]
pub(super) struct Before {
    is_under_way: AtomicBool,
    accepted: Mutex<Option<Wanted>>,
}

impl Before {
    /// Looks at what became of the first.
    pub(super) fn answered(&self, wanted: &Wanted, judged: Judged) {
        if judged == Judged::Success {
            *self.accepted.lock() = Some(wanted.clone());
        }
        self.is_under_way.store(false, Ordering::Release);
    }
}

impl Scenario {
    /// Each kind in turn.
    pub(super) fn abuse(&self, number: u64) -> Result<Wanted, String> {
        let body = self
            .questions
            .body(number, Wants::Whole, &mut self.questions.random(number));
        let (door, signer) = self.ways().next().ok_or("no route wants a signature")?;
        let dated = self.ways().find_map(|(door, signer)| {
            let age = signer.age_max?;
            Some((door, signer, age))
        });
        match (number % 5, dated) {
            (0, _) => refused("abuse:unsigned", door, None, body, 0),
            (1, Some((door, signer, age))) => {
                let ago_s = age.as_secs() + PAST_AGE_S;
                refused("abuse:stale", door, Some(signer), body, ago_s)
            }
            (2, _) => match self.replayed(body.clone())? {
                Some(wanted) => Ok(wanted),
                None => refused("abuse:wrong", door, Some(&signer.forger()), body, 0),
            },
            (3, _) if door.body_bytes_max < OVERSIZED_BYTES_MAX => {
                let bytes = usize::try_from(door.body_bytes_max).unwrap_or(0) + 1;
                let body = Bytes::from(vec![b' '; bytes]);
                let sent = Sent::now("abuse:oversized", Expect::Status(vec![413]));
                request(sent, door, Some(signer), body)
            }
            _ => refused("abuse:wrong", door, Some(&signer.forger()), body, 0),
        }
    }

    /// A request that was let in, again; or the first that is to be let in. `None` while that one is
    /// under way, or where nothing is remembered.
    fn replayed(&self, body: Bytes) -> Result<Option<Wanted>, String> {
        let mut ways = self.ways();
        let Some((door, signer)) = ways.find(|(_, signer)| signer.again == Again::Rejected) else {
            return Ok(None);
        };
        if let Some(accepted) = &*self.before.accepted.lock() {
            return Ok(Some(Wanted {
                name: "abuse:replayed".into(),
                expect: Expect::Status(vec![401]),
                ..accepted.clone()
            }));
        }
        if self.before.is_under_way.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        let first = request(
            Sent::now(FIRST, Expect::SuccessOrLimited),
            door,
            Some(signer),
            body,
        );
        first.map(Some)
    }
}

fn refused(
    name: &str,
    door: &Door,
    signer: Option<&Signer>,
    body: Bytes,
    ago_s: u64,
) -> Result<Wanted, String> {
    let expect = Expect::Status(vec![401]);
    request(
        Sent {
            name,
            expect,
            ago_s,
        },
        door,
        signer,
        body,
    )
}
