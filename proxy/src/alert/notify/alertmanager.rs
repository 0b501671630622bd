//! Alertmanager, by its API v2 (`POST /api/v2/alerts`).
//!
//! Alertmanager forgets an alert that is not sent again, so all that is in force is sent every 30 seconds,
//! with an end that lies four minutes ahead. An alert that is critical is there as warning as well: an
//! inhibition rule mutes the lower one, and both end in one request, so that what was opened is closed. The
//! critical one goes first, half a second ahead, or the warning would get past the inhibition. Ends are
//! repeated for as long as the board tells them, for an Alertmanager that was down. A body is made when it
//! is sent: one that is late would open again what has ended.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde_json::{Value, json};

use super::kind::{Context, Endpoint, Invalid, Kind, Presence, Setting, Settings, ValueKind};
use super::post::Target;
use super::{Failure, Health, Links, News, Notifier, summary, wait};
use crate::alert::board::{Board, Change, timestamp};
use crate::alert::standing::Standing;
use crate::alert::tier::Tier;
use crate::clock;
use crate::worker::thread::{SharedState, State, WorkerThread};

/// How often what is in force is sent again.
const RESEND: Duration = Duration::from_secs(30);
/// How long an Alertmanager believes in an alert that is not sent again: as Prometheus has it.
const LIFETIME: Duration = Duration::from_secs(240);
/// An alert that ends when it begins is refused.
const SHORTEST: Duration = Duration::from_millis(1);
/// Between a critical alert and the warning that it mutes.
const MUTE_WAIT: Duration = Duration::from_millis(500);
/// Alerts in one request.
const BATCH: usize = 500;
/// One that does not answer is tried again at least this often.
const RETRY_MAX: Duration = Duration::from_secs(10);

pub const KIND: Kind = Kind {
    key: "alertmanager",
    left_out: "Left out: Alertmanager is not told.",
    definition: "Alertmanager",
    about: "Prometheus Alertmanager.",
    settings: &[
        Setting {
            key: "urls",
            about: "Its replicas; each is told.",
            value: ValueKind::Urls,
            presence: Presence::Required,
        },
        Setting::optional(
            "username",
            ValueKind::Text,
            "Left out: nobody has to say who they are.",
        ),
        Setting::optional("password", ValueKind::Secret, "Of the user."),
        Setting::optional(
            "token",
            ValueKind::Secret,
            "A bearer token, instead of a user.",
        ),
    ],
    check,
    retry_max: RETRY_MAX,
    start,
};

/// One Alertmanager.
pub struct Alertmanager {
    /// What metrics, logs and the state call it.
    pub name: String,
    pub target: Target,
    pub links: Links,
}

/// What is sent.
#[derive(Default)]
struct Bodies {
    /// Critical alerts in force.
    first: Vec<Value>,
    rest: Vec<Value>,
    /// Whether one of the critical ones is new to it.
    has_news: bool,
    told: Vec<(crate::alert::standing::Key, Tier)>,
}

fn start(endpoint: &Endpoint, links: Links, context: Context) -> std::io::Result<Notifier> {
    let url = format!("{}/api/v2/alerts", endpoint.url);
    let alertmanager = Alertmanager {
        name: context.worker.name().to_owned(),
        target: Target::new(&url, endpoint.authorization.clone()),
        links,
    };
    WorkerThread::start(context.worker.clone(), true, move |shared| {
        alertmanager.run(shared, &context);
    })
}

