//! `signature`: which keys go with which scheme, and what each scheme needs.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::refuse_duplicates;
use crate::config::raw::route::Route;
use crate::config::raw::signature::{Algorithm, KeyEncoding, Scheme, Signature, SignatureEncoding};
use crate::settings::declare::{Word, Written};
use crate::settings::decode::{Setting, nearest};
use crate::settings::lists::{At, List};
use crate::settings::mistake::Findings;
use crate::settings::secret;
use crate::settings::values::Secret;
use crate::signature::{Client, Config, Encoding, HmacAlgorithm, HmacConfig, SchemeConfig};

const FIVE_MINUTES: Duration = Duration::from_secs(300);
const TEN_MINUTES: Duration = Duration::from_secs(600);
/// Feishu sends again up to six hours later, perhaps with the first timestamp.
const EIGHT_HOURS: Duration = Duration::from_secs(8 * 3600);

/// What `signed` may be made of.
const PLACEHOLDERS: &[&str] = &["timestamp", "id", "body", "method", "path", "query"];

/// All schemes of a route. `None` when anything is wrong with one.
pub(super) fn check(route: &Route, findings: &mut Findings) -> Option<Vec<Config>> {
    if route.signature.is_absent() {
        return Some(Vec::new());
    }
    let name = route.name.value().map_or("", |name| name.0.as_str());
    let list = &route.signature.value()?.0;
    let schemes = list
        .iter()
        .filter_map(|At { place, value }| Some((value.scheme.get()?.word(), *place)));
    refuse_duplicates("scheme of this route", schemes, findings);
    let mut checked = Vec::with_capacity(list.len());
    for signature in list {
        checked.extend(one(&signature.value, name, findings));
    }
    (checked.len() == list.len()).then_some(checked)
}

fn one(raw: &Signature, route: &str, findings: &mut Findings) -> Option<Config> {
    let scheme = raw.scheme.get()?;
    let told_before = findings.mistakes();
    refuse_keys_of_others(raw, scheme, findings);
    require_keys(raw, scheme, findings);
    let config = match scheme {
        Scheme::Hmac => hmac(raw, route, findings).map(SchemeConfig::Hmac),
        Scheme::Bearer => {
            refuse_bad_hashes(raw, findings);
            warn_of_spaces(raw, findings);
            clients(raw, route, findings).map(|clients| SchemeConfig::Bearer { clients })
        }
        Scheme::Feishu => Some(SchemeConfig::Feishu {
            encrypt_keys: secrets(raw.secrets.value()),
            verification_token: raw.verification_token.value().map(|token| token.0.clone()),
        }),
        Scheme::SimpleSha256 => {
            findings.warn(
                &raw.scheme.path,
                raw.scheme.place,
                "is simple_sha256, which covers no body: whoever sees one request can send another in its name",
            );
            Some(SchemeConfig::SimpleSha256 {
                secrets: secrets(raw.secrets.value()),
            })
        }
        _ => {
            let message = format!(
                "the scheme `{}` is not in this version yet; the route would be open",
                scheme.word()
            );
            findings.mistake(raw.scheme.place, message);
            None
        }
    };
    let (tolerance, replay) = windows(raw, scheme, findings);
    let config = Config {
        scheme: config?,
        tolerance,
        replay,
    };
    if findings.mistakes() == told_before
        && let Err(message) = config.validate()
    {
        findings.mistake(raw.scheme.place, message);
    }
    Some(config)
}

/// How old a request may be, and how long it is remembered.
fn windows(raw: &Signature, scheme: Scheme, findings: &mut Findings) -> (Duration, Duration) {
    let (tolerance, replay) = match scheme {
        Scheme::Bearer => {
            warn_useless(&raw.tolerance, findings);
            warn_useless(&raw.replay, findings);
            return (Duration::ZERO, Duration::ZERO);
        }
        Scheme::Feishu | Scheme::FeishuCard => (EIGHT_HOURS, EIGHT_HOURS),
        _ => (FIVE_MINUTES, TEN_MINUTES),
    };
    let tolerance = raw.tolerance.get().map_or(tolerance, |time| time.0);
    let replay = raw.replay.get().map_or(replay, |time| time.0);
    // A timestamp may lie ahead by the tolerance and is then good for twice as long.
    let is_too_short = replay > Duration::ZERO && replay < tolerance * 2;
    if is_too_short && matches!(scheme, Scheme::Hmac | Scheme::SimpleSha256) {
        let (path, place) = if raw.replay.is_written() {
            (&raw.replay.path, raw.replay.place)
        } else {
            (&raw.tolerance.path, raw.tolerance.place)
        };
        findings.warn(
            path,
            place,
            "leaves a gap: a request stays good for twice the tolerance, but is remembered for less; make `replay` at least that long",
        );
    }
    (tolerance, replay)
}

