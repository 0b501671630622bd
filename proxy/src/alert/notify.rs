//! Tells people: each notifier is a thread of its own, so that one that hangs holds up no other.
//!
//! Nothing is queued. A notifier compares how the alerts stand with what it told last, so that after an
//! outage it tells how things are and not how they were, and memory goes by alerts and not by time. What
//! it told is kept over a restart. At the end of the process nobody is waited for longer than
//! [`STOP_MAX`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::kind::{Context, Kind};
use super::board::Change;
use super::tier::Tier;
use crate::alert::metrics::NotifierCounts;
use crate::backoff;
use crate::log_throttle::{LogDecision, LogThrottle};
use crate::worker::thread::{SharedState, State, WorkerThread};
use crate::{clock, random};

pub mod alertmanager;
pub mod feishu;
pub mod kind;
pub mod post;
pub mod webhook;

/// Every kind of notifier, each one file with one descriptor.
pub const ALL: &[&Kind] = &[&alertmanager::KIND, &feishu::KIND, &webhook::KIND];

/// At the end of the process no notifier is waited for longer.
pub const STOP_MAX: Duration = Duration::from_secs(2);
/// After a change, for others that belong to it: a storm is one message.
const GROUP_WAIT: Duration = Duration::from_secs(1);
/// Between two messages.
const GAP: Duration = Duration::from_secs(2);
/// When nothing happens: silences end.
const IDLE: Duration = Duration::from_secs(5);
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The longest of the waits below, with their jitter.
const RETRY_MAX: Duration = Duration::from_millis(37_500);
/// For what will not get better by itself soon.
const REFUSED_WAIT: Duration = Duration::from_secs(30);
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// What the thread of a notifier shares: whether there may be news.
pub type News = bool;
pub type Notifier = WorkerThread<News>;

/// Tells a notifier that there may be news.
pub fn wake(notifier: &Notifier) {
    notifier.lock().work = true;
    notifier.wake();
}

/// Why something was not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may go well soon.
    NotNow(String, Option<Duration>),
    /// Somebody has to do something about it.
    Refused(String),
}

impl Failure {
    #[must_use]
    pub fn why(&self) -> &str {
        let (Failure::NotNow(why, _) | Failure::Refused(why)) = self;
        why
    }

    /// How long to wait when it is the n-th in a row: with jitter, so that replicas come apart.
    #[must_use]
    pub fn wait(&self, failures: u32) -> Duration {
        let usual = match self {
            Failure::NotNow(_, Some(after)) => (*after).min(BACKOFF_MAX),
            Failure::NotNow(_, None) => backoff::exponential(BACKOFF, BACKOFF_MAX, failures),
            Failure::Refused(_) => REFUSED_WAIT,
        };
        usual + backoff::jitter(usual / 4, random::bits() as u32)
    }
}

/// A way to tell people of changes, once each.
pub trait Channel: Send + 'static {
    /// Tells all of them in one message.
    ///
    /// # Errors
    /// When it was not taken; then nothing of it counts as told.
    fn tell(&mut self, changes: &[Change], now: Duration) -> Result<(), Failure>;

    /// How many go into one message; the others go into the next.
    fn changes_max(&self) -> usize {
        usize::MAX
    }
}

/// Starts the thread of a channel.
///
/// # Errors
/// When the system has no thread to give.
pub fn start(mut channel: impl Channel, context: Context) -> std::io::Result<Notifier> {
    WorkerThread::start(context.worker.clone(), true, move |shared| {
        run(shared, &mut channel, &context);
    })
}

