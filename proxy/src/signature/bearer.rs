//! `bearer`: API keys in `Authorization: Bearer`, as OpenAI's clients send them (RFC 6750, section 2.1),
//! in `x-api-key`, as Anthropic's do, or in `api-key`, as Azure's do. All three stay at the door.
//!
//! A client that sends several is let in by any of them: some libraries always write an
//! `Authorization`, whatever else they are given.
//!
//! It covers no body and has no time, so there is nothing to replay: whoever holds a key may use
//! it. A key may be configured as `sha256:HEX`, so that the file need not hold the key itself.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::headers;
use super::scheme::{Accepted, Rejection, Scheme, Sealed, SignedBy, usable};
use super::{Client, Request};

pub(super) const NAME: &str = "bearer";

/// Before the hex of a stored key's SHA-256.
const STORED_PREFIX: &str = "sha256:";

const AUTHENTICATION_SCHEME: &[u8] = b"bearer ";

/// Where keys are looked for, in this order.
static CARRIERS: [HeaderName; 3] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
];

pub(super) struct Bearer {
    keys: Vec<StoredKey>,
}

struct StoredKey {
    client: Arc<str>,
    place: usize,
    sealed: Sealed,
}

impl Bearer {
    pub(super) fn new(clients: &[Client]) -> Result<Self, String> {
        let mut keys = Vec::new();
        for client in clients {
            for (place, secret) in usable(&client.secrets, &format!("client {:?}", client.name))? {
                let sealed = match secret.strip_prefix(STORED_PREFIX) {
                    None => Sealed::new(secret.as_bytes()),
                    Some(text) => Sealed::from_digest(stored_digest(text).ok_or_else(|| {
                        format!(
                            "secret {place} of client {:?} begins with sha256: but is not \
                             followed by 64 hex digits",
                            client.name
                        )
                    })?),
                };
                keys.push(StoredKey {
                    client: client.name.clone(),
                    place,
                    sealed,
                });
            }
        }
        if keys.is_empty() {
            return Err("bearer has no clients; give secrets or clients".to_owned());
        }
        Ok(Bearer { keys })
    }
}

impl Scheme for Bearer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_addressed(&self, headers: &HeaderMap) -> bool {
        CARRIERS.iter().any(|name| headers.contains_key(name))
    }

    fn wanted(&self) -> &str {
        "authorization: Bearer KEY, x-api-key: KEY or api-key: KEY"
    }

    fn covers_body(&self) -> bool {
        false
    }

    fn withheld_headers(&self) -> &[HeaderName] {
        &CARRIERS
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Bearer")
    }

    fn invalid_title(&self) -> Option<&'static str> {
        Some("Invalid API key")
    }

    fn check(&self, request: &Request<'_>, _now: Duration) -> Result<Accepted, Rejection> {
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
                            key: Some(key.place),
                        };
                        return Ok(Accepted::Valid { by, delivery: None });
                    }
                    None => was_key = true,
                },
                Err(rejection) => flaw = flaw.or(Some(rejection)),
            }
        }
        let unknown = || Rejection::invalid("no client of this route has this API key");
        Err(flaw.filter(|_| !was_key).unwrap_or_else(unknown))
    }
}

impl Bearer {
    /// Whose key it is. All are compared, each in constant time.
    fn holder(&self, presented: &[u8]) -> Option<&StoredKey> {
        let presented = Sealed::new(presented);
        let mut matched = None;
        for key in &self.keys {
            if key.sealed.matches(&presented) && matched.is_none() {
                matched = Some(key);
            }
        }
        matched
    }
}

/// The key that a header carries.
fn presented<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], Rejection> {
    let value = headers::single(headers, name)?;
    if *name == AUTHORIZATION {
        return token(value)
            .ok_or_else(|| Rejection::invalid("authorization is not of the form `Bearer KEY`"));
    }
    let key = value.trim_ascii();
    if key.is_empty() {
        return Err(Rejection::invalid(format!("{name} is empty")));
    }
    Ok(key)
}

/// What a client sends.
pub(super) fn sign(secret: &str) -> Result<Vec<(String, String)>, String> {
    if secret.starts_with(STORED_PREFIX) {
        return Err("sha256:HEX is how a key is stored; sign with the key itself".to_owned());
    }
    Ok(vec![(
        "Authorization".to_owned(),
        format!("Bearer {secret}"),
    )])
}

fn token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(AUTHENTICATION_SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(AUTHENTICATION_SCHEME) {
        return None;
    }
    let token = rest.trim_ascii();
    (!token.is_empty()).then_some(token)
}

