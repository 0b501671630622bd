//! `simple_sha256`: `X-Signature: base64(sha256(timestamp + secret))` with `X-Timestamp` in unix
//! seconds, the simplified check in circulation.
//!
//! It covers no body: an observer of one request can send any other until its timestamp expires. The replay store
//! limits that: a signature is valid for one request, so a second request of the same second is rejected, too, whatever
//! its body.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Request;
use super::credentials::{Again, Credential, Credentials, Distinct, SignedHeaders, ToSign};
use super::demand::Coverage;
use super::error::{SchemeError, SignError};
use super::headers::{self, Decoded, SignatureEncoding};
use super::keys::{self, Secrets, client_keys};
use super::rejection::SignatureRejection;
use super::replay::ReplayKey;
use super::scheme::{
    Accepted, Built, Context, Descriptor, Identity, RawScheme, Scheme, SchemeEntry, SchemeSettings,
    SignedBy, Windows,
};
use super::secret::non_empty;
use crate::settings::declare::settings;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::List;
use crate::settings::node::FilePosition;
use crate::settings::values::SecretText;

const NAME: &str = "simple_sha256";

pub(super) static SCHEME: Descriptor = Descriptor {
    name: NAME,
    platform: None,
    settings: SchemeSettings::of::<Settings>(),
    windows: Some(Windows::USUAL),
    challenge: NAME,
    invalid_title: None,
    redelivery: None,
    sign,
    #[cfg(test)]
    cases: super::scheme_tests::Cases {
        other_body: crate::exchange::SignatureOutcome::Valid,
        ..super::scheme_tests::Cases::of_body("x-signature")
    },
};

static TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");
static SIGNATURE: HeaderName = HeaderName::from_static("x-signature");
static REQUIRED: [HeaderName; 2] = [
    HeaderName::from_static("x-timestamp"),
    HeaderName::from_static("x-signature"),
];

settings! {
    /// SHA-256 over a timestamp and a secret.
    struct Settings {
        /// Secrets; any of them is valid, for rotation.
        secrets: List<SecretText, 1> [guard] reload,
    }
}

impl RawScheme for Settings {
    fn check(&self, entry: &SchemeEntry<'_>, diagnostics: &mut Diagnostics) -> Option<Built> {
        entry.need(!self.secrets.is_absent(), "`secrets`", diagnostics);
        diagnostics.warn(
            entry.path,
            entry.place,
            "is simple_sha256, which does not cover the body: an observer of one request can send another body with its signature",
        );
        entry.built(build(&self.secrets, entry), diagnostics)
    }

    fn written(&self) -> Vec<(&'static str, FilePosition)> {
        crate::settings::declare::Settings::written(self)
    }
}

fn build(secrets: &Secrets, entry: &SchemeEntry<'_>) -> Result<Built, SchemeError> {
    let secrets = keys::secrets(secrets);
    let secrets = non_empty(&secrets, NAME)?;
    let client = entry.client();
    let clients = vec![client_keys(&client, &secrets)];
    let secrets = secrets.into_iter();
    let scheme = SimpleSha256 {
        secrets: secrets
            .map(|(position, secret)| (position, SecretString::from(secret)))
            .collect(),
        client,
        tolerance: entry.tolerance,
        replay: entry.replay,
    };
    Ok(Built {
        scheme: Arc::new(scheme),
        coverage: Coverage::KeyAlone,
        settings: String::new(),
        token: None,
        clients,
    })
}

struct SimpleSha256 {
    secrets: Vec<(usize, SecretString)>,
    client: Arc<str>,
    tolerance: Duration,
    replay: Duration,
}

impl Scheme for SimpleSha256 {
    fn is_addressed(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(&SIGNATURE)
    }

    fn verified_headers(&self) -> &[HeaderName] {
        &REQUIRED
    }

    fn reads_body(&self) -> bool {
        false
    }

    fn required_credentials(&self) -> &str {
        "x-timestamp and x-signature"
    }

    fn verify(
        &self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<Accepted, SignatureRejection> {
        headers::all_there(request.headers, &REQUIRED)?;
        let timestamp = headers::single(request.headers, &TIMESTAMP)?;
        let timestamp_s = headers::unix_seconds(timestamp).ok_or_else(|| {
            SignatureRejection::invalid("x-timestamp is not in whole unix seconds")
        })?;
        let signature = headers::single(request.headers, &SIGNATURE)?;
        let presented = Decoded::read(signature, SignatureEncoding::Base64)
            .ok_or_else(|| SignatureRejection::invalid("x-signature is not base64"))?;
        let mut matched = None;
        for (position, secret) in &self.secrets {
            let digest = digest(timestamp, secret.expose_secret());
            if bool::from(digest.as_slice().ct_eq(presented.as_bytes())) && matched.is_none() {
                matched = Some(*position);
            }
        }
        let key = matched.ok_or_else(SignatureRejection::invalid_signature)?;
        headers::fresh(timestamp_s, context.now, self.tolerance)?;
        let nonce = || Identity::Nonce(ReplayKey::of(&[timestamp, presented.as_bytes()]));
        Ok(Accepted::Valid {
            by: SignedBy {
                client: self.client.clone(),
                key: Some(key),
            },
            identity: context.namespaces.map(|_| nonce()),
        })
    }

    fn replayed_detail(&self) -> std::borrow::Cow<'static, str> {
        "this signature was used before; it covers no body, so it is good for one request".into()
    }

    fn credentials(&self) -> Result<Vec<Credentials>, SignError> {
        let (again, distinct) = match self.replay.is_zero() {
            true => (Again::Admitted, Distinct::Always),
            false => (Again::Rejected, Distinct::BySecond),
        };
        let first = self.secrets.first().map(|(_, secret)| Credentials {
            client: None,
            credential: Credential::Secret(secret.clone()),
            age_max: Some(self.tolerance),
            again,
            distinct,
        });
        Ok(first.into_iter().collect())
    }
}

/// What a client sends.
fn sign(request: &ToSign<'_>) -> Result<SignedHeaders, SignError> {
    let timestamp = request.at_unix_s.to_string();
    let signature = STANDARD.encode(digest(timestamp.as_bytes(), request.secret));
    Ok(vec![
        ("X-Timestamp".to_owned(), timestamp),
        ("X-Signature".to_owned(), signature),
    ])
}

fn digest(timestamp: &[u8], secret: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(timestamp)
        .chain_update(secret)
        .finalize()
        .into()
}
