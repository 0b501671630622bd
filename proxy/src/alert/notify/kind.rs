//! What is known of one kind of notifier: its settings, what they are checked for, and how it starts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde_json::Value;

use super::{Links, Notifier};
use crate::alert::metrics::NotifierCounts;
use crate::alert::store::Board;
use crate::settings::decode::{Decode, Setting};
use crate::settings::mistake::Findings;
use crate::settings::node::Node;
use crate::settings::schema::Definitions;
use crate::settings::values::Secret;
use crate::worker::Worker;

/// The descriptor of a kind of notifier.
pub struct Kind {
    /// Its key in `alerts`. Metrics, the state and the log call it by this name.
    pub key: &'static str,
    /// What becomes of alerts where the key is left out, for the schema.
    pub left_out: &'static str,
    /// Its settings, as the file may have them.
    pub example: &'static str,
    pub(crate) settings: Declared,
    /// After a failure it tries again at least this often.
    pub retry_max: Duration,
    /// Starts the thread of one endpoint.
    pub start: fn(&Endpoint, Links, Context) -> std::io::Result<Notifier>,
}

/// Settings as `settings!` declares them, behind one type for all kinds.
pub(crate) struct Declared {
    pub(crate) decode: fn(&Node, &mut Findings) -> Option<Box<dyn RawSettings>>,
    pub(crate) schema: fn(&mut Definitions) -> Value,
}

impl Declared {
    pub(super) const fn of<T: Decode + RawSettings + 'static>() -> Self {
        Declared {
            decode: |node, findings| {
                let raw = T::decode(node, findings)?;
                Some(Box::new(raw))
            },
            schema: T::schema,
        }
    }
}

/// The settings of one notifier as the file has them.
pub(crate) trait RawSettings {
    /// Where messages go; nowhere when the settings that say it came out empty. `None` of settings that do not
    /// go together.
    fn check(&self, findings: &mut Findings) -> Option<Vec<Endpoint>>;
}

/// The credential of a setting that holds a bearer token; `Some(None)` when it is left out.
pub(super) fn bearer(
    token: &Setting<Secret>,
    findings: &mut Findings,
) -> Option<Option<HeaderValue>> {
    let Some(text) = token.value().map(|secret| secret.0.as_str()) else {
        return Some(None);
    };
    let is_token = text.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::from_str(&format!("Bearer {text}"));
    let value = value.ok().filter(|_| is_token);
    if value.is_none() {
        let why = "a token is one line of printable ASCII without spaces";
        findings.mistake(token.place, why);
    }
    value.map(Some)
}

/// One address that messages go to, with the credentials for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub url: String,
    pub authorization: Option<HeaderValue>,
    /// What messages are signed with.
    pub secret: Option<String>,
}

impl Endpoint {
    pub(super) fn new(url: &str, authorization: Option<HeaderValue>) -> Self {
        let authorization = authorization.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Endpoint {
            url: url.to_owned(),
            authorization,
            secret: None,
        }
    }
}

// The address of a webhook and a token are credentials.
impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Endpoint")
    }
}

/// What the thread of a notifier works with.
pub struct Context {
    pub worker: Worker,
    pub board: Arc<Board>,
    pub counts: NotifierCounts,
    pub retry_max: Duration,
}

/// One notifier of a configuration.
#[derive(Clone)]
pub struct Configured {
    pub kind: &'static Kind,
    /// The key of its kind; from the second endpoint on with a number.
    pub name: String,
    pub endpoint: Endpoint,
}

impl PartialEq for Configured {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.endpoint) == (&other.name, &other.endpoint)
    }
}

impl fmt::Debug for Configured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl Kind {
    /// Names the notifiers of these endpoints.
    pub(crate) fn configured(
        &'static self,
        endpoints: Vec<Endpoint>,
    ) -> impl Iterator<Item = Configured> {
        let endpoints = endpoints.into_iter().enumerate();
        endpoints.map(move |(place, endpoint)| Configured {
            kind: self,
            name: match place {
                0 => self.key.to_owned(),
                place => format!("{}-{}", self.key, place + 1),
            },
            endpoint,
        })
    }
}