fn warn_useless<T>(setting: &Setting<T>, findings: &mut Findings) {
    if setting.is_written() {
        let does = "does nothing: bearer has neither a time nor an id";
        findings.warn(&setting.path, setting.place, does);
    }
}

/// The keys of a scheme beside `scheme`, `tolerance` and `replay`.
fn keys_of(scheme: Scheme) -> &'static [&'static str] {
    match scheme {
        Scheme::Hmac => &[
            "secrets",
            "clients",
            "key_header",
            "timestamp_header",
            "id_header",
            "signature_header",
            "prefix",
            "signed",
            "algorithm",
            "key_encoding",
            "signature_encoding",
        ],
        Scheme::Bearer => &["secrets", "clients"],
        Scheme::Feishu | Scheme::FeishuCard | Scheme::Meta => &["secrets", "verification_token"],
        Scheme::DingtalkEvent | Scheme::Wecom => &["secrets", "aes_key", "owner"],
        Scheme::Discord => &["public_keys"],
        Scheme::HttpMessageSignatures => &["keys", "components"],
        Scheme::Dingtalk
        | Scheme::Slack
        | Scheme::Telegram
        | Scheme::Github
        | Scheme::Stripe
        | Scheme::StandardWebhooks
        | Scheme::Line
        | Scheme::SimpleSha256 => &["secrets"],
    }
}

fn refuse_keys_of_others(raw: &Signature, scheme: Scheme, findings: &mut Findings) {
    let keys = keys_of(scheme);
    for (key, place) in raw.written() {
        if !keys.contains(&key) && !["scheme", "tolerance", "replay"].contains(&key) {
            let message = format!(
                "`{key}` is no key of the scheme `{}`, which takes: {}",
                scheme.word(),
                keys.join(", ")
            );
            findings.mistake(place, message);
        }
    }
}

/// Without these a scheme could not check anything.
fn require_keys(raw: &Signature, scheme: Scheme, findings: &mut Findings) {
    let word = scheme.word();
    let mut need = |is_there: bool, what: &str| {
        if !is_there {
            let message = format!("the scheme `{word}` needs {what}");
            findings.mistake(raw.scheme.place, message);
        }
    };
    let has_secrets = !raw.secrets.is_absent();
    let has_token = !raw.verification_token.is_absent();
    match scheme {
        Scheme::Hmac | Scheme::Bearer => {
            need(
                has_secrets || !raw.clients.is_absent(),
                "`clients` or `secrets`",
            );
            if has_secrets && !raw.clients.is_absent() {
                let message = "`secrets` is short for one client; with `clients` it says nothing";
                findings.mistake(raw.secrets.place, message);
            }
        }
        Scheme::Feishu | Scheme::FeishuCard => {
            need(
                has_secrets || has_token,
                "`secrets` (encrypt keys) or a `verification_token`",
            );
        }
        Scheme::DingtalkEvent | Scheme::Wecom => {
            need(has_secrets, "`secrets`");
            need(!raw.aes_key.is_absent(), "an `aes_key`");
        }
        Scheme::Meta => {
            need(has_secrets, "`secrets`");
            need(has_token, "a `verification_token`");
        }
        Scheme::Discord => need(!raw.public_keys.is_absent(), "`public_keys`"),
        Scheme::HttpMessageSignatures => need(!raw.keys.is_absent(), "`keys`"),
        _ => need(has_secrets, "`secrets`"),
    }
}

fn secrets(list: Option<&List<Secret, 1>>) -> Vec<String> {
    list.map_or(&[][..], |list| &list.0)
        .iter()
        .map(|secret| secret.value.0.clone())
        .collect()
}

/// The named clients, or one that is called like the route.
fn clients(raw: &Signature, route: &str, findings: &mut Findings) -> Option<Vec<Client>> {
    let Some(list) = raw.clients.value() else {
        return raw.secrets.value().map(|list| {
            vec![Client {
                name: Arc::from(route),
                secrets: secrets(Some(list)),
            }]
        });
    };
    let named = list
        .0
        .iter()
        .filter_map(|at| Some((at.value.name.value()?.0.as_str(), at.value.name.place)));
    refuse_duplicates("client of this scheme", named, findings);
    list.0
        .iter()
        .map(|at| {
            Some(Client {
                name: Arc::from(at.value.name.value()?.0.as_str()),
                secrets: secrets(Some(at.value.secrets.value()?)),
            })
        })
        .collect()
}

/// Every list of secrets that `hmac` and `bearer` take.
fn secret_lists(raw: &Signature) -> impl Iterator<Item = &Setting<List<Secret, 1>>> {
    let of_clients = raw.clients.value().map_or(&[][..], |clients| &clients.0);
    let lists = of_clients.iter().map(|at| &at.value.secrets);
    lists.chain(std::iter::once(&raw.secrets))
}

fn all_secrets(raw: &Signature) -> impl Iterator<Item = &At<Secret>> {
    let lists = secret_lists(raw).filter_map(Setting::value);
    lists.flat_map(|list| &list.0)
}

