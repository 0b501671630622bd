//! `hmac`: weir's own scheme, and every other that signs with HMAC in headers.
//!
//! `X-Weir-Key` names the client and may be left out; `X-Weir-Timestamp`, `X-Weir-Id`, and
//! `X-Weir-Signature: v1=` + hex of HMAC-SHA256 over `timestamp.id.body`. Header names, what is
//! signed, algorithm and encodings can all be configured. Only what is signed is looked at: without
//! `{timestamp}` nothing expires, without `{id}` it is the signature that is remembered.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use secrecy::SecretString;

use self::mac::{Algorithm, KeyedHmac, Tag};
use self::settings::Settings;
use self::template::{Part, Template, Values};
use super::Request;
use super::credentials::{
    Again, Credential, Credentials, Distinct, SignedHeaders, ToSign, visible,
};
use super::error::SignError;
use super::headers::{self, Decoded, SignatureEncoding};
use super::rejection::SignatureRejection;
use super::replay::ReplayKey;
use super::scheme::{
    Accepted, Context, Descriptor, Identity, Scheme, SchemeSettings, SignedBy, Windows,
};

mod mac;
mod settings;
mod template;

const NAME: &str = "hmac";

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
    cases: super::scheme_tests::Cases::of_body("x-weir-signature"),
};

// weir's own form: the defaults of the settings.
const KEY_HEADER: &str = "X-Weir-Key";
const TIMESTAMP_HEADER: &str = "X-Weir-Timestamp";
const ID_HEADER: &str = "X-Weir-Id";
const SIGNATURE_HEADER: &str = "X-Weir-Signature";
const PREFIX: &str = "v1=";
const SIGNED: &str = "{timestamp}.{id}.{body}";

struct Hmac {
    callers: Vec<Caller>,
    form: SignedForm,
    /// A key that no client has. An unknown client is checked with it, so that the response time does not reveal which
    /// clients exist.
    decoy: KeyedHmac,
    template: Template,
    key_header: HeaderName,
    signature_header: HeaderName,
    /// `None` where the template does not name it.
    timestamp_header: Option<HeaderName>,
    id_header: Option<HeaderName>,
    prefix: Box<[u8]>,
    signature_encoding: SignatureEncoding,
    tolerance: Duration,
    replay: Duration,
    /// All that a signed request carries.
    required: Vec<HeaderName>,
    required_credentials: String,
    stripped: Vec<HeaderName>,
}

/// Whether [`sign`] makes what this entry verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignedForm {
    Weir,
    /// The header that names the client has another name.
    WeirWithoutClient,
    Custom,
}

/// A client with its keys.
struct Caller {
    name: Arc<str>,
    keys: Vec<(usize, KeyedHmac)>,
    /// The first of its secrets, to sign with.
    secret: SecretString,
}

/// The credential of a request, parsed but not verified.
struct Presented<'a> {
    signature: Decoded,
    timestamp_s: Option<u64>,
    values: Values<'a>,
}

impl Hmac {
    /// All missing headers are reported at once.
    fn present<'a>(&self, request: &Request<'a>) -> Result<Presented<'a>, SignatureRejection> {
        self.read(request).map_err(|rejection| {
            let all_there = headers::all_there(request.headers, &self.required);
            all_there.err().unwrap_or(rejection)
        })
    }

    fn read<'a>(&self, request: &Request<'a>) -> Result<Presented<'a>, SignatureRejection> {
        let mut values = Values {
            timestamp: b"",
            id: b"",
            body: request.body,
            method: request.method.as_str().as_bytes(),
            path: request.path.as_bytes(),
            query: request.query.as_bytes(),
        };
        let mut timestamp_s = None;
        if let Some(name) = &self.timestamp_header {
            values.timestamp = headers::single(request.headers, name)?;
            let seconds = headers::unix_seconds(values.timestamp);
            timestamp_s = Some(seconds.ok_or_else(|| {
                SignatureRejection::invalid(format!("{name} is not in whole unix seconds"))
            })?);
        }
        if let Some(name) = &self.id_header {
            values.id = headers::single(request.headers, name)?;
        }
        if let Some(part) = self.template.blurred(&values) {
            return Err(SignatureRejection::invalid(format!(
                "{} contains the separator next to it in the signed text",
                part.placeholder()
            )));
        }
        let name = &self.signature_header;
        let text = headers::single(request.headers, name)?
            .strip_prefix(self.prefix.as_ref())
            .ok_or_else(|| SignatureRejection::invalid(format!("{name} lacks its prefix")))?;
        let signature = Decoded::read(text, self.signature_encoding)
            .ok_or_else(|| SignatureRejection::invalid(format!("{name} is not well encoded")))?;
        Ok(Presented {
            signature,
            timestamp_s,
            values,
        })
    }

    /// Tries all keys of the clients that the request may come from, and the decoy if there are none.
    fn matching(&self, name: Option<&[u8]>, presented: &Presented<'_>) -> Option<MatchedKey<'_>> {
        let mut matched: Option<MatchedKey<'_>> = None;
        let mut tried = false;
        let is_named = |caller: &Caller| name.is_none_or(|name| caller.name.as_bytes() == name);
        for (number, caller) in self.callers.iter().enumerate() {
            if !is_named(caller) {
                continue;
            }
            for (position, keyed) in &caller.keys {
                tried = true;
                let tag = keyed.tag(&self.template, &presented.values);
                if tag.equals(presented.signature.as_bytes()) && matched.is_none() {
                    matched = Some(MatchedKey {
                        number,
                        caller,
                        position: *position,
                        tag,
                    });
                }
            }
        }
        if !tried {
            let tag = self.decoy.tag(&self.template, &presented.values);
            // The comparison is part of the work; its result is not used.
            std::hint::black_box(tag.equals(presented.signature.as_bytes()));
        }
        matched
    }

    /// What identifies a request: its signed id, which no other request of the client has, else its
    /// signature.
    fn identity(
        &self,
        matched: &MatchedKey<'_>,
        values: &Values<'_>,
        context: &Context<'_>,
    ) -> Option<Identity> {
        let namespaces = context.namespaces?;
        Some(Identity::Nonce(if self.id_header.is_some() {
            let namespace = namespaces.get(matched.number).copied().unwrap_or_default();
            ReplayKey::of(&[b"id", &namespace, values.id])
        } else {
            ReplayKey::of(&[b"signature", matched.tag.as_bytes()])
        }))
    }
}

