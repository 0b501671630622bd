//! From raw settings to a [`Config`]: consistency between keys, references by name, and files that must exist.
//!
//! An invalid part gives `None`, and its error has been reported; all other parts are still checked.

use std::path::PathBuf;

use http::HeaderName;
use percent_encoding::{AsciiSet, utf8_percent_encode};

use super::raw;
use super::{AdminApi, Config};
use crate::exchange::EventSampling;
use crate::http::Limits;
use crate::route::path::{BadPath, EncodedSlash, canonical};
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::{NamedValues, refuse_duplicates};
use crate::settings::values::{HeaderText, PlainText, SecretText};
use crate::{audit, content, record};

mod alerts;
mod backend;
mod cache;
mod exposed;
mod health_check;
mod listen;
mod pem;
mod pending;
mod reach;
mod redis;
mod route;
mod ship;
mod signature;
mod traces;
mod upstream_tls;

/// The whole file. `None` when it is invalid.
pub(super) fn check(file: &raw::File, diagnostics: &mut Diagnostics) -> Option<Config> {
    pending::warn(file, diagnostics);
    let listen = listen::check(file, diagnostics);
    let admin = file
        .admin
        .value()
        .and_then(|admin| self::admin(admin, file, diagnostics));
    let backends = backend::check(file, diagnostics);
    let limits = file.limits.value();
    let routes = route::check(file, diagnostics);
    let alerts = alerts::check(file, diagnostics);
    let redis = redis::check(file, routes.as_deref(), diagnostics);
    let trusted_proxies = file.trusted_proxies.value()?;
    let traces = traces::check(file.traces.value()?, diagnostics);
    let raw_events = file.events.value()?;
    let events = events(raw_events);
    let ship = ship::check(raw_events, diagnostics);
    let audit = audit(raw_events);
    let (trace_sampling, spans) = traces?;
    Some(Config {
        listen: listen?,
        limits: checked_limits(limits?)?,
        encoded_slash: match file.paths.value()?.encoded_slash.get()? {
            raw::EncodedSlash::Keep => EncodedSlash::Keep,
            raw::EncodedSlash::Reject => EncodedSlash::Reject,
        },
        trusted_proxies: trusted_proxies
            .0
            .iter()
            .map(|network| network.value.0)
            .collect(),
        admin: admin?,
        backends: backends?,
        routes: routes?,
        events: events?,
        ship: ship?,
        audit: audit?,
        spans,
        redis: redis?,
        alerts: alerts?,
        trace_sampling,
        event_sampling: EventSampling {
            share: raw_events.sample.get()?.0,
            slow: raw_events.slow.get()?.0,
        },
        content: match raw_events.content.get()? {
            raw::events::Content::None => content::Mode::None,
            raw::events::Content::Hash => content::Mode::Hash,
            raw::events::Content::Redacted => content::Mode::Redacted,
        },
        drain: file.shutdown.value()?.drain.get()?.0,
        upgrade_socket: upgrade_socket(file.shutdown.value()?)?,
    })
}

/// `Some(None)` when there is none.
fn upgrade_socket(raw: &raw::Shutdown) -> Option<Option<PathBuf>> {
    let path = &raw.upgrade_socket.value()?.0;
    Some((!path.is_empty()).then(|| PathBuf::from(path)))
}

fn admin(raw: &raw::Admin, file: &raw::File, diagnostics: &mut Diagnostics) -> Option<AdminApi> {
    let address = raw.address.get()?;
    if !address.ip().is_loopback() && raw.token.is_absent() {
        diagnostics.error(
            raw.address.place,
            "the admin address is not a loopback address; set a non-empty `token`",
        );
    }
    let listened = file.listen.value().is_some_and(|listen| {
        let mut addresses = listen.0.iter().map(|listen| listen.value.address.get());
        address.port() != 0 && addresses.any(|other| other == Some(address))
    });
    if listened {
        diagnostics.error(
            raw.address.place,
            "this address is already used by a listener; the admin API needs its own",
        );
    }
    Some(AdminApi {
        address,
        token: raw.token.value().cloned(),
    })
}

