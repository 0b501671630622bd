//! The alert store: the states of all alerts, silences, and what each notifier has sent.
//!
//! Notifications are deduplicated here: a notifier sends an alert only when its tier differs from the one that
//! the notifier sent last, and no silence matches it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};

use super::identity::AlertIdentity;
use super::persistence::{FileOwnership, Notified, PersistedState, StateWriter};
use super::silence::{Added, Silence, Silences};
use super::state::{AlertKey, AlertState, Transition};
use super::tier::Tier;
use crate::clock;
use crate::handover_flag::HandoverFlag;

/// How many transitions pages show.
const RECENT_MAX: usize = 100;

/// Shared by the engine, the notifiers and the admin side.
#[derive(Debug)]
pub struct AlertStore {
    alerts: ArcSwap<Vec<AlertState>>,
    silences: Mutex<Silences>,
    /// The tier that each notifier has sent last, unless that is none.
    notified: Mutex<BTreeMap<String, HashMap<AlertKey, Tier>>>,
    recent: Mutex<VecDeque<Transition>>,
    /// The names of all notifiers.
    notifiers: Vec<String>,
    writer: Option<StateWriter>,
    identity: Arc<AlertIdentity>,
    /// Set while a successor sends notifications.
    handed_over: HandoverFlag,
    /// Locked for reading while a notification is sent.
    sending: RwLock<()>,
}

/// A change that a notifier has not sent yet.
#[derive(Clone, Debug)]
pub struct Change {
    /// The tier that it sent last.
    pub notified: Tier,
    pub state: AlertState,
}

/// The outcome of a request for a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silenced {
    Created,
    TooMany,
}

impl AlertStore {
    /// Starts with what the last process saved.
    #[must_use]
    pub fn new(
        state: &PersistedState,
        alerts: Vec<AlertState>,
        notifiers: Vec<String>,
        writer: Option<StateWriter>,
        (identity, now): (Arc<AlertIdentity>, Duration),
    ) -> Self {
        let mut silences = Silences::default();
        for silence in &state.silences {
            silences.add(silence.clone());
        }
        let notified = state.notified.iter().map(|(name, notified)| {
            let notified = notified
                .iter()
                .map(|notified| (notified.key.clone(), notified.tier));
            (name.clone(), notified.collect())
        });
        let store = AlertStore {
            alerts: ArcSwap::default(),
            silences: Mutex::new(silences),
            notified: Mutex::new(notified.collect()),
            recent: Mutex::default(),
            notifiers,
            writer,
            identity,
            handed_over: HandoverFlag::default(),
            sending: RwLock::default(),
        };
        let alerts = store.with_stale(alerts, now);
        store.alerts.store(Arc::new(alerts));
        store
    }

    /// Adds stale alerts: those that no rule evaluates any more, until every notifier has sent them as resolved.
    fn with_stale(&self, mut alerts: Vec<AlertState>, now: Duration) -> Vec<AlertState> {
        let known: HashSet<AlertKey> = alerts.iter().map(|state| state.key.clone()).collect();
        let before = self.alerts();
        let notified = self.notified.lock();
        let notified = self.notifiers.iter().filter_map(|name| notified.get(name));
        let keys: BTreeSet<&AlertKey> = notified.flat_map(HashMap::keys).collect();
        let unknown = keys.into_iter().filter(|key| !known.contains(*key));
        let stale = unknown.map(|key| {
            let last = before.iter().find(|state| state.key == *key);
            let ended = last.filter(|state| state.tier == Tier::None);
            ended
                .cloned()
                .unwrap_or_else(|| AlertState::stale(key.clone(), self.identity.clone(), now))
        });
        alerts.extend(stale);
        alerts
    }

    /// The labels of alerts raised from now on.
    #[must_use]
    pub fn identity(&self) -> &AlertIdentity {
        &self.identity
    }

    /// The states of all alerts.
    #[must_use]
    pub fn alerts(&self) -> Arc<Vec<AlertState>> {
        self.alerts.load_full()
    }

    /// The last transitions, newest last.
    #[must_use]
    pub fn recent(&self) -> Vec<Transition> {
        self.recent.lock().iter().cloned().collect()
    }

    #[must_use]
    pub fn silences(&self) -> Vec<Silence> {
        self.silences.lock().list()
    }

    /// The ids of the active silences that match an alert.
    #[must_use]
    pub fn silenced_by(&self, state: &AlertState, notified: Tier, now: Duration) -> Vec<String> {
        let silences = self.silences.lock();
        let over = silences
            .matching(state, notified, timestamp(now))
            .into_iter();
        over.map(str::to_owned).collect()
    }

    pub fn silence(&self, silence: Silence) -> Silenced {
        let added = self.silences.lock().add(silence);
        self.save();
        match added {
            Added::Stored => Silenced::Created,
            Added::Full => Silenced::TooMany,
        }
    }

    /// Expires a silence; `None` when there is none with this id.
    #[must_use]
    pub fn expire_silence(&self, id: &str) -> Option<Silence> {
        let ended = self.silences.lock().remove(id);
        self.save();
        ended
    }

