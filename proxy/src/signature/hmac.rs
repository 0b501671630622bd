//! `hmac`: weir's own scheme, and every other that signs with HMAC in headers.
//!
//! `X-Weir-Key` names the client and may be left out; `X-Weir-Timestamp`, `X-Weir-Id`, and
//! `X-Weir-Signature: v1=` + hex of HMAC-SHA256 over `timestamp.id.body`. Header names, what is
//! signed, algorithm and encodings can all be configured. Only what is signed is looked at: without
//! `{timestamp}` nothing expires, without `{id}` it is the signature that is remembered.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use self::mac::{Keyed, Tag};
use self::template::{Part, Template, Values};
use super::demand::key_bytes;
use super::headers::{self, Decoded};
use super::memory::Memory;
use super::replay::{Key, Sighting, Store};
use super::scheme::{Accepted, Rejection, Scheme, SignedBy, usable};
use super::{Client, Encoding, HmacConfig, Request};

mod mac;
mod template;

pub(super) const NAME: &str = "hmac";

pub(super) struct Hmac {
    callers: Vec<Caller>,
    /// Does the work for a client that is not known.
    decoy: Keyed,
    template: Template,
    key_header: HeaderName,
    signature_header: HeaderName,
    /// `None` where the template does not name it.
    timestamp_header: Option<HeaderName>,
    id_header: Option<HeaderName>,
    prefix: Box<[u8]>,
    signature_encoding: Encoding,
    tolerance: Duration,
    replay: Option<Store>,
    /// All that a signed request carries.
    needed: Vec<HeaderName>,
    wanted: String,
    withheld: Vec<HeaderName>,
}

/// A client, its keys worked in.
struct Caller {
    name: Arc<str>,
    /// Whose ids are one: see [`Memory::identity`].
    identity: usize,
    keys: Vec<(usize, Keyed)>,
}

/// What a request brought, read but not believed.
struct Presented<'a> {
    signature: Decoded,
    timestamp_s: Option<u64>,
    values: Values<'a>,
}

impl Hmac {
    pub(super) fn new(
        config: &HmacConfig,
        tolerance: Duration,
        replay: Option<Store>,
        memory: &Memory,
    ) -> Result<Self, String> {
        if config.signature_encoding == Encoding::Raw {
            return Err("signature_encoding: is raw; write hex or base64".to_owned());
        }
        let template = Template::parse(&config.signed)?;
        let timestamp = header("timestamp_header", &config.timestamp_header)?;
        let id = header("id_header", &config.id_header)?;
        let key_header = header("key_header", &config.key_header)?;
        let signature_header = header("signature_header", &config.signature_header)?;
        let withheld = vec![
            key_header.clone(),
            timestamp.clone(),
            id.clone(),
            signature_header.clone(),
        ];
        let timestamp_header = template.names(Part::Timestamp).then_some(timestamp);
        let id_header = template.names(Part::Id).then_some(id);
        let needed: Vec<HeaderName> = [
            timestamp_header.as_ref(),
            id_header.as_ref(),
            Some(&signature_header),
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
        let wanted: Vec<&str> = needed.iter().map(HeaderName::as_str).collect();
        Ok(Hmac {
            callers: callers(config, memory)?,
            decoy: Keyed::new(config.algorithm, b"nobody's key").ok_or("no decoy key")?,
            wanted: wanted.join(", "),
            needed,
            template,
            key_header,
            signature_header,
            timestamp_header,
            id_header,
            prefix: Box::from(config.prefix.as_bytes()),
            signature_encoding: config.signature_encoding,
            tolerance,
            replay,
            withheld,
        })
    }

    /// What is absent is told of all at once.
    fn present<'a>(&self, request: &Request<'a>) -> Result<Presented<'a>, Rejection> {
        self.read(request).map_err(|rejection| {
            let all_there = headers::all_there(request.headers, &self.needed);
            all_there.err().unwrap_or(rejection)
        })
    }

    fn read<'a>(&self, request: &Request<'a>) -> Result<Presented<'a>, Rejection> {
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
                Rejection::invalid(format!("{name} is not in whole unix seconds"))
            })?);
        }
        if let Some(name) = &self.id_header {
            values.id = headers::single(request.headers, name)?;
        }
        if let Some(part) = self.template.blurred(&values) {
            return Err(Rejection::invalid(format!(
                "{} holds the separator that stands beside it in the signed text",
                part.placeholder()
            )));
        }
        let name = &self.signature_header;
        let text = headers::single(request.headers, name)?
            .strip_prefix(self.prefix.as_ref())
            .ok_or_else(|| Rejection::invalid(format!("{name} lacks its prefix")))?;
        let signature = Decoded::read(text, self.signature_encoding)
            .ok_or_else(|| Rejection::invalid(format!("{name} is not well encoded")))?;
        Ok(Presented {
            signature,
            timestamp_s,
            values,
        })
    }

    /// Tries all keys of all clients that it could be, and at least one.
    fn matching(&self, name: Option<&[u8]>, presented: &Presented<'_>) -> Option<Match<'_>> {
        let mut matched: Option<Match<'_>> = None;
        let mut tried = false;
        let candidates = self
            .callers
            .iter()
            .filter(|caller| name.is_none_or(|name| caller.name.as_bytes() == name));
        for caller in candidates {
            for (place, keyed) in &caller.keys {
                tried = true;
                let tag = keyed.tag(&self.template, &presented.values);
                if tag.equals(presented.signature.as_bytes()) && matched.is_none() {
                    matched = Some(Match {
                        caller,
                        place: *place,
                        tag,
                    });
                }
            }
        }
        if !tried {
            let tag = self.decoy.tag(&self.template, &presented.values);
            // The comparison is part of the work; its result is not wanted.
            std::hint::black_box(tag.equals(presented.signature.as_bytes()));
        }
        matched
    }

    fn remember(
        &self,
        matched: &Match<'_>,
        values: &Values<'_>,
        now: Duration,
    ) -> Result<(), Rejection> {
        let Some(store) = &self.replay else {
            return Ok(());
        };
        // A signed id stands for the signature too: the same signature has the same id.
        let key = if self.id_header.is_some() {
            Key::of(&[b"id", &matched.caller.identity.to_be_bytes(), values.id])
        } else {
            Key::of(&[b"signature", matched.tag.as_bytes()])
        };
        match store.witness(key, now) {
            Sighting::First => Ok(()),
            Sighting::Again => Err(match &self.id_header {
                Some(name) => Rejection::replayed(format!("this {name} was used before")),
                None => Rejection::replayed("this signature was used before"),
            }),
        }
    }
}

