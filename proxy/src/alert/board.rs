//! What pages and notifiers see of the alerts, and what of it outlives the process.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::identity::Identity;
use super::silence::{Added, Silence, Silences};
use super::standing::{Key, Standing, Transition};
use super::state::{Keeper, State, Told};
use super::tier::Tier;

/// Transitions that pages show.
const RECENT_MAX: usize = 100;

/// Shared by the engine, the notifiers and the admin side.
#[derive(Debug)]
pub struct Board {
    standings: ArcSwap<Vec<Standing>>,
    silences: Mutex<Silences>,
    /// The tier that each notifier has told last, where that is not none.
    told: Mutex<BTreeMap<String, HashMap<Key, Tier>>>,
    recent: Mutex<VecDeque<Transition>>,
    /// The names of those who are told.
    notifiers: Vec<String>,
    keeper: Option<Keeper>,
    identity: Arc<Identity>,
}

/// What a notifier is to tell.
#[derive(Clone, Debug)]
pub struct Change {
    /// What it told last.
    pub told: Tier,
    pub standing: Standing,
}

/// What became of a wish for a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silenced {
    Now,
    TooMany,
}

impl Board {
    /// Begins with what a former process left.
    #[must_use]
    pub fn new(
        state: &State,
        standings: Vec<Standing>,
        notifiers: Vec<String>,
        keeper: Option<Keeper>,
        (identity, now): (Arc<Identity>, Duration),
    ) -> Self {
        let mut silences = Silences::default();
        for silence in &state.silences {
            silences.add(silence.clone());
        }
        let told = state.told.iter().map(|(name, told)| {
            let told = told.iter().map(|told| (told.key.clone(), told.tier));
            (name.clone(), told.collect())
        });
        let board = Board {
            standings: ArcSwap::default(),
            silences: Mutex::new(silences),
            told: Mutex::new(told.collect()),
            recent: Mutex::default(),
            notifiers,
            keeper,
            identity,
        };
        let standings = board.with_ghosts(standings, now);
        board.standings.store(Arc::new(standings));
        board
    }

    /// Adds what nobody watches any more as long as somebody was told of it and not of its end.
    fn with_ghosts(&self, mut standings: Vec<Standing>, now: Duration) -> Vec<Standing> {
        let known: HashSet<Key> = standings
            .iter()
            .map(|standing| standing.key.clone())
            .collect();
        let before = self.standings();
        let told = self.told.lock();
        let told = self.notifiers.iter().filter_map(|name| told.get(name));
        let keys: BTreeSet<&Key> = told.flat_map(HashMap::keys).collect();
        let unknown = keys.into_iter().filter(|key| !known.contains(*key));
        let ghosts = unknown.map(|key| {
            let last = before.iter().find(|standing| standing.key == *key);
            let ended = last.filter(|standing| standing.tier == Tier::None);
            ended
                .cloned()
                .unwrap_or_else(|| Standing::ghost(key.clone(), self.identity.clone(), now))
        });
        standings.extend(ghosts);
        standings
    }

    /// Who raises what is raised from now on.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How every alert stands.
    #[must_use]
    pub fn standings(&self) -> Arc<Vec<Standing>> {
        self.standings.load_full()
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

    /// The ids of the silences that hold for an alert now.
    #[must_use]
    pub fn silenced_by(&self, standing: &Standing, told: Tier, now: Duration) -> Vec<String> {
        let silences = self.silences.lock();
        let over = silences.over(standing, told, timestamp(now)).into_iter();
        over.map(str::to_owned).collect()
    }

    pub fn silence(&self, silence: Silence) -> Silenced {
        let added = self.silences.lock().add(silence);
        self.save();
        match added {
            Added::Kept => Silenced::Now,
            Added::Full => Silenced::TooMany,
        }
    }

    /// Ends a silence before its time; `None` when there is none with this id.
    #[must_use]
    pub fn end_silence(&self, id: &str) -> Option<Silence> {
        let ended = self.silences.lock().remove(id);
        self.save();
        ended
    }

    /// Shows a new evaluation.
    pub(super) fn publish(
        &self,
        standings: Vec<Standing>,
        transitions: &[Transition],
        now: Duration,
    ) {
        let standings = self.with_ghosts(standings, now);
        self.standings.store(Arc::new(standings));
        let ended = self.silences.lock().forget_over(timestamp(now));
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

    /// What a notifier has not told yet: where the tier is another than it told last, and no silence
    /// holds.
    #[must_use]
    pub fn changes(&self, notifier: &str, now: Duration) -> Vec<Change> {
        let standings = self.standings();
        let told = self.told.lock();
        let told = told.get(notifier);
        let silences = self.silences.lock();
        let changes = standings.iter().filter_map(|standing| {
            let told = told.and_then(|told| told.get(&standing.key)).copied();
            let told = told.unwrap_or(Tier::None);
            let is_due =
                told != standing.tier && silences.over(standing, told, timestamp(now)).is_empty();
            is_due.then(|| Change {
                told,
                standing: standing.clone(),
            })
        });
        changes.collect()
    }

    /// The tier that a notifier told last of an alert.
    #[must_use]
    pub fn told(&self, notifier: &str, key: &Key) -> Tier {
        let told = self.told.lock();
        let tier = told.get(notifier).and_then(|told| told.get(key)).copied();
        tier.unwrap_or(Tier::None)
    }

    /// Notes what a notifier has told.
    pub fn note_told<'k>(&self, notifier: &str, told: impl Iterator<Item = (&'k Key, Tier)>) {
        let mut has_changed = false;
        let mut all = self.told.lock();
        let of_notifier = all.entry(notifier.to_owned()).or_default();
        for (key, tier) in told {
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

    /// Hands what is to outlive the process to the thread that writes it.
    pub(super) fn save(&self) {
        let Some(keeper) = &self.keeper else {
            return;
        };
        let standings = self.standings();
        let all = self.told.lock().clone();
        let told = all.iter().map(|(name, told)| {
            let told = told.iter().map(|(key, tier)| Told {
                key: key.clone(),
                tier: *tier,
            });
            (name.clone(), told.collect())
        });
        let state = State {
            alerts: standings.iter().filter_map(Standing::to_save).collect(),
            silences: self.silences(),
            told: told.collect(),
            ..State::default()
        };
        keeper.keep(&state);
    }

    /// Counts a write of the state that takes too long.
    pub(super) fn snapshot(&self, now: Instant) {
        if let Some(keeper) = &self.keeper {
            keeper.snapshot(now);
        }
    }

    /// Writes what is left to be written.
    pub(super) fn close(&self, deadline: Instant) {
        if let Some(keeper) = &self.keeper {
            self.save();
            keeper.stop(deadline);
        }
    }
}

/// A time as silences have it.
#[must_use]
pub fn timestamp(now: Duration) -> Timestamp {
    let nanoseconds = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
    Timestamp::from_nanosecond(nanoseconds).unwrap_or(Timestamp::MAX)
}
