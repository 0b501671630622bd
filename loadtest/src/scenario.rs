//! Scenarios: which request to send for each number, reproducible from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::Method;
use rand::RngExt as _;
use weir::clock;
use weir::signature::client_signer::{Distinct, Signer};

use crate::request::{Expectation, Outcome, RequestSpec, ResponseMode};
use crate::routes::TargetRoute;
use crate::schedule;

mod abuse;
mod file;
mod prompt;
mod replay;
mod signed;

pub use file::{FileError, read, schema};
pub use prompt::{LengthError, Prompts, lengths};
pub use replay::{EventSource, Recording, load_recording};
pub use signed::RequestError;

use signed::{SendOptions, build, fresh_id, headers, signers};

/// The names of the built-in scenarios.
pub const BUILT_IN: [&str; 6] = ["chat", "stream", "platforms", "abuse", "burst", "mixed"];

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    kind: ScenarioKind,
    routes: Vec<TargetRoute>,
    prompts: Prompts,
    abuse: abuse::Abuse,
    /// For each signer, the last second in which it was used; for schemes that sign one request per second.
    last_used_s: Vec<AtomicU64>,
}

#[derive(Clone, Debug)]
enum ScenarioKind {
    Chat,
    Stream,
    Platforms,
    Abuse,
    Burst,
    /// A weighted mix of the above.
    Mixed,
    File(Vec<file::FileRequest>),
    Recording(Vec<replay::RecordedRequest>),
}

/// Why a built-in scenario cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    #[error("unknown scenario {0:?}: expected one of {all}, replay, or a file that ends with .yaml", all = BUILT_IN.join(", "))]
    Unknown(String),
    #[error("the scenario {0} needs --config: a weir.yaml whose routes require signatures")]
    NeedsSignatures(String),
    #[error("the scenario burst needs --config: a weir.yaml with a rate-limited route")]
    NeedsRateLimit,
}

impl Scenario {
    /// A built-in scenario.
    ///
    /// # Errors
    /// An unknown name, or a scenario that needs routes which the target does not have.
    pub fn built_in(
        name: &str,
        routes: Vec<TargetRoute>,
        prompts: Prompts,
    ) -> Result<Self, ScenarioError> {
        let kind = match name {
            "chat" => ScenarioKind::Chat,
            "stream" => ScenarioKind::Stream,
            "platforms" => ScenarioKind::Platforms,
            "abuse" => ScenarioKind::Abuse,
            "burst" => ScenarioKind::Burst,
            "mixed" => ScenarioKind::Mixed,
            _ => return Err(ScenarioError::Unknown(name.to_owned())),
        };
        let needs_signatures = matches!(kind, ScenarioKind::Platforms | ScenarioKind::Abuse);
        if needs_signatures && signers(&routes).next().is_none() {
            return Err(ScenarioError::NeedsSignatures(name.to_owned()));
        }
        let is_rate_limited = routes.iter().any(|route| !route.rate_limits.is_empty());
        if matches!(kind, ScenarioKind::Burst) && !is_rate_limited {
            return Err(ScenarioError::NeedsRateLimit);
        }
        Ok(Self::new(kind, routes, prompts))
    }