    /// Publishes the result of an evaluation.
    pub(super) fn publish(
        &self,
        alerts: Vec<AlertState>,
        transitions: &[Transition],
        now: Duration,
    ) {
        let alerts = self.with_stale(alerts, now);
        self.alerts.store(Arc::new(alerts));
        let ended = self.silences.lock().expire(timestamp(now));
        if !transitions.is_empty() {
            let mut recent = self.recent.lock();
            recent.extend(transitions.iter().cloned());
            let surplus = recent.len().saturating_sub(RECENT_MAX);
            drop(recent.drain(..surplus));
        }
        if ended || !transitions.is_empty() {
            self.save();
        }
    }

    /// What a notifier has to send: alerts whose tier differs from the one that it sent last, and that no silence
    /// matches.
    #[must_use]
    pub fn changes(&self, notifier: &str, now: Duration) -> Vec<Change> {
        let alerts = self.alerts();
        let notified = self.notified.lock();
        let notified = notified.get(notifier);
        let silences = self.silences.lock();
        let changes = alerts.iter().filter_map(|state| {
            let notified = notified
                .and_then(|notified| notified.get(&state.key))
                .copied();
            let notified = notified.unwrap_or(Tier::None);
            let is_due = notified != state.tier
                && silences
                    .matching(state, notified, timestamp(now))
                    .is_empty();
            is_due.then(|| Change {
                notified,
                state: state.clone(),
            })
        });
        changes.collect()
    }

    /// The tier of an alert that a notifier sent last.
    #[must_use]
    pub fn notified(&self, notifier: &str, key: &AlertKey) -> Tier {
        let notified = self.notified.lock();
        let tier = notified
            .get(notifier)
            .and_then(|notified| notified.get(key))
            .copied();
        tier.unwrap_or(Tier::None)
    }

    /// Records what a notifier has sent.
    pub fn set_notified<'k>(
        &self,
        notifier: &str,
        notified: impl Iterator<Item = (&'k AlertKey, Tier)>,
    ) {
        let mut has_changed = false;
        let mut all = self.notified.lock();
        let of_notifier = all.entry(notifier.to_owned()).or_default();
        for (key, tier) in notified {
            let before = match tier {
                Tier::None => of_notifier.remove(key),
                tier => of_notifier.insert(key.clone(), tier),
            };
            has_changed |= before.unwrap_or(Tier::None) != tier;
        }
        drop(all);
        if has_changed {
            self.save();
        }
    }

    /// Hands the state to the thread that writes it.
    pub(super) fn save(&self) {
        if let Some(writer) = &self.writer {
            writer.write(&self.to_persist());
        }
    }

    fn to_persist(&self) -> PersistedState {
        let alerts = self.alerts();
        let all = self.notified.lock().clone();
        let notified = all.iter().map(|(name, notified)| {
            let notified = notified.iter().map(|(key, tier)| Notified {
                key: key.clone(),
                tier: *tier,
            });
            (name.clone(), notified.collect())
        });
        PersistedState {
            alerts: alerts.iter().filter_map(AlertState::to_save).collect(),
            silences: self.silences(),
            notified: notified.collect(),
            ..PersistedState::default()
        }
    }

    /// Reserves the right to send a notification; `None` while a successor has it.
    pub(super) fn begin_sending(&self) -> Option<impl Drop> {
        let sending = self.sending.read();
        (!self.handed_over.is_set()).then_some(sending)
    }

    /// Whether a successor has the alerts.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.is_set()
    }

    /// Leaves notifications and the state file to a successor. Waits for those in progress, but not beyond the deadline.
    pub(super) fn hand_over(&self, deadline: Instant) -> PersistedState {
        self.handed_over.set();
        if self.sending.try_write_until(deadline).is_none() {
            log::warn!(
                "alerts: a notifier is slow: the next process may send the same notification"
            );
        }
        if let Some(writer) = &self.writer {
            writer.set_ownership(FileOwnership::Elsewhere, deadline);
        }
        self.to_persist()
    }

    /// Sends notifications and writes the state file again.
    pub(super) fn take_back(&self) {
        self.handed_over.clear();
        if let Some(writer) = &self.writer {
            writer.set_ownership(FileOwnership::Here, clock::now());
        }
        self.save();
    }

    /// Counts a write of the state that takes too long.
    pub(super) fn check(&self, now: Instant) {
        if let Some(writer) = &self.writer {
            writer.check(now);
        }
    }

    /// Writes what is not written yet.
    pub(super) fn close(&self, deadline: Instant) {
        if let Some(writer) = &self.writer {
            self.save();
            writer.stop(deadline);
        }
    }
}

/// A time since the Unix epoch as a timestamp.
#[must_use]
pub fn timestamp(now: Duration) -> Timestamp {
    let nanoseconds = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
    Timestamp::from_nanosecond(nanoseconds).unwrap_or(Timestamp::MAX)
}