fn refuse_bad_hashes(raw: &Signature, findings: &mut Findings) {
    for secret in all_secrets(raw) {
        let Some(digits) = secret.value.0.strip_prefix("sha256:") else {
            continue;
        };
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            findings.mistake(
                secret.place,
                "expected 64 hex digits after `sha256:`, the SHA-256 of the key",
            );
        }
    }
}

/// White space in the middle; of that at the ends every secret is warned.
fn warn_of_spaces(raw: &Signature, findings: &mut Findings) {
    for setting in secret_lists(raw) {
        let secrets = setting.value().map_or(&[][..], |list| &list.0);
        for (position, At { place, value }) in secrets.iter().enumerate() {
            let text = value.0.trim();
            let is_told = secret::never_matches(text).is_some();
            if !is_told && text.contains(char::is_whitespace) {
                let path = format!("{}[{position}]", setting.path);
                let does = "has white space in it, which an API key has not (RFC 6750, section 2.1); leave it out";
                findings.warn(&path, *place, does);
            }
        }
    }
}

fn hmac(raw: &Signature, route: &str, findings: &mut Findings) -> Option<HmacConfig> {
    if let Some(encoding) = raw.key_encoding.get() {
        refuse_undecodable(raw, encoding, findings);
    }
    let headers = [
        &raw.key_header,
        &raw.timestamp_header,
        &raw.id_header,
        &raw.signature_header,
    ];
    for (position, header) in headers.iter().enumerate() {
        let is_taken = headers[..position]
            .iter()
            .any(|other| other.value().is_some() && other.value() == header.value());
        if is_taken {
            let message = "this header carries another part already; each part has its own";
            findings.mistake(header.place, message);
        }
    }
    let signed = raw.signed.value().map(|signed| signed.0.clone());
    if let Some(signed) = &signed {
        template(signed, raw, findings);
    }
    let text =
        |header: &Setting<http::HeaderName>| header.value().map(|name| name.as_str().to_owned());
    Some(HmacConfig {
        clients: clients(raw, route, findings)?,
        key_header: text(&raw.key_header)?,
        timestamp_header: text(&raw.timestamp_header)?,
        id_header: text(&raw.id_header)?,
        signature_header: text(&raw.signature_header)?,
        prefix: raw.prefix.value()?.0.clone(),
        signed: signed?,
        algorithm: match raw.algorithm.get()? {
            Algorithm::Sha1 => HmacAlgorithm::Sha1,
            Algorithm::Sha256 => HmacAlgorithm::Sha256,
            Algorithm::Sha512 => HmacAlgorithm::Sha512,
        },
        key_encoding: match raw.key_encoding.get()? {
            KeyEncoding::Raw => Encoding::Raw,
            KeyEncoding::Hex => Encoding::Hex,
            KeyEncoding::Base64 => Encoding::Base64,
        },
        signature_encoding: match raw.signature_encoding.get()? {
            SignatureEncoding::Hex => Encoding::Hex,
            SignatureEncoding::Base64 => Encoding::Base64,
        },
    })
}

fn refuse_undecodable(raw: &Signature, encoding: KeyEncoding, findings: &mut Findings) {
    for secret in all_secrets(raw) {
        let text = &secret.value.0;
        let decoded_bytes = match encoding {
            KeyEncoding::Raw => continue,
            KeyEncoding::Hex => base16ct::mixed::decode_vec(text).ok(),
            KeyEncoding::Base64 => STANDARD.decode(text).ok(),
        };
        if decoded_bytes.is_none_or(|bytes| bytes.is_empty()) {
            let message = format!(
                "the secret is not {}, as `key_encoding` says",
                encoding.word()
            );
            findings.mistake(secret.place, message);
        }
    }
}

/// Looks at what is signed: every `{word}` must be known, and some had better be there.
fn template(signed: &str, raw: &Signature, findings: &mut Findings) {
    let mut found: Vec<&str> = Vec::new();
    for part in signed.split('{').skip(1) {
        let word = part.split_once('}').map_or(part, |(word, _)| word);
        if !part.contains('}') || !PLACEHOLDERS.contains(&word) {
            let hint = nearest(word, PLACEHOLDERS)
                .map(|near| format!("; did you mean `{{{near}}}`?"))
                .unwrap_or_default();
            let message = format!(
                "`signed` is made of {{{}}} and plain text{hint}",
                PLACEHOLDERS.join("}, {")
            );
            findings.mistake(raw.signed.place, message);
            return;
        }
        found.push(word);
    }
    for (word, means) in [
        (
            "body",
            "lacks {body}: whoever sees one request can send another body in its name",
        ),
        (
            "timestamp",
            "lacks {timestamp}: an old request can be given a new time",
        ),
    ] {
        if !found.contains(&word) {
            findings.warn(&raw.signed.path, raw.signed.place, means);
        }
    }
}