fn checked_limits(raw: &raw::Limits) -> Option<Limits> {
    Some(Limits {
        header_bytes: usize::try_from(raw.header_bytes.get()?.0).ok()?,
        header_timeout: raw.header_timeout.get()?.0,
        buffered_bytes: raw.buffered_bytes.get()?.0,
        connections: usize::try_from(raw.connections.get()?.0).ok()?,
        idle_timeout: raw.idle_timeout.get()?.0,
        upgrade_idle_timeout: raw.upgrade_idle_timeout.get()?.0,
    })
}

fn events(raw: &raw::events::Events) -> Option<record::Config> {
    let file = match raw.file.value() {
        None => None,
        Some(file) => Some(record::FileConfig {
            path: PathBuf::from(&file.path.value()?.0),
            rotate_at_bytes: file.rotate_at.get()?.0,
            keep: file.keep.get()?.0,
        }),
    };
    Some(record::Config {
        stdout: raw.stdout.get()?,
        file,
        environment: raw.environment.value()?.0.clone(),
    })
}

/// `Some(None)` when there is no such log.
fn audit(raw: &raw::events::Events) -> Option<Option<audit::Config>> {
    let Some(audit) = raw.audit.value() else {
        return Some(None);
    };
    Some(Some(audit::Config {
        path: PathBuf::from(&audit.path.value()?.0),
        keep: audit.keep.get()?.0,
    }))
}

/// Names and values of headers, as they are sent.
fn pairs(headers: &NamedValues<HeaderName, HeaderText>) -> Vec<(HeaderName, SecretText)> {
    let pairs = headers.0.iter();
    pairs
        .map(|(name, value)| (name.value.clone(), value.value.0.clone()))
        .collect()
}

/// Whether a path of the file is in canonical form, as [`crate::route::path`] defines it.
enum PathForm {
    Canonical,
    /// What to write instead.
    Other(String),
    /// It has none, for this reason.
    None(String),
}

fn form_of(path: &str) -> PathForm {
    let none = |why: &str| PathForm::None(why.to_owned());
    if !path.starts_with('/') {
        return none("a path must begin with /");
    }
    if path.contains(['?', '#']) {
        return none("a path has no query and no fragment; leave `?` and `#` out");
    }
    if !path.is_ascii() {
        // The escaped form that a request has to send.
        const BEYOND_ASCII: &AsciiSet = &AsciiSet::EMPTY;
        let escaped = utf8_percent_encode(path, BEYOND_ASCII).to_string();
        return match form_of(&escaped) {
            PathForm::Canonical => PathForm::Other(escaped),
            form => form,
        };
    }
    match canonical(path, EncodedSlash::Keep) {
        Ok(form) if form == path => PathForm::Canonical,
        Ok(form) => PathForm::Other(form.into_owned()),
        Err(BadPath::EncodedNul) => none("a path holds no NUL"),
        Err(BadPath::InvalidEscape) => none("`%` in a path is followed by two hex digits"),
        Err(BadPath::InvalidUtf8) => none("the escapes of a path must be UTF-8"),
        Err(BadPath::AboveRoot) => none("`..` leads above the root of the path"),
        Err(BadPath::Backslash) => none("a path holds no backslash, encoded or not"),
        Err(BadPath::ControlCharacter) => none("a path holds no control character, encoded or not"),
        Err(_) => none(
            "this path has no canonical form; leave out dot segments with parameters or encoded slashes",
        ),
    }
}

/// Reports a path that is not canonical; the form is shown unless parts of it came from elsewhere.
fn refuse_form(
    form: PathForm,
    setting: &Setting<PlainText>,
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    let message = match form {
        PathForm::Canonical => return Some(()),
        PathForm::None(why) => why,
        PathForm::Other(form) if setting.may_be_shown() => {
            format!("a path must be in canonical form; write `{form}`")
        }
        PathForm::Other(_) => {
            "a path must be in canonical form; the value after substitution is not".into()
        }
    };
    diagnostics.error(setting.place, message);
    None
}