    fn new(kind: ScenarioKind, routes: Vec<TargetRoute>, prompts: Prompts) -> Self {
        let signers = signers(&routes).count();
        Scenario {
            kind,
            routes,
            prompts,
            abuse: abuse::Abuse::default(),
            last_used_s: (0..signers).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The scenario of a file.
    #[must_use]
    pub fn from_file(
        requests: Vec<file::FileRequest>,
        routes: Vec<TargetRoute>,
        prompts: Prompts,
    ) -> Self {
        Self::new(ScenarioKind::File(requests), routes, prompts)
    }

    /// The scenario of a recording.
    #[must_use]
    pub fn from_recording(
        requests: Vec<replay::RecordedRequest>,
        routes: Vec<TargetRoute>,
        prompts: Prompts,
    ) -> Self {
        Self::new(ScenarioKind::Recording(requests), routes, prompts)
    }

    /// The request with this number.
    ///
    /// # Errors
    /// A request that cannot be built or signed.
    pub fn request(&self, number: u64) -> Result<RequestSpec, RequestError> {
        let (whole, stream) = (ResponseMode::Whole, ResponseMode::Stream);
        let may_limit = Expectation::SuccessOrRateLimited;
        match &self.kind {
            ScenarioKind::Chat => self.chat("chat", number, whole, Expectation::Success),
            ScenarioKind::Stream => self.chat("stream", number, stream, Expectation::Success),
            ScenarioKind::Burst => self.burst(number),
            ScenarioKind::Platforms => self.platform(number),
            ScenarioKind::Abuse => self.abuse(number),
            ScenarioKind::Mixed => match self.prompts.random(!number).random_range(0..100) {
                0..55 => self.chat("chat", number, whole, may_limit),
                55..75 => self.chat("stream", number, stream, may_limit),
                75..95 if self.is_signed() => self.platform(number),
                95..100 if self.is_signed() => self.abuse(number),
                _ => self.chat("chat", number, whole, may_limit),
            },
            ScenarioKind::File(requests) => {
                file::draw(requests, &self.routes, &mut self.prompts.random(number))
            }
            ScenarioKind::Recording(requests) => self.recorded(requests, number),
        }
    }

    /// The names of its requests, where they are known before the test.
    #[must_use]
    pub fn names(&self) -> Option<Vec<Arc<str>>> {
        let mut names: Vec<Arc<str>> = match &self.kind {
            ScenarioKind::Chat => vec!["chat".into()],
            ScenarioKind::Stream => vec!["stream".into()],
            ScenarioKind::Burst => vec!["burst".into()],
            ScenarioKind::File(requests) => file::names(requests).collect(),
            ScenarioKind::Recording(requests) => {
                requests.iter().map(|one| (&*one.route).into()).collect()
            }
            ScenarioKind::Platforms | ScenarioKind::Abuse | ScenarioKind::Mixed => return None,
        };
        names.sort();
        names.dedup();
        Some(names)
    }

    /// A warning where the arrival rate exceeds the rate limit of the route, in scenarios that count 429 as an error.
    #[must_use]
    pub fn rate_limit_warning(&self, rate: f64) -> Option<String> {
        if !matches!(self.kind, ScenarioKind::Chat | ScenarioKind::Stream) {
            return None;
        }
        let route = self.chat_route().ok()?;
        let limit = route.rate_limit().filter(|limit| limit.rate < rate)?;
        let shown = |rate: f64| schedule::shown(&[(rate, rate)]);
        Some(format!(
            "the route {} allows {} from this client (rate limit {}), and up to {} will be sent: requests over the \
             limit are answered with 429, which this scenario counts as an error; lower --rate, raise the limit for \
             the test, or use --scenario burst, which counts them separately",
            route.name,
            shown(limit.rate),
            limit.name,
            shown(rate)
        ))
    }

    /// Takes the outcome of a request: replays depend on it.
    pub fn observe(&self, request: &RequestSpec, outcome: Outcome) {
        if &*request.name == abuse::FIRST {
            self.abuse.observe(request, outcome);
        }
    }

    fn recorded(
        &self,
        requests: &[replay::RecordedRequest],
        number: u64,
    ) -> Result<RequestSpec, RequestError> {
        let recorded = nth(requests, number).ok_or(RequestError::Empty)?;
        let method = Method::from_bytes(recorded.method.as_bytes());
        let method = method.map_err(|_| RequestError::Method(recorded.method.clone()))?;
        let mut routes = self.routes.iter();
        let route = routes.find(|route| *route.name == *recorded.route);
        let signer = route.and_then(TargetRoute::signer);
        let body = match recorded.body_bytes {
            0 => Bytes::new(),
            bytes => {
                let delivery = signer.and_then(|signer| {
                    signer.delivery(&"x".repeat(bytes.saturating_sub(200)), &fresh_id())
                });
                delivery.map_or_else(
                    || prompt::sized(self.prompts.seed, number, bytes, recorded.mode),
                    Bytes::from,
                )
            }
        };
        Ok(RequestSpec {
            name: Arc::from(&*recorded.route),
            method,
            path: recorded.path.clone(),
            headers: headers(signer, &body, 0)?,
            body,
            mode: match recorded.status {
                200..300 => recorded.mode,
                // It may have been rejected, and be rejected again.
                _ => ResponseMode::Whole,
            },
            expected: Expectation::SuccessOr(recorded.status),
        })
    }

    fn is_signed(&self) -> bool {
        signers(&self.routes).next().is_some()
    }

    /// The first route that accepts the chat format, else the first route.
    fn chat_route(&self) -> Result<&TargetRoute, RequestError> {
        let mut routes = self.routes.iter();
        let chat = routes.find(|route| route.path.ends_with("/chat/completions"));
        chat.or(self.routes.first()).ok_or(RequestError::NoRoute)
    }

    fn prompt(&self, number: u64, mode: ResponseMode) -> Bytes {
        let mut random = self.prompts.random(number);
        self.prompts.body(number, mode, &mut random)
    }

    fn chat(
        &self,
        name: &str,
        number: u64,
        mode: ResponseMode,
        expected: Expectation,
    ) -> Result<RequestSpec, RequestError> {
        let route = self.chat_route()?;
        let body = self.prompt(number, mode);
        let request = build(
            SendOptions::new(name, expected),
            route,
            route.signer(),
            body,
        )?;
        Ok(RequestSpec { mode, ..request })
    }

    /// One client sends at the full rate: 429 is counted separately.
    fn burst(&self, number: u64) -> Result<RequestSpec, RequestError> {
        let mut routes = self.routes.iter();
        let limited = routes.find(|route| !route.rate_limits.is_empty());
        let route = limited.ok_or(RequestError::NoRateLimit)?;
        let body = self.prompt(number, ResponseMode::Whole);
        let options = SendOptions::new("burst", Expectation::SuccessOrRateLimited);
        build(options, route, route.signer(), body)
    }

    fn abuse(&self, number: u64) -> Result<RequestSpec, RequestError> {
        let body = self.prompt(number, ResponseMode::Whole);
        self.abuse.request(&self.routes, number, body)
    }

    /// Every scheme of every route in turn. A scheme whose signatures are valid for one request per second is used
    /// once a second; if there is no other scheme, its further requests must be rejected.
    fn platform(&self, number: u64) -> Result<RequestSpec, RequestError> {
        let all: Vec<(&TargetRoute, &Signer)> = signers(&self.routes).collect();
        let first = nth(&all, number).ok_or(RequestError::NoSigner)?;
        let is_free = first.1.distinct == Distinct::Always || self.is_new_second(number);
        let unlimited = |one: &&(&TargetRoute, &Signer)| one.1.distinct == Distinct::Always;
        let alternatives: Vec<_> = all.iter().filter(unlimited).collect();
        let (chosen, expected) = match nth(&alternatives, number) {
            _ if is_free => (first, Expectation::SuccessOrRateLimited),
            Some(other) => (*other, Expectation::SuccessOrRateLimited),
            None => (first, Expectation::Status(vec![401])),
        };
        let (route, signer) = chosen;
        let body = match signer.delivery(&format!("hello {number}"), &fresh_id()) {
            Some(delivery) => Bytes::from(delivery),
            None => self.prompt(number, ResponseMode::Whole),
        };
        let name = format!("{}:{}", route.platform, signer.scheme());
        build(SendOptions::new(&name, expected), route, Some(signer), body)
    }

    /// Whether the signer of this number has not been used in the current second.
    fn is_new_second(&self, number: u64) -> bool {
        let now_s = clock::unix_now().as_secs();
        let last = nth(&self.last_used_s, number);
        last.is_some_and(|last| last.fetch_max(now_s, Ordering::Relaxed) < now_s)
    }
}

/// Round robin.
fn nth<T>(all: &[T], number: u64) -> Option<&T> {
    let index = number.checked_rem(all.len() as u64)?;
    all.get(usize::try_from(index).ok()?)
}

#[cfg(test)]
#[path = "scenario/tests.rs"]
mod tests;
