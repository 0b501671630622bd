//! The settings of `hmac`, and their check.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use secrecy::SecretString;

use super::mac::{Algorithm, KeyedHmac};
use super::template::{Part, Template};
use super::{Caller, Hmac, PREFIX, SIGNATURE_HEADER, SIGNED, SignedForm, TIMESTAMP_HEADER};
use super::{ID_HEADER, KEY_HEADER};
use crate::settings::declare::{Word, choice, settings};
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::List;
use crate::settings::nearest::nearest;
use crate::settings::node::FilePosition;
use crate::settings::values::{MaybeEmptyText, PlainText, SecretText};
use crate::signature::demand::{ClientKeys, Coverage};
use crate::signature::error::SchemeError;
use crate::signature::headers::SignatureEncoding;
use crate::signature::keys::{Client, ClientSettings, NamedClient};
use crate::signature::scheme::{Built, RawScheme, SchemeEntry};
use crate::signature::secret::{HashedSecret, non_empty};

settings! {
    /// HMAC in headers.
    struct Settings {
        /// Secrets; any of them is valid, for rotation. With hmac and bearer, the short form for one client, named after the route.
        secrets: List<SecretText, 1> [guard] reload,
        /// hmac, bearer: named clients with their secrets.
        clients: List<Client, 1> [guard] reload,
        /// hmac: the header that names the client.
        key_header: HeaderName [default "X-Weir-Key"] reload,
        /// hmac: the header with the time in Unix seconds.
        timestamp_header: HeaderName [default "X-Weir-Timestamp"] reload,
        /// hmac: the header with an id that is never used twice.
        id_header: HeaderName [default "X-Weir-Id"] reload,
        /// hmac: the header with the signature.
        signature_header: HeaderName [default "X-Weir-Signature"] reload,
        /// hmac: the prefix of the signature.
        prefix: MaybeEmptyText [default "v1="] reload,
        /// hmac: what is signed, of {timestamp}, {id}, {body}, {method}, {path}, {query} and text.
        signed: PlainText [default "'{timestamp}.{id}.{body}'"] reload,
        /// hmac: the hash function.
        algorithm: Algorithm [default "sha256"] reload,
        /// hmac: the encoding of secrets.
        key_encoding: KeyEncoding [default "raw"] reload,
        /// hmac: the encoding of the signature.
        signature_encoding: SignatureEncoding [default "hex"] reload,
    }
}

choice! {
    /// The encoding of a secret.
    enum KeyEncoding {
        Raw = "raw",
        Hex = "hex",
        Base64 = "base64",
    }
}

/// The checked settings.
struct Checked {
    clients: Vec<NamedClient>,
    key_header: HeaderName,
    timestamp_header: HeaderName,
    id_header: HeaderName,
    signature_header: HeaderName,
    prefix: String,
    signed: String,
    algorithm: Algorithm,
    key_encoding: KeyEncoding,
    signature_encoding: SignatureEncoding,
}

impl RawScheme for Settings {
    fn check(&self, entry: &SchemeEntry<'_>, diagnostics: &mut Diagnostics) -> Option<Built> {
        let clients = self.clients();
        if let Some(encoding) = self.key_encoding.get() {
            refuse_undecodable(&clients, encoding, diagnostics);
        }
        self.refuse_one_header_for_two_parts(diagnostics);
        if let Some(signed) = self.signed.value() {
            check_template(&signed.0, &self.signed, diagnostics);
        }
        let checked = Checked {
            clients: clients.check(entry, diagnostics)?,
            key_header: self.key_header.value()?.clone(),
            timestamp_header: self.timestamp_header.value()?.clone(),
            id_header: self.id_header.value()?.clone(),
            signature_header: self.signature_header.value()?.clone(),
            prefix: self.prefix.value()?.0.clone(),
            signed: self.signed.value()?.0.clone(),
            algorithm: self.algorithm.get()?,
            key_encoding: self.key_encoding.get()?,
            signature_encoding: self.signature_encoding.get()?,
        };
        entry.built(checked.build(entry), diagnostics)
    }

    fn written(&self) -> Vec<(&'static str, FilePosition)> {
        crate::settings::declare::Settings::written(self)
    }
}

impl Settings {
    fn clients(&self) -> ClientSettings<'_> {
        ClientSettings {
            clients: &self.clients,
            secrets: &self.secrets,
        }
    }

    fn refuse_one_header_for_two_parts(&self, diagnostics: &mut Diagnostics) {
        let headers = [
            &self.key_header,
            &self.timestamp_header,
            &self.id_header,
            &self.signature_header,
        ];
        for (position, header) in headers.iter().enumerate() {
            let is_taken = headers[..position]
                .iter()
                .any(|other| other.value().is_some() && other.value() == header.value());
            if is_taken {
                let message = "this header already carries another part; use different headers";
                diagnostics.error(header.place, message);
            }
        }
    }
}