fn run(shared: &SharedState<News>, channel: &mut dyn Channel, context: &Context) {
    let Context {
        worker,
        board,
        counts,
        retry_max,
    } = context;
    let name = worker.name();
    let mut health = Health::new(*retry_max);
    // When the changes that are there are told.
    let mut due: Option<Instant> = None;
    let mut told_at: Option<Instant> = None;
    loop {
        let state = wait(
            shared,
            due.unwrap_or_else(|| clock::now() + IDLE),
            due.is_none(),
        );
        let now = clock::now();
        let changes = board.changes(name, clock::unix_now());
        if changes.is_empty() {
            due = None;
            health.nothing_left(name, counts);
            if state == State::Stopping {
                return;
            }
            continue;
        }
        let after_last = told_at.map_or(now, |at| at + GAP);
        let at = *due.get_or_insert((now + GROUP_WAIT).max(after_last));
        if now < at && state == State::Running {
            continue;
        }
        worker.fault_point();
        let changes = changes.get(..channel.changes_max()).unwrap_or(&changes);
        match channel.tell(changes, clock::unix_now()) {
            Ok(()) => {
                let told = changes.iter();
                let told = told.map(|change| (&change.standing.key, change.standing.tier));
                board.note_told(name, told);
                health.well(name, counts);
                (due, told_at) = (None, Some(clock::now()));
            }
            Err(failure) => {
                let wait = health.failed(name, &failure, counts);
                due = Some(clock::now() + wait);
            }
        }
        if state == State::Stopping {
            return;
        }
    }
}

/// Waits for a time, or for news where those matter before it.
fn wait(shared: &SharedState<News>, until: Instant, for_news: bool) -> State {
    let mut inner = shared.lock();
    shared.wait_until(&mut inner, until, |news| for_news && *news);
    inner.work = false;
    inner.state
}

/// How it goes with a notifier.
#[derive(Debug)]
struct Health {
    complaint: LogThrottle,
    failures: u32,
    retry_max: Duration,
}

impl Health {
    fn new(retry_max: Duration) -> Self {
        Health {
            complaint: LogThrottle::every(COMPLAINT_INTERVAL),
            failures: 0,
            retry_max,
        }
    }

    fn well(&mut self, name: &str, counts: &NotifierCounts) {
        counts.sent.inc();
        self.nothing_left(name, counts);
    }

    /// What could not be told is told, or is so no more: nobody waits for it.
    fn nothing_left(&mut self, name: &str, counts: &NotifierCounts) {
        counts.up.set(1);
        self.failures = 0;
        if self.complaint.recovered() {
            log::info!(
                "alerts: {name} has been told how things are, or there is nothing left to tell"
            );
        }
    }

    /// Notes a failure; returns how long to wait.
    fn failed(&mut self, name: &str, failure: &Failure, counts: &NotifierCounts) -> Duration {
        counts.failed.inc();
        counts.up.set(0);
        self.failures = self.failures.saturating_add(1);
        if self.complaint.failed(clock::now()) == LogDecision::Log {
            log::error!(
                "alerts: {name} is not told: {}; it is tried again",
                failure.why()
            );
        }
        failure.wait(self.failures).min(self.retry_max)
    }
}

/// What people read of a change, in one line.
#[must_use]
pub fn summary(change: &Change) -> String {
    let standing = &change.standing;
    let figure = standing.shown_figure();
    let signal = standing
        .rule
        .as_ref()
        .map_or("the figure", |rule| rule.signal.name);
    match standing.tier {
        Tier::None if standing.rule.is_none() => {
            format!("{}: over, it is no longer watched", standing.key)
        }
        Tier::None => format!("{}: recovered, {signal} is {figure}", standing.key),
        tier => {
            let line = standing.threshold(tier).unwrap_or_default();
            let way = match standing.rule.as_ref().map(|rule| rule.lines.worse) {
                Some(super::tier::Worse::Down) => "below",
                _ => "above",
            };
            let tier = tier.as_str();
            format!(
                "{}: {tier}, {signal} is {figure}, {way} {line}",
                standing.key
            )
        }
    }
}

/// Where weir's own pages are reached from outside.
#[derive(Clone, Debug)]
pub struct Links {
    pub console: Arc<str>,
}

impl Links {
    /// The page of advice for an alert.
    #[must_use]
    pub fn runbook(&self, change: &Change) -> String {
        match &change.standing.rule {
            Some(rule) => rule.runbook_url(&self.console),
            None => format!("{}/api/alerts", self.console),
        }
    }
}

#[cfg(test)]
#[path = "notify/tests.rs"]
mod tests;