/// Where it is, and how weir says who it is: as a user, or with a token.
fn check(settings: &Settings) -> Result<Vec<Endpoint>, Invalid> {
    let user = settings.text("username").filter(|user| !user.is_empty());
    let authorization = match (user, settings.text("password")) {
        (Some(user), password) => {
            let pair = STANDARD.encode(format!("{user}:{}", password.unwrap_or_default()));
            HeaderValue::from_str(&format!("Basic {pair}")).ok()
        }
        (None, Some(_)) => {
            let why =
                "`username` is missing (or empty after substitution): a password needs a username";
            return Err(Invalid::key("password", why));
        }
        (None, None) => settings.bearer("token")?,
    };
    if user.is_some() && settings.text("token").is_some() {
        let why = "there is a `username` as well: give one of them";
        return Err(Invalid::key("token", why));
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for (item, url) in settings.list("urls").iter().enumerate() {
        let url = url.trim_end_matches('/');
        let why = if url.contains(['?', '#']) {
            "an address of Alertmanager has no query and no fragment"
        } else if url.contains("/api/v") {
            "weir adds /api/v2/alerts by itself: leave the path of the API out"
        } else if endpoints.iter().any(|endpoint| endpoint.url == url) {
            "this address stands here already; each is told once"
        } else {
            endpoints.push(Endpoint::new(url, authorization.clone()));
            continue;
        };
        return Err(Invalid {
            item: Some(item),
            ..Invalid::key("urls", why)
        });
    }
    Ok(endpoints)
}

impl Alertmanager {
    fn run(&self, shared: &SharedState<News>, context: &Context) {
        let (board, counts) = (&context.board, &context.counts);
        let mut health = Health::new(context.retry_max);
        let mut next = clock::now();
        let mut state = State::Running;
        while state == State::Running {
            state = wait(shared, next, true);
            context.worker.fault_point();
            let pause = match self.push(shared, board) {
                Ok(Pushed::Nothing) => {
                    health.nothing_left(&self.name, counts);
                    RESEND
                }
                Ok(Pushed::All) => {
                    health.well(&self.name, counts);
                    RESEND
                }
                Err(failure) => health.failed(&self.name, &failure, counts),
            };
            next = clock::now() + pause;
        }
    }

    fn push(&self, shared: &SharedState<News>, board: &Board) -> Result<Pushed, Failure> {
        let bodies = self.bodies(board, clock::unix_now());
        let told = bodies.told.iter().map(|(key, tier)| (key, *tier));
        if bodies.first.is_empty() && bodies.rest.is_empty() {
            board.note_told(&self.name, told);
            return Ok(Pushed::Nothing);
        }
        // One alert that it refuses is no reason to keep the others from it.
        let mut refused = None;
        let mut send = |alerts: &[Value]| match self.send(alerts) {
            Err(Failure::Refused(why)) => {
                refused = Some(Failure::Refused(why));
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
        let rest = self.bodies(board, clock::unix_now()).rest;
        if !rest.is_empty() {
            send(&rest)?;
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        board.note_told(&self.name, told);
        Ok(Pushed::All)
    }

    fn send(&self, alerts: &[Value]) -> Result<(), Failure> {
        for batch in alerts.chunks(BATCH) {
            let body = serde_json::to_vec(batch);
            let body = body.map_err(|error| Failure::Refused(error.to_string()))?;
            self.target.post(body)?;
        }
        Ok(())
    }

    /// All that would be sent now.
    #[cfg(test)]
    pub(super) fn alerts(&self, board: &Board, now: Duration) -> Vec<Value> {
        let Bodies { first, rest, .. } = self.bodies(board, now);
        first.into_iter().chain(rest).collect()
    }

    fn bodies(&self, board: &Board, now: Duration) -> Bodies {
        let mut bodies = Bodies::default();
        for standing in board.standings().iter() {
            let told = board.told(&self.name, &standing.key);
            self.add(&mut bodies, board, standing, told, now);
        }
        bodies
    }

    fn add(
        &self,
        bodies: &mut Bodies,
        board: &Board,
        standing: &Standing,
        told: Tier,
        now: Duration,
    ) {
        let lives_until = now + LIFETIME;
        let is_silenced = !board.silenced_by(standing, told, now).is_empty();
        // What it knows already is kept alive: let go, it would snapshot recovered.
        let tier = match is_silenced {
            true => standing.tier.min(told),
            false => standing.tier,
        };
        if tier != told {
            bodies.told.push((standing.key.clone(), tier));
        }
        let alert = |tier, starts_at: Duration, ends_at: Duration| {
            // The wall clock may have been set back since: an alert that begins in the future, or ends
            // before it began, is refused.
            let ends_at = if ends_at > now { lives_until } else { ends_at };
            let starts_at = starts_at.min(now).min(ends_at.saturating_sub(SHORTEST));
            self.alert(standing, tier, starts_at, ends_at)
        };
        if let (true, Some(past)) = (tier != Tier::Critical, standing.past_critical) {
            let ended = past.ended_at.min(now);
            bodies
                .rest
                .push(alert(Tier::Critical, past.began_at, ended));
        }
        let Some(raised_at) = standing.raised_at else {
            return;
        };
        match (tier, standing.ended_at) {
            (Tier::Warning | Tier::Critical, _) => {
                bodies
                    .rest
                    .push(alert(Tier::Warning, raised_at, lives_until));
                if let (Tier::Critical, Some(at)) = (tier, standing.critical_at) {
                    bodies.first.push(alert(Tier::Critical, at, lives_until));
                    bodies.has_news |= told != Tier::Critical;
                }
            }
            (Tier::None, Some(ended_at)) => {
                let ended = ended_at.min(now);
                bodies.rest.push(alert(Tier::Warning, raised_at, ended));
                let critical = standing.critical_at;
                bodies
                    .rest
                    .extend(critical.map(|at| alert(Tier::Critical, at, ended)));
            }
            // New while it is silenced.
            (Tier::None, None) => {}
        }
    }

    fn alert(
        &self,
        standing: &Standing,
        tier: Tier,
        starts_at: Duration,
        ends_at: Duration,
    ) -> Value {
        let mut labels: serde_json::Map<String, Value> = standing
            .labels()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        labels.insert("severity".to_owned(), json!(tier.as_str()));
        let change = Change {
            told: Tier::None,
            standing: standing.clone(),
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

/// What a push came to.
enum Pushed {
    All,
    /// There is nothing to tell.
    Nothing,
}