struct MatchedKey<'a> {
    /// Of the caller, in their order.
    number: usize,
    caller: &'a Caller,
    position: usize,
    tag: Tag,
}

impl Scheme for Hmac {
    fn is_addressed(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(&self.signature_header)
    }

    fn reads_body(&self) -> bool {
        self.template.names(Part::Body)
    }

    fn required_credentials(&self) -> &str {
        &self.required_credentials
    }

    fn stripped_headers(&self) -> &[HeaderName] {
        &self.stripped
    }

    fn verify(
        &self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<Accepted, SignatureRejection> {
        let presented = self.present(request)?;
        let name = if request.headers.contains_key(&self.key_header) {
            Some(headers::single(request.headers, &self.key_header)?)
        } else {
            None
        };
        let matched = self
            .matching(name, &presented)
            .ok_or_else(SignatureRejection::invalid_signature)?;
        if let Some(timestamp_s) = presented.timestamp_s {
            headers::fresh(timestamp_s, context.now, self.tolerance)?;
        }
        Ok(Accepted::Valid {
            identity: self.identity(&matched, &presented.values, context),
            by: SignedBy {
                client: matched.caller.name.clone(),
                key: Some(matched.position),
            },
        })
    }

    fn replayed_detail(&self) -> Cow<'static, str> {
        match &self.id_header {
            Some(name) => Cow::Owned(format!("this {name} was used before")),
            None => Cow::Borrowed("this signature was used before"),
        }
    }

    fn credentials(&self) -> Result<Vec<Credentials>, SignError> {
        if self.form == SignedForm::Custom {
            return Err(SignError::CustomHmac);
        }
        let again = match self.replay.is_zero() {
            true => Again::Admitted,
            false => Again::Rejected,
        };
        let credentials = self.callers.iter().map(|caller| Credentials {
            client: Some(caller.name.clone()),
            credential: Credential::Secret(caller.secret.clone()),
            age_max: Some(self.tolerance),
            again,
            distinct: Distinct::Always,
        });
        Ok(credentials.collect())
    }
}

/// What a client of weir's own form of the scheme sends.
fn sign(request: &ToSign<'_>) -> Result<SignedHeaders, SignError> {
    let id = visible(request.id)?;
    // The template of the defaults: a test verifies what is signed here.
    let template = Template::parse(SIGNED).map_err(|_| SignError::CustomHmac)?;
    let keyed = KeyedHmac::new(Algorithm::Sha256, request.secret.as_bytes());
    let keyed = keyed.ok_or(SignError::KeyLength)?;
    let timestamp = request.at_unix_s.to_string();
    let values = Values {
        timestamp: timestamp.as_bytes(),
        id: id.as_bytes(),
        body: request.body,
        ..Values::default()
    };
    if template.blurred(&values).is_some() {
        return Err(SignError::SeparatorInId(id.to_owned()));
    }
    let tag = keyed.tag(&template, &values);
    let signature = base16ct::lower::encode_string(tag.as_bytes());
    let mut headers = vec![
        (TIMESTAMP_HEADER.to_owned(), timestamp),
        (ID_HEADER.to_owned(), id.to_owned()),
        (SIGNATURE_HEADER.to_owned(), format!("{PREFIX}{signature}")),
    ];
    headers.extend(
        request
            .client
            .map(|name| (KEY_HEADER.to_owned(), name.to_owned())),
    );
    Ok(headers)
}

#[cfg(test)]
mod tests;
