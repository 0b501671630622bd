//! `bearer`: API keys in `Authorization: Bearer`, as OpenAI's clients send them (RFC 6750, section 2.1),
//! in `x-api-key`, as Anthropic's do, or in `api-key`, as Azure's do. All three are stripped from
//! forwarded requests.
//!
//! A client that sends several is authenticated by any valid one: some libraries always send an `Authorization`.
//!
//! It covers neither body nor time, so there is no replay protection: anyone with a key may use it. A key may be
//! configured as `sha256:HEX`, so that the file need not contain the key itself.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use secrecy::SecretString;

use super::Request;
use super::credentials::{
    Again, Credential, Credentials, Distinct, SignedHeaders, ToSign, visible,
};
use super::demand::{ClientKeys, Coverage};
use super::error::{SchemeError, SignError};
use super::headers;
use super::keys::{Client, ClientSettings, NamedClient};
use super::rejection::SignatureRejection;
use super::scheme::{
    Accepted, Built, Context, Descriptor, RawScheme, Scheme, SchemeEntry, SchemeSettings, SignedBy,
};
use super::secret::{HashedSecret, non_empty};
use crate::settings::declare::settings;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::{List, Placed};
use crate::settings::node::FilePosition;
use crate::settings::secret::never_matches;
use crate::settings::values::SecretText;

const NAME: &str = "bearer";

pub(super) static SCHEME: Descriptor = Descriptor {
    name: NAME,
    platform: None,
    settings: SchemeSettings::of::<Settings>(),
    windows: None,
    challenge: "Bearer",
    invalid_title: Some("Invalid API key"),
    redelivery: None,
    sign,
    #[cfg(test)]
    cases: super::scheme_tests::Cases {
        credential: "authorization",
        stale: crate::exchange::SignatureOutcome::Valid,
        other_body: crate::exchange::SignatureOutcome::Valid,
        empty_body: crate::exchange::SignatureOutcome::Valid,
        again: crate::exchange::SignatureOutcome::Valid,
    },
};

/// Before the hex of a stored key's SHA-256.
const STORED_PREFIX: &str = "sha256:";

const AUTHENTICATION_SCHEME: &[u8] = b"bearer ";

/// The headers that are searched for keys, in this order.
static CARRIERS: [HeaderName; 3] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
];

settings! {
    /// API keys.
    struct Settings {
        /// API keys in plain text, or their sha256:HEX.
        secrets: List<SecretText, 1> [guard] reload,
        /// Named clients with their API keys.
        clients: List<Client, 1> [guard] reload,
    }
}

impl RawScheme for Settings {
    fn check(&self, entry: &SchemeEntry<'_>, diagnostics: &mut Diagnostics) -> Option<Built> {
        let settings = ClientSettings {
            clients: &self.clients,
            secrets: &self.secrets,
        };
        refuse_bad_hashes(&settings, diagnostics);
        warn_of_spaces(&settings, diagnostics);
        let clients = settings.check(entry, diagnostics)?;
        entry.built(build(&clients), diagnostics)
    }

    fn written(&self) -> Vec<(&'static str, FilePosition)> {
        crate::settings::declare::Settings::written(self)
    }
}

fn refuse_bad_hashes(settings: &ClientSettings<'_>, diagnostics: &mut Diagnostics) {
    for secret in settings.all() {
        let text = secret.value.expose_secret();
        if text.starts_with(STORED_PREFIX) && stored_key(text).is_none() {
            let message = "expected 64 hex digits after `sha256:`, the SHA-256 of the key";
            diagnostics.error(secret.place, message);
        }
    }
}

/// White space within a key; at its ends it causes a warning for every secret.
fn warn_of_spaces(settings: &ClientSettings<'_>, diagnostics: &mut Diagnostics) {
    for setting in settings.lists() {
        let secrets = setting.value().map_or(&[][..], |list| &list.0);
        for (position, Placed { place, value }) in secrets.iter().enumerate() {
            let text = value.expose_secret().trim();
            let is_reported = never_matches(text).is_some();
            if !is_reported && text.contains(char::is_whitespace) {
                let path = format!("{}[{position}]", setting.path);
                let does = "contains white space, which an API key cannot (RFC 6750, section 2.1); remove it";
                diagnostics.warn(&path, *place, does);
            }
        }
    }
}