struct Match<'a> {
    caller: &'a Caller,
    place: usize,
    tag: Tag,
}

impl Scheme for Hmac {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_addressed(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(&self.signature_header)
    }

    fn wanted(&self) -> &str {
        &self.wanted
    }

    fn covers_body(&self) -> bool {
        self.template.names(Part::Body)
    }

    fn withheld_headers(&self) -> &[HeaderName] {
        &self.withheld
    }

    fn check(&self, request: &Request<'_>, now: Duration) -> Result<Accepted, Rejection> {
        let presented = self.present(request)?;
        let name = if request.headers.contains_key(&self.key_header) {
            Some(headers::single(request.headers, &self.key_header)?)
        } else {
            None
        };
        let matched = self
            .matching(name, &presented)
            .ok_or_else(Rejection::wrong_signature)?;
        if let Some(timestamp_s) = presented.timestamp_s {
            headers::fresh(timestamp_s, now, self.tolerance)?;
        }
        self.remember(&matched, &presented.values, now)?;
        Ok(Accepted::Valid {
            by: SignedBy {
                client: matched.caller.name.clone(),
                key: Some(matched.place),
            },
            delivery: None,
        })
    }
}

/// What a client of weir's own form of the scheme sends.
pub(super) fn sign(
    secret: &str,
    at_unix_s: u64,
    id: &str,
    body: &[u8],
) -> Result<Vec<(String, String)>, String> {
    let config = HmacConfig::weir(Vec::new());
    let template = Template::parse(&config.signed)?;
    let keyed = Keyed::new(config.algorithm, secret.as_bytes()).ok_or("no key")?;
    let timestamp = at_unix_s.to_string();
    let values = Values {
        timestamp: timestamp.as_bytes(),
        id: id.as_bytes(),
        body,
        ..Values::default()
    };
    if template.blurred(&values).is_some() {
        return Err(format!("the id {id:?} must not contain \".\""));
    }
    let tag = keyed.tag(&template, &values);
    let signature = format!(
        "{}{}",
        config.prefix,
        base16ct::lower::encode_string(tag.as_bytes())
    );
    Ok(vec![
        (config.timestamp_header, timestamp),
        (config.id_header, id.to_owned()),
        (config.signature_header, signature),
    ])
}

fn callers(config: &HmacConfig, memory: &Memory) -> Result<Vec<Caller>, String> {
    let clients = &config.clients;
    if clients.is_empty() {
        return Err("hmac has no clients; give secrets or clients".to_owned());
    }
    let mut callers = Vec::with_capacity(clients.len());
    for client in clients {
        let mut keys = Vec::new();
        let mut identity = usize::MAX;
        for (place, secret) in usable(&client.secrets, &format!("client {:?}", client.name))? {
            let key = key_bytes(secret, config.key_encoding);
            let key = key.ok_or_else(|| undecodable(place, client))?;
            identity = memory.identity(NAME, &key);
            let keyed = Keyed::new(config.algorithm, &key);
            keys.push((place, keyed.ok_or_else(|| undecodable(place, client))?));
        }
        callers.push(Caller {
            name: client.name.clone(),
            identity,
            keys,
        });
    }
    Ok(callers)
}

fn undecodable(place: usize, client: &Client) -> String {
    format!(
        "secret {place} of client {:?} is not in the key_encoding of this entry",
        client.name
    )
}

/// Whether a signature covers the body.
pub(super) fn signs_body(config: &HmacConfig) -> bool {
    Template::parse(&config.signed).is_ok_and(|template| template.names(Part::Body))
}

fn header(setting: &str, name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{setting}: {name:?} is no name of a header"))
}

#[cfg(test)]
mod tests;
