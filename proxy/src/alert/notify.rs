//! Notifiers: each runs on a thread of its own, so that one that hangs does not delay the others.
//!
//! Nothing is queued. A notifier compares the states of the alerts with what it sent last, so that after an
//! outage it sends the current state and no backlog, and memory is bounded by the alerts. What it sent survives a
//! restart. A stop waits for no notifier longer than [`STOP_MAX`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::kind::{NotifierContext, NotifierKind};
use super::store::Change;
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

/// Every kind of notifier: each is one file with one descriptor.
pub const ALL: &[&NotifierKind] = &[&alertmanager::KIND, &feishu::KIND, &webhook::KIND];

/// A stop waits for no notifier longer.
pub const STOP_MAX: Duration = Duration::from_secs(2);
/// After a change, for related ones: an alert storm is grouped into one message.
const GROUP_WAIT: Duration = Duration::from_secs(1);
/// The shortest time between two messages.
const GAP: Duration = Duration::from_secs(2);
/// How often silences are checked for their end.
const IDLE: Duration = Duration::from_secs(5);
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The longest of the waits below, with their jitter.
const RETRY_MAX: Duration = Duration::from_millis(37_500);
/// After a failure that somebody has to fix.
const PERMANENT_WAIT: Duration = Duration::from_secs(30);
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Whether there may be changes to send.
pub type News = bool;
pub type Notifier = WorkerThread<News>;

/// Wakes a notifier: there may be changes to send.
pub fn wake(notifier: &Notifier) {
    notifier.lock().work = true;
    notifier.wake();
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyFailure {
    /// It is worth a retry; after this time, if the service named one.
    Retryable(String, Option<Duration>),
    /// Somebody has to fix it.
    Permanent(String),
}

impl NotifyFailure {
    #[must_use]
    pub fn reason(&self) -> &str {
        let (NotifyFailure::Retryable(why, _) | NotifyFailure::Permanent(why)) = self;
        why
    }

    /// How long to wait after the n-th failure in a row, with jitter so that replicas spread out.
    #[must_use]
    pub fn wait(&self, failures: u32) -> Duration {
        let usual = match self {
            NotifyFailure::Retryable(_, Some(after)) => (*after).min(BACKOFF_MAX),
            NotifyFailure::Retryable(_, None) => {
                backoff::exponential(BACKOFF, BACKOFF_MAX, failures)
            }
            NotifyFailure::Permanent(_) => PERMANENT_WAIT,
        };
        usual + backoff::jitter(usual / 4, random::bits() as u32)
    }
}

/// Sends changes, each once.
pub trait Channel: Send + 'static {
    /// Sends all of them in one message.
    ///
    /// # Errors
    /// When it was not accepted; then none of them counts as sent.
    fn send(&mut self, changes: &[Change], now: Duration) -> Result<(), NotifyFailure>;

    /// The most changes in one message; more go into the next.
    fn changes_max(&self) -> usize {
        usize::MAX
    }
}

/// Starts the thread of a channel.
///
/// # Errors
/// When the system has no thread to give.
pub fn start(mut channel: impl Channel, context: NotifierContext) -> std::io::Result<Notifier> {
    WorkerThread::start(context.worker.clone(), true, move |shared| {
        run(shared, &mut channel, &context);
    })
}

