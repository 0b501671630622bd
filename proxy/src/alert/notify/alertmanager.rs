//! Alertmanager, by its API v2 (`POST /api/v2/alerts`).
//!
//! Alertmanager drops an alert that is not sent again, so all firing alerts are sent every 30 seconds, with an
//! `endsAt` four minutes ahead. A critical alert is sent as a warning as well: an inhibition rule mutes the
//! warning, and both are resolved in one request. The critical one is sent first, half a second ahead, or the
//! warning would be notified before it is inhibited. Resolved alerts are sent again for as long as the store has
//! them, for an Alertmanager that was down. A body is made right before it is sent: a late one would reopen a
//! resolved alert.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::kind::{
    DeclaredSettings, Destination, NotifierContext, NotifierKind, RawSettings, bearer,
};
use super::post::PostTarget;
use super::{ConsoleLinks, News, Notifier, NotifierHealth, NotifyFailure, summary, wait};
use crate::alert::state::AlertState;
use crate::alert::store::{AlertStore, Change, timestamp};
use crate::alert::tier::Tier;
use crate::clock;
use crate::settings::declare::settings;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::List;
use crate::settings::url::ServiceUrl;
use crate::settings::values::{PlainText, SecretText};
use crate::worker::thread::{SharedState, State, WorkerThread};

/// How often firing alerts are sent again.
const RESEND: Duration = Duration::from_secs(30);
/// How long Alertmanager keeps an alert that is not sent again, as with Prometheus.
const LIFETIME: Duration = Duration::from_secs(240);
/// Alertmanager rejects an alert that ends when it starts.
const SHORTEST: Duration = Duration::from_millis(1);
/// Between a critical alert and the warning that it mutes.
const MUTE_WAIT: Duration = Duration::from_millis(500);
/// Alerts in one request.
const BATCH: usize = 500;
/// The longest wait before a retry.
const RETRY_MAX: Duration = Duration::from_secs(10);

pub const KIND: NotifierKind = NotifierKind {
    key: "alertmanager",
    left_out: "Left out: Alertmanager is not notified.",
    example: "urls: ['http://127.0.0.1:9093']",
    settings: DeclaredSettings::of::<Alertmanager>(),
    retry_max: RETRY_MAX,
    start,
};

settings! {
    /// Prometheus Alertmanager.
    struct Alertmanager {
        /// Its replicas; each is notified.
        urls: List<ServiceUrl, 1> [required] restart,
        /// Left out: no authentication.
        username: PlainText [optional] restart,
        /// The password of the user.
        password: SecretText [optional] restart,
        /// A bearer token, instead of a user.
        token: SecretText [optional] restart,
    }
}

/// One Alertmanager.
pub struct AlertmanagerClient {
    /// Its name in metrics, logs and the state file.
    pub name: String,
    pub target: PostTarget,
    pub links: ConsoleLinks,
}

/// What is sent.
#[derive(Default)]
struct Bodies {
    /// Critical alerts in force.
    first: Vec<Value>,
    rest: Vec<Value>,
    /// Whether one of the critical alerts has not been sent yet.
    has_news: bool,
    notified: Vec<(crate::alert::state::AlertKey, Tier)>,
}

fn start(
    destination: &Destination,
    links: ConsoleLinks,
    context: NotifierContext,
) -> std::io::Result<Notifier> {
    let url = format!("{}/api/v2/alerts", destination.url.expose_secret());
    let alertmanager = AlertmanagerClient {
        name: context.worker.name().to_owned(),
        target: PostTarget::new(&SecretText::from(url), destination.authorization.clone()),
        links,
    };
    WorkerThread::start(context.worker.clone(), true, move |shared| {
        alertmanager.run(shared, &context);
    })
}

