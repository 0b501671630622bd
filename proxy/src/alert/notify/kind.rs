//! What is known of one kind of notifier: its settings, what they are checked for, and how it starts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::{Links, Notifier};
use crate::alert::board::Board;
use crate::alert::metrics::NotifierCounts;
use crate::worker::Worker;

/// The descriptor of a kind of notifier.
pub struct Kind {
    /// Its key in `alerts`. Metrics, the state and the log call it by this name.
    pub key: &'static str,
    /// What becomes of alerts where the key is left out, for the schema.
    pub left_out: &'static str,
    /// The name of its settings in the schema.
    pub definition: &'static str,
    /// What it notifies, for the schema.
    pub about: &'static str,
    pub settings: &'static [Setting],
    /// Where messages go; nowhere when the settings that say it came out empty.
    pub check: fn(&Settings) -> Result<Vec<Endpoint>, Invalid>,
    /// After a failure it tries again at least this often.
    pub retry_max: Duration,
    /// Starts the thread of one endpoint.
    pub start: fn(&Endpoint, Links, Context) -> std::io::Result<Notifier>,
}

/// One key of its settings.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub key: &'static str,
    /// What it means, for the schema.
    pub about: &'static str,
    pub value: ValueKind,
    pub presence: Presence,
}

/// What a setting looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    Url,
    /// At least one.
    Urls,
    Text,
    /// Never shown.
    Secret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
}

impl Setting {
    pub(super) const fn optional(key: &'static str, value: ValueKind, about: &'static str) -> Self {
        let presence = Presence::Optional;
        Setting {
            key,
            about,
            value,
            presence,
        }
    }
}

/// The settings that are written and valid by themselves, by their keys.
#[derive(Default)]
pub struct Settings {
    texts: BTreeMap<&'static str, String>,
    lists: BTreeMap<&'static str, Vec<String>>,
}

impl Settings {
    pub fn set_text(&mut self, key: &'static str, text: &str) {
        self.texts.insert(key, text.to_owned());
    }

    pub fn set_list(&mut self, key: &'static str, list: Vec<String>) {
        self.lists.insert(key, list);
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.texts.get(key).map(String::as_str)
    }

    pub(super) fn list(&self, key: &str) -> &[String] {
        self.lists.get(key).map_or(&[], Vec::as_slice)
    }

    /// The credential of a setting that holds a bearer token.
    pub(super) fn bearer(&self, key: &'static str) -> Result<Option<HeaderValue>, Invalid> {
        let Some(token) = self.text(key) else {
            return Ok(None);
        };
        let is_token = token.bytes().all(|byte| byte.is_ascii_graphic());
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        match value.ok().filter(|_| is_token) {
            Some(value) => Ok(Some(value)),
            None => Err(Invalid::key(
                key,
                "a token is one line of printable ASCII without spaces",
            )),
        }
    }
}

/// Settings that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {why}")]
pub struct Invalid {
    pub key: &'static str,
    /// Which item of a list it is, from 0.
    pub item: Option<usize>,
    pub why: &'static str,
}

impl Invalid {
    pub(super) const fn key(key: &'static str, why: &'static str) -> Self {
        let item = None;
        Invalid { key, item, why }
    }
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
    /// Checks settings, and names what they configure.
    ///
    /// # Errors
    /// They do not go together.
    pub fn configured(&'static self, settings: &Settings) -> Result<Vec<Configured>, Invalid> {
        let endpoints = (self.check)(settings)?.into_iter().enumerate();
        let configured = endpoints.map(|(place, endpoint)| Configured {
            kind: self,
            name: match place {
                0 => self.key.to_owned(),
                place => format!("{}-{}", self.key, place + 1),
            },
            endpoint,
        });
        Ok(configured.collect())
    }
}
