//! `bearer`: API keys in `Authorization`, as every OpenAI client sends them (RFC 6750, 2.1).
//!
//! It covers no body and has no time, so there is nothing to replay: whoever holds a key may use
//! it. A key may be configured as `sha256:HEX`, so that the file need not hold the key itself.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::headers;
use super::scheme::{Accepted, Rejection, Scheme, Sealed, SignedBy, usable};
use super::{Client, Request};

pub(super) const NAME: &str = "bearer";

/// Before the hex of a stored key's SHA-256.
const STORED_PREFIX: &str = "sha256:";

const AUTHENTICATION_SCHEME: &[u8] = b"bearer ";

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
        headers.contains_key(AUTHORIZATION)
    }

    fn wanted(&self) -> &str {
        "authorization: Bearer KEY"
    }

    fn covers_body(&self) -> bool {
        false
    }

    fn withheld_headers(&self) -> &[HeaderName] {
        &[AUTHORIZATION]
    }

    fn check(&self, request: &Request<'_>, _now: Duration) -> Result<Accepted, Rejection> {
        let value = headers::single(request.headers, &AUTHORIZATION)?;
        let presented = token(value)
            .ok_or_else(|| Rejection::invalid("authorization is not of the form `Bearer KEY`"))?;
        let presented = Sealed::new(presented);
        let mut matched = None;
        for key in &self.keys {
            if key.sealed.matches(&presented) && matched.is_none() {
                matched = Some(key);
            }
        }
        let key = matched.ok_or_else(|| Rejection::invalid("no client has this API key"))?;
        Ok(Accepted::Valid {
            by: SignedBy {
                client: key.client.clone(),
                key: Some(key.place),
            },
            delivery: None,
        })
    }
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

fn stored_digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let decoded = base16ct::mixed::decode(text, &mut digest).ok()?;
    // A shorter text is no digest.
    (decoded.len() == 32).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Method};

    // echo -n sk-weir-1 | sha256sum
    const STORED: &str = "sha256:18baa037e0628f8c0919afb914c9c771ee1718e22e9824d9102d4d4404a1d1c1";

    fn client(name: &str, secrets: &[&str]) -> Client {
        Client {
            name: Arc::from(name),
            secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect(),
        }
    }

    fn check(bearer: &Bearer, value: &[u8]) -> Result<(String, Option<usize>), String> {
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            HeaderValue::from_bytes(value).expect("a header value"),
        );
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
