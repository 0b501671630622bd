//! The descriptor of a kind of notifier: its settings, their check, and how it starts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{ConsoleLinks, Notifier};
use crate::alert::metrics::NotifierCounts;
use crate::alert::store::AlertStore;
use crate::settings::decode::{Decode, Setting};
use crate::settings::diagnostic::Diagnostics;
use crate::settings::node::YamlNode;
use crate::settings::schema::Definitions;
use crate::settings::values::SecretText;
use crate::worker::Worker;

/// The descriptor of a kind of notifier.
pub struct NotifierKind {
    /// Its key in `alerts`, and its name in metrics, the state file and the log.
    pub key: &'static str,
    /// The schema's description of a missing key.
    pub left_out: &'static str,
    /// An example of its settings.
    pub example: &'static str,
    pub(crate) settings: DeclaredSettings,
    /// The longest wait before a retry.
    pub retry_max: Duration,
    /// Starts the thread of one destination.
    pub start: fn(&Destination, ConsoleLinks, NotifierContext) -> std::io::Result<Notifier>,
}

/// Settings as `settings!` declares them, behind one type for all kinds.
pub(crate) struct DeclaredSettings {
    pub(crate) decode: fn(&YamlNode, &mut Diagnostics) -> Option<Box<dyn RawSettings>>,
    pub(crate) schema: fn(&mut Definitions) -> Value,
}

impl DeclaredSettings {
    pub(super) const fn of<T: Decode + RawSettings + 'static>() -> Self {
        DeclaredSettings {
            decode: |node, diagnostics| {
                let raw = T::decode(node, diagnostics)?;
                Some(Box::new(raw))
            },
            schema: T::schema,
        }
    }
}

/// The settings of one notifier as they are written.
pub(crate) trait RawSettings {
    /// Where messages go; nowhere when the address came out empty. `None` when settings contradict each other.
    fn check(&self, diagnostics: &mut Diagnostics) -> Option<Vec<Destination>>;
}

/// The credential of a setting that holds a bearer token; `Some(None)` when it is left out.
pub(super) fn bearer(
    token: &Setting<SecretText>,
    diagnostics: &mut Diagnostics,
) -> Option<Option<SecretText>> {
    let Some(text) = token.value().map(SecretText::expose_secret) else {
        return Some(None);
    };
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "a token is one line of printable ASCII without spaces";
        diagnostics.error(token.place, why);
        return None;
    }
    Some(Some(SecretText::from(format!("Bearer {text}"))))
}

/// An address that messages go to, with its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    pub url: SecretText,
    /// The value of the header `Authorization`.
    pub authorization: Option<SecretText>,
    /// Signs messages.
    pub secret: Option<SecretText>,
}

impl Destination {
    pub(super) fn new(url: &SecretText, authorization: Option<SecretText>) -> Self {
        Destination {
            url: url.clone(),
            authorization,
            secret: None,
        }
    }
}

// The address of a webhook is a credential, as a token is.
impl fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Destination")
    }
}

/// What the thread of a notifier works with.
pub struct NotifierContext {
    pub worker: Worker,
    pub store: Arc<AlertStore>,
    pub counts: NotifierCounts,
    pub retry_max: Duration,
}

/// One notifier of a configuration.
#[derive(Clone)]
pub struct NotifierConfig {
    pub kind: &'static NotifierKind,
    /// The key of its kind; from the second destination on with a number.
    pub name: String,
    pub destination: Destination,
}

impl PartialEq for NotifierConfig {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.destination) == (&other.name, &other.destination)
    }
}

impl fmt::Debug for NotifierConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl NotifierKind {
    /// One notifier for each destination.
    pub(crate) fn configured(
        &'static self,
        destinations: Vec<Destination>,
    ) -> impl Iterator<Item = NotifierConfig> {
        let destinations = destinations.into_iter().enumerate();
        destinations.map(move |(place, destination)| NotifierConfig {
            kind: self,
            name: match place {
                0 => self.key.to_owned(),
                place => format!("{}-{}", self.key, place + 1),
            },
            destination,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::alert::notify::{ALL, RETRY_MAX};

    #[test]
    fn every_kind_has_a_unique_key() {
        for (place, kind) in ALL.iter().enumerate() {
            assert!(ALL[..place].iter().all(|other| other.key != kind.key));
            assert!(kind.retry_max <= RETRY_MAX, "{}", kind.key);
        }
    }
}