impl RawSettings for Alertmanager {
    fn check(&self, diagnostics: &mut Diagnostics) -> Option<Vec<Destination>> {
        let authorization = self.authorization(diagnostics)?;
        let mut destinations: Vec<Destination> = Vec::new();
        for at in &self.urls.value()?.0 {
            let url = at.value.0.expose_secret().trim_end_matches('/');
            let wrong = if url.contains(['?', '#']) {
                "an address of Alertmanager has no query and no fragment"
            } else if url.contains("/api/v") {
                "weir appends /api/v2/alerts itself: leave the path of the API out"
            } else if destinations
                .iter()
                .any(|destination| destination.url.expose_secret() == url)
            {
                "duplicate address; list each Alertmanager once"
            } else {
                destinations.push(Destination::new(
                    &SecretText::from(url),
                    authorization.clone(),
                ));
                continue;
            };
            diagnostics.error(at.place, wrong);
            return None;
        }
        Some(destinations)
    }
}

impl Alertmanager {
    /// The credentials: a user or a token. `Some(None)`: none.
    fn authorization(&self, diagnostics: &mut Diagnostics) -> Option<Option<SecretText>> {
        let user = self.username.value().map(|text| text.0.as_str());
        let user = user.filter(|user| !user.is_empty());
        let authorization = match (user, self.password.value()) {
            (Some(user), password) => {
                let password = password.map_or("", SecretText::expose_secret);
                let pair = STANDARD.encode(format!("{user}:{password}"));
                Some(SecretText::from(format!("Basic {pair}")))
            }
            (None, Some(_)) => {
                let wrong =
                    "`username` is missing (or empty after substitution): a password needs a user";
                diagnostics.error(self.password.place, wrong);
                return None;
            }
            (None, None) => bearer(&self.token, diagnostics)?,
        };
        if user.is_some() && self.token.value().is_some() {
            let wrong = "`username` is set as well: use one of them";
            diagnostics.error(self.token.place, wrong);
            return None;
        }
        Some(authorization)
    }
}

impl AlertmanagerClient {
    fn run(&self, shared: &SharedState<News>, context: &NotifierContext) {
        let (store, counts) = (&context.store, &context.counts);
        let mut health = NotifierHealth::new(context.retry_max);
        let mut next = clock::now();
        let mut state = State::Running;
        while state == State::Running {
            state = wait(shared, next, true);
            context.worker.fault_point();
            let pause = match self.push(shared, store) {
                Ok(Push::Nothing) => {
                    health.up_to_date(&self.name, counts);
                    RESEND
                }
                Ok(Push::All) => {
                    health.succeeded(&self.name, counts);
                    RESEND
                }
                Err(failure) => health.failed(&self.name, &failure, counts),
            };
            next = clock::now() + pause;
        }
    }

    fn push(&self, shared: &SharedState<News>, store: &AlertStore) -> Result<Push, NotifyFailure> {
        let Some(_sending) = store.begin_sending() else {
            return Ok(Push::Nothing);
        };
        let bodies = self.bodies(store, clock::unix_now());
        let notified = bodies.notified.iter().map(|(key, tier)| (key, *tier));
        if bodies.first.is_empty() && bodies.rest.is_empty() {
            store.set_notified(&self.name, notified);
            return Ok(Push::Nothing);
        }
        // A batch that is rejected must not keep the others from being sent.
        let mut rejected = None;
        let mut send = |alerts: &[Value]| match self.send(alerts) {
            Err(NotifyFailure::Permanent(why)) => {
                rejected = Some(NotifyFailure::Permanent(why));
                Ok(())
            }
            other => other,
        };
        if !bodies.first.is_empty() {
            send(&bodies.first)?;
            if bodies.has_news {
                let mut inner = shared.lock();
                shared.wait_until(&mut inner, clock::now() + MUTE_WAIT, |_| false);
            }
        }
        let rest = self.bodies(store, clock::unix_now()).rest;
        if !rest.is_empty() {
            send(&rest)?;
        }
        if let Some(rejected) = rejected {
            return Err(rejected);
        }
        store.set_notified(&self.name, notified);
        Ok(Push::All)
    }