/// The SHA-256 that a configured key is stored as, where it is.
pub(super) fn stored_key(secret: &str) -> Option<[u8; 32]> {
    stored_digest(secret.strip_prefix(STORED_PREFIX)?)
}

fn stored_digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let decoded = base16ct::mixed::decode(text, &mut digest).ok()?;
    // A shorter text is no digest.
    (decoded.len() == 32).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    // echo -n sk-weir-1 | sha256sum
    const STORED: &str = "sha256:18baa037e0628f8c0919afb914c9c771ee1718e22e9824d9102d4d4404a1d1c1";

    fn client(name: &str, secrets: &[&str]) -> Client {
        Client {
            name: Arc::from(name),
            secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect(),
        }
    }

    fn check(bearer: &Bearer, value: &[u8]) -> Result<(String, Option<usize>), String> {
        check_all(bearer, &[("authorization", value)])
    }

    fn check_all(
        bearer: &Bearer,
        lines: &[(&'static str, &[u8])],
    ) -> Result<(String, Option<usize>), String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value).expect("a header value");
            headers.append(*name, value);
        }
        assert!(bearer.is_addressed(&headers));
        let request = Request {
            method: &Method::POST,
            path: "/v1/chat/completions",
            query: "",
            headers: &headers,
            body: b"",
        };
        match bearer.check(&request, Duration::ZERO) {
            Ok(Accepted::Valid { by, .. }) => Ok((by.client.to_string(), by.key)),
            Ok(other) => panic!("{other:?}"),
            Err(rejection) => Err(rejection.detail.into_owned()),
        }
    }

    #[test]
    fn a_key_names_its_client_also_when_only_its_hash_is_stored() {
        let clients = [
            client("web", &["sk-other", "sk-\u{00fc}"]),
            client("demo", &["", &STORED.to_uppercase().replace("SHA", "sha")]),
        ];
        let bearer = Bearer::new(&clients).expect("right settings");
        let is = |client: &str, key| Ok((client.to_owned(), Some(key)));
        assert_eq!(check(&bearer, b"Bearer sk-weir-1"), is("demo", 1));
        assert_eq!(check(&bearer, b"bearer  sk-other "), is("web", 0));
        assert_eq!(
            check(&bearer, "Bearer sk-\u{00fc}".as_bytes()),
            is("web", 1)
        );
        let stored = format!("Bearer {STORED}");
        for value in [
            "Basic c2std2Vpci0x",
            "Bearer",
            "Bearer ",
            "Bearersk-weir-1",
            "Bearer sk-weir-",
            "Bearer sk-weir-11",
            "Bearer sk-weir-1, Bearer sk-weir-1",
            "sk-weir-1",
            stored.as_str(),
        ] {
            assert!(check(&bearer, value.as_bytes()).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_key_may_come_in_any_of_three_headers() {
        let bearer = Bearer::new(&[client("web", &["k1"]), client("bot", &["k2"])]);
        let bearer = bearer.expect("valid settings");
        let is = |client: &str| Ok((client.to_owned(), Some(0)));
        let unknown = Err("no client of this route has this API key".to_owned());
        for (lines, expected) in [
            (&[("x-api-key", &b"k1"[..])][..], is("web")),
            (&[("api-key", b" k2 ")], is("bot")),
            (&[("x-api-key", b"Bearer k1")], unknown.clone()),
            (&[("api-key", b"k3")], unknown.clone()),
            // The first that is somebody's decides.
            (
                &[("authorization", b"Bearer k1"), ("x-api-key", b"k2")],
                is("web"),
            ),
            (
                &[("authorization", b"Bearer dummy"), ("x-api-key", b"k2")],
                is("bot"),
            ),
            (
                &[("authorization", b"Basic YTpi"), ("api-key", b"k1")],
                is("web"),
            ),
            (
                &[("authorization", b"Basic YTpi"), ("api-key", b"k3")],
                unknown,
            ),
            (
                &[("x-api-key", b"k1"), ("x-api-key", b"k1")],
                Err("x-api-key has more than one value; send one".to_owned()),
            ),
            (&[("x-api-key", b" ")], Err("x-api-key is empty".to_owned())),
        ] {
            assert_eq!(check_all(&bearer, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn settings_that_would_let_anybody_in_are_refused() {
        for clients in [
            vec![],
            vec![client("web", &[])],
            vec![client("web", &["", ""])],
            vec![client("web", &["sha256:abcd"])],
        ] {
            assert!(Bearer::new(&clients).is_err());
        }
        assert!(sign(STORED).is_err());
    }
}