impl Checked {
    fn build(self, entry: &SchemeEntry<'_>) -> Result<Built, SchemeError> {
        let template = Template::parse(&self.signed)?;
        let (callers, clients) = self.callers()?;
        let settings = self.described();
        let form = self.form();
        let timestamp = template.names(Part::Timestamp);
        let id = template.names(Part::Id);
        let stripped = vec![
            self.key_header.clone(),
            self.timestamp_header.clone(),
            self.id_header.clone(),
            self.signature_header.clone(),
        ];
        let timestamp_header = timestamp.then_some(self.timestamp_header);
        let id_header = id.then_some(self.id_header);
        let signature_header = Some(&self.signature_header);
        let parts = [
            timestamp_header.as_ref(),
            id_header.as_ref(),
            signature_header,
        ];
        let required: Vec<HeaderName> = parts.into_iter().flatten().cloned().collect();
        let names: Vec<&str> = required.iter().map(HeaderName::as_str).collect();
        let coverage = match template.names(Part::Body) {
            true => Coverage::Body,
            false => Coverage::KeyAlone,
        };
        let scheme = Hmac {
            required_credentials: names.join(", "),
            required,
            decoy: KeyedHmac::new(self.algorithm, b"nobody's key").ok_or(SchemeError::KeyLength)?,
            callers,
            form,
            template,
            key_header: self.key_header,
            signature_header: self.signature_header,
            timestamp_header,
            id_header,
            prefix: Box::from(self.prefix.as_bytes()),
            signature_encoding: self.signature_encoding,
            tolerance: entry.tolerance,
            replay: entry.replay,
            stripped,
        };
        Ok(Built {
            scheme: Arc::new(scheme),
            coverage,
            settings,
            token: None,
            clients,
        })
    }

    /// All settings but the secrets.
    fn described(&self) -> String {
        let headers = [
            &self.key_header,
            &self.timestamp_header,
            &self.id_header,
            &self.signature_header,
        ];
        format!(
            "{} {:?} {:?} {} {} {}",
            headers.map(HeaderName::as_str).join(" "),
            self.prefix,
            self.signed,
            self.algorithm.word(),
            self.key_encoding.word(),
            self.signature_encoding.word(),
        )
    }

    /// Whether it is signed as weir defines it, whatever header names the client.
    fn form(&self) -> SignedForm {
        let names = [
            (&self.timestamp_header, TIMESTAMP_HEADER),
            (&self.id_header, ID_HEADER),
            (&self.signature_header, SIGNATURE_HEADER),
        ];
        let is_weirs = names.iter().all(|(ours, name)| *ours == *name)
            && (self.prefix.as_str(), self.signed.as_str()) == (PREFIX, SIGNED)
            && self.algorithm == Algorithm::Sha256
            && self.key_encoding == KeyEncoding::Raw
            && self.signature_encoding == SignatureEncoding::Hex;
        match is_weirs {
            true if self.key_header == KEY_HEADER => SignedForm::Weir,
            true => SignedForm::WeirWithoutClient,
            false => SignedForm::Custom,
        }
    }

    fn callers(&self) -> Result<(Vec<Caller>, Vec<ClientKeys>), SchemeError> {
        if self.clients.is_empty() {
            return Err(SchemeError::NoClients(super::NAME));
        }
        let mut callers = Vec::with_capacity(self.clients.len());
        let mut clients = Vec::with_capacity(self.clients.len());
        for client in &self.clients {
            let secrets = non_empty(&client.secrets, &client.described())?;
            let first = secrets.first().map_or("", |(_, secret)| *secret);
            let secret = SecretString::from(first);
            let mut keys = Vec::with_capacity(secrets.len());
            let mut hashed = Vec::with_capacity(secrets.len());
            for (position, secret) in secrets {
                let key = key_bytes(secret, self.key_encoding);
                let key = key.ok_or_else(|| SchemeError::UndecodableSecret {
                    position,
                    client: client.name.to_string(),
                })?;
                hashed.push((position, HashedSecret::of(&key)));
                let keyed = KeyedHmac::new(self.algorithm, &key).ok_or(SchemeError::KeyLength)?;
                keys.push((position, keyed));
            }
            callers.push(Caller {
                name: client.name.clone(),
                keys,
                secret,
            });
            clients.push(ClientKeys {
                name: client.name.clone(),
                keys: hashed,
            });
        }
        Ok((callers, clients))
    }
}

/// The bytes of an HMAC's key; `None` where it is empty or not in its encoding.
fn key_bytes(secret: &str, encoding: KeyEncoding) -> Option<Vec<u8>> {
    let bytes = match encoding {
        KeyEncoding::Raw => Some(secret.as_bytes().to_vec()),
        KeyEncoding::Hex => base16ct::mixed::decode_vec(secret).ok(),
        KeyEncoding::Base64 => STANDARD.decode(secret).ok(),
    };
    bytes.filter(|bytes| !bytes.is_empty())
}

fn refuse_undecodable(
    clients: &ClientSettings<'_>,
    encoding: KeyEncoding,
    diagnostics: &mut Diagnostics,
) {
    for secret in clients.all() {
        if key_bytes(secret.value.expose_secret(), encoding).is_none() {
            let message = format!(
                "the secret is not valid {}, the `key_encoding` of this entry",
                encoding.word()
            );
            diagnostics.error(secret.place, message);
        }
    }
}

/// Checks what is signed: every `{word}` must be known, and a missing body, timestamp or id causes a warning.
fn check_template(signed: &str, setting: &Setting<PlainText>, diagnostics: &mut Diagnostics) {
    let known = Part::ALL.map(Part::word);
    let mut found: Vec<&str> = Vec::new();
    for part in signed.split('{').skip(1) {
        let word = part.split_once('}').map_or(part, |(word, _)| word);
        if !part.contains('}') || !known.contains(&word) {
            let hint = nearest(word, &known)
                .map(|near| format!("; did you mean `{{{near}}}`?"))
                .unwrap_or_default();
            let message = format!(
                "`signed` is made of {{{}}} and plain text{hint}",
                known.join("}, {")
            );
            diagnostics.error(setting.place, message);
            return;
        }
        found.push(word);
    }
    for (word, means) in [
        (
            "body",
            "lacks {body}: an observer of one request can send another body with its signature",
        ),
        (
            "timestamp",
            "lacks {timestamp}: a recorded request never expires",
        ),
    ] {
        if !found.contains(&word) {
            diagnostics.warn(&setting.path, setting.place, means);
        }
    }
}