fn build(clients: &[NamedClient]) -> Result<Built, SchemeError> {
    if clients.is_empty() {
        return Err(SchemeError::NoClients(NAME));
    }
    let mut keys = Vec::new();
    let mut all = Vec::with_capacity(clients.len());
    for client in clients {
        let mut hashed = Vec::new();
        for (position, secret) in non_empty(&client.secrets, &client.described())? {
            let is_stored = secret.starts_with(STORED_PREFIX);
            let hash = match is_stored {
                false => HashedSecret::of(secret.as_bytes()),
                true => stored_key(secret).ok_or_else(|| SchemeError::InvalidHash {
                    position,
                    client: client.name.to_string(),
                })?,
            };
            hashed.push((position, hash));
            keys.push(StoredKey {
                client: client.name.clone(),
                position,
                hash,
                secret: (!is_stored).then(|| SecretString::from(secret)),
            });
        }
        all.push(ClientKeys {
            name: client.name.clone(),
            keys: hashed,
        });
    }
    Ok(Built {
        scheme: Arc::new(Bearer { keys }),
        coverage: Coverage::KeyAlone,
        settings: String::new(),
        token: None,
        clients: all,
    })
}

struct Bearer {
    keys: Vec<StoredKey>,
}

struct StoredKey {
    client: Arc<str>,
    position: usize,
    hash: HashedSecret,
    /// The key itself, where the file holds more than its hash.
    secret: Option<SecretString>,
}

impl Scheme for Bearer {
    fn is_addressed(&self, headers: &HeaderMap) -> bool {
        CARRIERS.iter().any(|name| headers.contains_key(name))
    }

    fn reads_body(&self) -> bool {
        false
    }

    fn required_credentials(&self) -> &str {
        "authorization: Bearer KEY, x-api-key: KEY or api-key: KEY"
    }

    fn stripped_headers(&self) -> &[HeaderName] {
        &CARRIERS
    }

    fn verify(
        &self,
        request: &Request<'_>,
        _: &Context<'_>,
    ) -> Result<Accepted, SignatureRejection> {
        let mut flaw = None;
        let mut was_key = false;
        for name in CARRIERS
            .iter()
            .filter(|name| request.headers.contains_key(*name))
        {
            match presented(request.headers, name) {
                Ok(key) => match self.holder(key) {
                    Some(key) => {
                        let by = SignedBy {
                            client: key.client.clone(),
                            key: Some(key.position),
                        };
                        return Ok(Accepted::Valid { by, identity: None });
                    }
                    None => was_key = true,
                },
                Err(rejection) => flaw = flaw.or(Some(rejection)),
            }
        }
        let unknown = || SignatureRejection::invalid("no client of this route has this API key");
        Err(flaw.filter(|_| !was_key).unwrap_or_else(unknown))
    }

    fn credentials(&self) -> Result<Vec<Credentials>, SignError> {
        let mut credentials: Vec<Credentials> = Vec::new();
        for key in &self.keys {
            let client = Some(&key.client);
            let is_known = credentials
                .iter()
                .any(|known| known.client.as_ref() == client);
            if let (Some(secret), false) = (&key.secret, is_known) {
                credentials.push(Credentials {
                    client: client.cloned(),
                    credential: Credential::Secret(secret.clone()),
                    age_max: None::<Duration>,
                    again: Again::Admitted,
                    distinct: Distinct::Always,
                });
            }
        }
        Ok(credentials)
    }
}

impl Bearer {
    /// The owner of a key. All are compared, each in constant time.
    fn holder(&self, presented: &[u8]) -> Option<&StoredKey> {
        let presented = HashedSecret::of(presented);
        let mut matched = None;
        for key in &self.keys {
            if key.hash.matches(&presented) && matched.is_none() {
                matched = Some(key);
            }
        }
        matched
    }
}

/// The key that a header carries.
fn presented<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<&'a [u8], SignatureRejection> {
    let value = headers::single(headers, name)?;
    if *name == AUTHORIZATION {
        return token(value).ok_or_else(|| {
            SignatureRejection::invalid("authorization is not of the form `Bearer KEY`")
        });
    }
    let key = value.trim_ascii();
    if key.is_empty() {
        return Err(SignatureRejection::invalid(format!("{name} is empty")));
    }
    Ok(key)
}

/// What a client sends.
fn sign(request: &ToSign<'_>) -> Result<SignedHeaders, SignError> {
    let key = visible(request.secret)?;
    if key.starts_with(STORED_PREFIX) {
        return Err(SignError::HashOfKey);
    }
    Ok(vec![("Authorization".to_owned(), format!("Bearer {key}"))])
}

fn token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(AUTHENTICATION_SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(AUTHENTICATION_SCHEME) {
        return None;
    }
    let token = rest.trim_ascii();
    (!token.is_empty()).then_some(token)
}

/// The hash of a key that is configured as `sha256:HEX`. `None` for anything else.
fn stored_key(secret: &str) -> Option<HashedSecret> {
    let mut digest = [0; 32];
    let text = secret.strip_prefix(STORED_PREFIX)?;
    let decoded = base16ct::mixed::decode(text, &mut digest).ok()?;
    // A shorter text is no digest.
    (decoded.len() == 32).then(|| HashedSecret::from_digest(digest))
}

#[cfg(test)]
#[path = "bearer_tests.rs"]
mod tests;