fn run(shared: &SharedState<News>, channel: &mut dyn Channel, context: &NotifierContext) {
    let NotifierContext {
        worker,
        store,
        counts,
        retry_max,
    } = context;
    let name = worker.name();
    let mut health = NotifierHealth::new(*retry_max);
    // When the pending changes are sent.
    let mut due: Option<Instant> = None;
    let mut sent_at: Option<Instant> = None;
    loop {
        let state = wait(
            shared,
            due.unwrap_or_else(|| clock::now() + IDLE),
            due.is_none(),
        );
        let now = clock::now();
        let sending = store.begin_sending();
        let changes = match &sending {
            Some(_) => store.changes(name, clock::unix_now()),
            None => Vec::new(),
        };
        if changes.is_empty() {
            due = None;
            health.up_to_date(name, counts);
            if state == State::Stopping {
                return;
            }
            continue;
        }
        let after_last = sent_at.map_or(now, |at| at + GAP);
        let at = *due.get_or_insert((now + GROUP_WAIT).max(after_last));
        if now < at && state == State::Running {
            continue;
        }
        worker.fault_point();
        let changes = changes.get(..channel.changes_max()).unwrap_or(&changes);
        match channel.send(changes, clock::unix_now()) {
            Ok(()) => {
                let notified = changes.iter();
                let notified = notified.map(|change| (&change.state.key, change.state.tier));
                store.set_notified(name, notified);
                health.succeeded(name, counts);
                (due, sent_at) = (None, Some(clock::now()));
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

/// Waits until a time, or until news when `for_news` is set.
fn wait(shared: &SharedState<News>, until: Instant, for_news: bool) -> State {
    let mut inner = shared.lock();
    shared.wait_until(&mut inner, until, |news| for_news && *news);
    inner.work = false;
    inner.state
}

/// The health of a notifier.
#[derive(Debug)]
struct NotifierHealth {
    throttle: LogThrottle,
    failures: u32,
    retry_max: Duration,
}

impl NotifierHealth {
    fn new(retry_max: Duration) -> Self {
        NotifierHealth {
            throttle: LogThrottle::every(LOG_INTERVAL),
            failures: 0,
            retry_max,
        }
    }

    fn succeeded(&mut self, name: &str, counts: &NotifierCounts) {
        counts.sent.inc();
        self.up_to_date(name, counts);
    }

    /// Everything has been sent, or there is nothing to send any more.
    fn up_to_date(&mut self, name: &str, counts: &NotifierCounts) {
        counts.up.set(1);
        self.failures = 0;
        if self.throttle.recovered() {
            log::info!("alerts: {name} is up to date again");
        }
    }

    /// Records a failure; returns how long to wait.
    fn failed(&mut self, name: &str, failure: &NotifyFailure, counts: &NotifierCounts) -> Duration {
        counts.failed.inc();
        counts.up.set(0);
        self.failures = self.failures.saturating_add(1);
        if self.throttle.failed(clock::now()) == LogDecision::Log {
            log::error!(
                "alerts: {name} could not be notified: {}; retrying",
                failure.reason()
            );
        }
        failure.wait(self.failures).min(self.retry_max)
    }
}

/// One line about a change, for people.
#[must_use]
pub fn summary(change: &Change) -> String {
    let state = &change.state;
    let value = state.shown_value();
    let signal = state
        .rule
        .as_ref()
        .map_or("the value", |rule| rule.signal.name);
    match state.tier {
        Tier::None if state.rule.is_none() => {
            format!("{}: resolved, no rule evaluates it any more", state.key)
        }
        Tier::None => format!("{}: recovered, {signal} is {value}", state.key),
        tier => {
            let threshold = state.threshold(tier).unwrap_or_default();
            let direction = match state.rule.as_ref().map(|rule| rule.thresholds.worse) {
                Some(super::tier::Worse::Down) => "below",
                _ => "above",
            };
            let tier = tier.as_str();
            format!(
                "{}: {tier}, {signal} is {value}, {direction} {threshold}",
                state.key
            )
        }
    }
}

/// Where the admin API is reached from outside.
#[derive(Clone, Debug)]
pub struct ConsoleLinks {
    pub console: Arc<str>,
}

impl ConsoleLinks {
    /// The runbook of an alert.
    #[must_use]
    pub fn runbook(&self, change: &Change) -> String {
        match &change.state.rule {
            Some(rule) => rule.runbook_url(&self.console),
            None => format!("{}/api/alerts", self.console),
        }
    }
}

#[cfg(test)]
#[path = "notify/tests.rs"]
mod tests;
