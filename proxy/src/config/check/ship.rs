//! `events.elasticsearch` and `events.spool`.

use std::path::PathBuf;

use crate::config::raw::events::Events;
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::values::SecretText;
use crate::ship::{BatchLimits, Config, spool};

/// The settings of shipping; `Some(None)` when nothing is shipped. A spool alone causes a warning.
pub(super) fn check(events: &Events, diagnostics: &mut Diagnostics) -> Option<Option<Config>> {
    let Some(raw) = events.elasticsearch.value() else {
        if events.spool.is_written() && !events.elasticsearch.is_written() {
            let does = "has no effect without `elasticsearch`: there is nowhere to ship events to";
            diagnostics.warn(&events.spool.path, events.spool.key_place, does);
        }
        return Some(None);
    };
    let batch = raw.batch.value()?;
    let user = raw.username.value().map(|text| text.0.clone());
    // A variable that is not set is empty: then there is no authentication.
    let user = user.filter(|user| !user.is_empty());
    let (password, api_key) = (secret(&raw.password), secret(&raw.api_key));
    if user.is_none() && password.is_some() {
        let missing =
            "`username` is missing (or empty after substitution): a password needs a username";
        diagnostics.error(raw.password.place, missing);
        return None;
    }
    // The key is sent in a header unchanged.
    let is_key = |key: &SecretText| {
        let mut bytes = key.expose_secret().bytes();
        bytes.all(|byte| byte.is_ascii_graphic())
    };
    if !api_key.as_ref().is_none_or(is_key) {
        let wrong = "an API key is printable ASCII without spaces, as Elasticsearch encodes it";
        diagnostics.error(raw.api_key.place, wrong);
        return None;
    }
    Some(Some(Config {
        urls: raw
            .urls
            .value()?
            .0
            .iter()
            .map(|url| url.value.0.expose_secret().to_owned())
            .collect(),
        username: user,
        password,
        api_key,
        ca_file: raw.ca_file.value().map(|text| PathBuf::from(&text.0)),
        data_stream: raw.data_stream.value()?.0.clone(),
        retention: raw.retention.get()?.0,
        batch: BatchLimits {
            events: usize::try_from(batch.events.get()?.0)
                .unwrap_or(usize::MAX)
                .max(1),
            bytes: usize::try_from(batch.bytes.get()?.0).unwrap_or(usize::MAX),
            wait: batch.wait.get()?.0,
        },
        timeout: raw.timeout.get()?.0,
        spool: spool(events)?,
    }))
}

fn spool(events: &Events) -> Option<spool::Config> {
    let raw = events.spool.value()?;
    Some(spool::Config {
        path: PathBuf::from(&raw.path.value()?.0),
        bytes_max: raw.bytes.get()?.0,
        sync: raw.sync.get()?.0,
    })
}

fn secret(setting: &Setting<SecretText>) -> Option<SecretText> {
    let secret = setting.value()?;
    (!secret.expose_secret().is_empty()).then(|| secret.clone())
}