    fn send(&self, alerts: &[Value]) -> Result<(), NotifyFailure> {
        for batch in alerts.chunks(BATCH) {
            let body = serde_json::to_vec(batch);
            let body = body.map_err(|error| NotifyFailure::Permanent(error.to_string()))?;
            self.target.post(body)?;
        }
        Ok(())
    }

    /// All that would be sent now.
    #[cfg(test)]
    pub(super) fn alerts(&self, store: &AlertStore, now: Duration) -> Vec<Value> {
        let Bodies { first, rest, .. } = self.bodies(store, now);
        first.into_iter().chain(rest).collect()
    }

    fn bodies(&self, store: &AlertStore, now: Duration) -> Bodies {
        let mut bodies = Bodies::default();
        for state in store.alerts().iter() {
            let notified = store.notified(&self.name, &state.key);
            self.add(&mut bodies, store, state, notified, now);
        }
        bodies
    }

    fn add(
        &self,
        bodies: &mut Bodies,
        store: &AlertStore,
        state: &AlertState,
        notified: Tier,
        now: Duration,
    ) {
        let expires_at = now + LIFETIME;
        let is_silenced = !store.silenced_by(state, notified, now).is_empty();
        // What it has already is kept firing: dropped, it would look resolved.
        let tier = match is_silenced {
            true => state.tier.min(notified),
            false => state.tier,
        };
        if tier != notified {
            bodies.notified.push((state.key.clone(), tier));
        }
        let alert = |tier, starts_at: Duration, ends_at: Duration| {
            // The wall clock may have been set back: Alertmanager rejects an alert that starts in the future, or
            // ends before it starts.
            let ends_at = if ends_at > now { expires_at } else { ends_at };
            let starts_at = starts_at.min(now).min(ends_at.saturating_sub(SHORTEST));
            self.alert(state, tier, starts_at, ends_at)
        };
        if let (true, Some(past)) = (tier != Tier::Critical, state.past_critical) {
            let ended = past.ended_at.min(now);
            bodies
                .rest
                .push(alert(Tier::Critical, past.began_at, ended));
        }
        let Some(raised_at) = state.raised_at else {
            return;
        };
        match (tier, state.ended_at) {
            (Tier::Warning | Tier::Critical, _) => {
                bodies
                    .rest
                    .push(alert(Tier::Warning, raised_at, expires_at));
                if let (Tier::Critical, Some(at)) = (tier, state.critical_at) {
                    bodies.first.push(alert(Tier::Critical, at, expires_at));
                    bodies.has_news |= notified != Tier::Critical;
                }
            }
            (Tier::None, Some(ended_at)) => {
                let ended = ended_at.min(now);
                bodies.rest.push(alert(Tier::Warning, raised_at, ended));
                let critical = state.critical_at;
                bodies
                    .rest
                    .extend(critical.map(|at| alert(Tier::Critical, at, ended)));
            }
            // It started to fire while silenced.
            (Tier::None, None) => {}
        }
    }

    fn alert(
        &self,
        state: &AlertState,
        tier: Tier,
        starts_at: Duration,
        ends_at: Duration,
    ) -> Value {
        let mut labels: serde_json::Map<String, Value> = state
            .labels()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        labels.insert("severity".to_owned(), json!(tier.as_str()));
        let change = Change {
            notified: Tier::None,
            state: state.clone(),
        };
        json!({
            "labels": labels,
            "annotations": {
                "summary": summary(&change),
                "runbook_url": self.links.runbook(&change),
            },
            "startsAt": timestamp(starts_at),
            "endsAt": timestamp(ends_at),
            "generatorURL": format!("{}/api/alerts", self.links.console),
        })
    }
}

/// The outcome of a push.
enum Push {
    All,
    /// There is nothing to send.
    Nothing,
}
