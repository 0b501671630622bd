//! Plays a client of a configured scheme: what to sign with, out of a route's own configuration, and what
//! such a client has to know of its scheme. The load tester asks with it.
//!
//! What is said here of a scheme is held against the scheme's own gate by the tests below.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{Config, HmacConfig, SchemeConfig, bearer, feishu, hmac, sign, simple_sha256};

/// One way to be let in.
#[derive(Clone)]
pub struct Signer {
    scheme: &'static str,
    client: Option<Arc<str>>,
    credential: Credential,
    /// How old a request may be; `None`: its age is not looked at.
    pub age_max: Option<Duration>,
    /// What becomes of a request that comes a second time.
    pub again: Again,
    /// What makes two requests with the same body two.
    pub distinct: Distinct,
}

#[derive(Clone)]
enum Credential {
    /// Signs the headers.
    Secret(String),
    /// Stands in the body, where a platform was given no key.
    Token(String),
}

/// What becomes of a request that was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    LetIn,
    /// 401.
    Refused,
    /// As if it had been taken, since platforms send again what they think was lost.
    Answered,
}

/// What makes a signature good for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinct {
    Always,
    /// It covers nothing but a time in whole seconds: one request a second.
    BySecond,
}

impl Signer {
    /// All ways in that one entry of `signature` has.
    ///
    /// # Errors
    /// Why a client of it cannot be played.
    pub fn of(config: &Config) -> Result<Vec<Signer>, String> {
        let signer = |scheme, client: Option<&Arc<str>>, credential| Signer {
            scheme,
            client: client.cloned(),
            credential,
            age_max: Some(config.tolerance),
            again: Again::LetIn,
            distinct: Distinct::Always,
        };
        let secret = |secret: &String| Credential::Secret(secret.clone());
        let again = |again| match config.replay.is_zero() {
            true => Again::LetIn,
            false => again,
        };
        Ok(match &config.scheme {
            SchemeConfig::Hmac(own) if !is_weirs_own(own) => {
                return Err("its hmac has parts of its own, which weir does not sign".to_owned());
            }
            SchemeConfig::Hmac(HmacConfig { clients, .. }) => {
                let clients = clients.iter().filter_map(|client| {
                    let credential = secret(client.secrets.first()?);
                    Some(Signer {
                        again: again(Again::Refused),
                        ..signer(hmac::NAME, Some(&client.name), credential)
                    })
                });
                clients.collect()
            }
            SchemeConfig::Bearer { clients } => {
                let clients = clients.iter().filter_map(|client| {
                    // A hash of a key is no key.
                    let mut keys = client.secrets.iter();
                    let key = keys.find(|key| !key.starts_with("sha256:"))?;
                    Some(Signer {
                        age_max: None,
                        ..signer(bearer::NAME, Some(&client.name), secret(key))
                    })
                });
                clients.collect()
            }
            SchemeConfig::Feishu {
                encrypt_keys,
                verification_token,
            } => {
                let token = verification_token.clone().map(Credential::Token);
                let key = encrypt_keys.first().map(secret);
                let age_max = key.is_some().then_some(config.tolerance);
                let credential = key.or(token).into_iter();
                let signers = credential.map(|credential| Signer {
                    age_max,
                    again: again(Again::Answered),
                    ..signer(feishu::NAME, None, credential)
                });
                signers.collect()
            }
            SchemeConfig::SimpleSha256 { secrets } => {
                let signers = secrets.first().map(|key| Signer {
                    again: again(Again::Refused),
                    distinct: match config.replay.is_zero() {
                        true => Distinct::Always,
                        false => Distinct::BySecond,
                    },
                    ..signer(simple_sha256::NAME, None, secret(key))
                });
                signers.into_iter().collect()
            }
        })
    }

    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// The client's name, where the scheme has names.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// The headers of a request with `body`; `id` is its own, of visible ASCII.
    ///
    /// # Errors
    /// What cannot be signed with.
    pub fn headers(
        &self,
        at_unix_s: u64,
        id: &str,
        body: &[u8],
    ) -> Result<Vec<(String, String)>, String> {
        let Credential::Secret(secret) = &self.credential else {
            return Ok(Vec::new());
        };
        let mut headers = sign::sign(self.scheme, secret, at_unix_s, id, body)?;
        if let (Some(client), hmac::NAME) = (&self.client, self.scheme) {
            headers.push(("X-Weir-Key".to_owned(), client.to_string()));
        }
        Ok(headers)
    }

    /// The body in which a platform delivers a message, with an `id` of its own; `None` where the client
    /// of the scheme chooses its bodies itself.
    #[must_use]
    pub fn delivery(&self, text: &str, id: &str) -> Option<Vec<u8>> {
        if self.scheme != feishu::NAME {
            return None;
        }
        let token = match &self.credential {
            Credential::Token(token) => token.as_str(),
            Credential::Secret(_) => "",
        };
        let event = json!({
            "schema": "2.0",
            "header": {"event_id": id, "event_type": "im.message.receive_v1", "token": token},
            "event": {"message": {"content": json!({"text": text}).to_string()}},
        });
        Some(event.to_string().into_bytes())
    }

    /// The same client with a credential that is not the right one.
    #[must_use]
    pub fn forger(&self) -> Self {
        let wrong = |text: &str| format!("{text}0");
        Signer {
            credential: match &self.credential {
                Credential::Secret(secret) => Credential::Secret(wrong(secret)),
                Credential::Token(token) => Credential::Token(wrong(token)),
            },
            ..self.clone()
        }
    }
}

// A secret never reaches a log.
impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Signer")
            .field("scheme", &self.scheme)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

fn is_weirs_own(hmac: &HmacConfig) -> bool {
    let own = HmacConfig::weir(Vec::new());
    own.timestamp_header
        .eq_ignore_ascii_case(&hmac.timestamp_header)
        && own.id_header.eq_ignore_ascii_case(&hmac.id_header)
        && own
            .signature_header
            .eq_ignore_ascii_case(&hmac.signature_header)
        && (&own.prefix, &own.signed) == (&hmac.prefix, &hmac.signed)
        && own.algorithm == hmac.algorithm
        && own.key_encoding == hmac.key_encoding
        && own.signature_encoding == hmac.signature_encoding
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::super::{Client, Gate, Request};
    use super::*;
    use crate::exchange::SignatureOutcome;

    const NOW_S: u64 = 1_800_000_000;

    fn configured(scheme: SchemeConfig) -> Config {
        Config {
            scheme,
            tolerance: Duration::from_secs(300),
            replay: Duration::from_secs(600),
        }
    }

    /// One of each scheme of this version, and of each way that it can be used.
    fn all() -> Vec<Config> {
        let clients = || {
            vec![Client {
                name: "web".into(),
                secrets: vec!["s3cret".to_owned()],
            }]
        };
        let feishu = |keys: &[&str], token: Option<&str>| SchemeConfig::Feishu {
            encrypt_keys: keys.iter().map(|&key| key.to_owned()).collect(),
            verification_token: token.map(str::to_owned),
        };
        let schemes = [
            SchemeConfig::Hmac(HmacConfig::weir(clients())),
            SchemeConfig::Bearer { clients: clients() },
            feishu(&["key"], None),
            feishu(&[], Some("token")),
            SchemeConfig::SimpleSha256 {
                secrets: vec!["s3cret".to_owned()],
            },
        ];
        schemes.into_iter().map(configured).collect()
    }

    struct Asked {
        headers: HeaderMap,
        body: Vec<u8>,
    }

    fn asked(signer: &Signer, at_unix_s: u64, id: &str) -> Asked {
        let body = signer.delivery("hello", id);
        let body = body.unwrap_or_else(|| b"{}".to_vec());
        let mut headers = HeaderMap::new();
        for (name, value) in signer.headers(at_unix_s, id, &body).expect("headers") {
            headers.append(
                HeaderName::try_from(name).expect("a name"),
                HeaderValue::try_from(value).expect("a value"),
            );
        }
        Asked { headers, body }
    }

    fn outcome(gate: &Gate, asked: &Asked) -> SignatureOutcome {
        let request = Request {
            method: &Method::POST,
            path: "/",
            query: "",
            headers: &asked.headers,
            body: &asked.body,
        };
        let now = Duration::from_secs(NOW_S);
        let verdict = gate.check(&request, now);
        if let Some(delivery) = verdict.delivery {
            delivery.taken(now);
        }
        verdict.outcome
    }

    #[test]
    fn what_is_said_of_a_scheme_is_what_its_gate_does() {
        let mut schemes = Vec::new();
        for config in all() {
            let signers = Signer::of(&config).expect("it can be played");
            let signer = signers.first().expect("one");
            schemes.push(signer.scheme());
            let gate =
                || Gate::new(std::slice::from_ref(&config), &"route".into()).expect("a gate");
            let fresh = asked(signer, NOW_S, "id-1");
            let first = gate();
            assert_eq!(
                outcome(&first, &fresh),
                SignatureOutcome::Valid,
                "{signer:?}"
            );
            let again = match outcome(&first, &fresh) {
                SignatureOutcome::Valid => Again::LetIn,
                SignatureOutcome::Replayed => Again::Refused,
                SignatureOutcome::Duplicate => Again::Answered,
                other => panic!("{signer:?}: {other:?}"),
            };
            assert_eq!(again, signer.again, "{signer:?}");
            let other = outcome(&first, &asked(signer, NOW_S, "id-2"));
            let distinct = match other {
                SignatureOutcome::Valid => Distinct::Always,
                _ => Distinct::BySecond,
            };
            assert_eq!(distinct, signer.distinct, "{signer:?}");
            let old = signer.age_max.map_or(86_400 * 30, |age| age.as_secs() + 1);
            let stale = outcome(&gate(), &asked(signer, NOW_S - old, "id-1"));
            let is_dated = stale == SignatureOutcome::Expired;
            assert_eq!(is_dated, signer.age_max.is_some(), "{signer:?}: {stale:?}");
            let forged = outcome(&gate(), &asked(&signer.forger(), NOW_S, "id-1"));
            assert_eq!(forged, SignatureOutcome::Invalid, "{signer:?}");
        }
        schemes.dedup();
        assert_eq!(
            schemes,
            sign::SCHEMES,
            "every scheme that is signed is played"
        );
    }

    #[test]
    fn who_cannot_be_played_is_told() {
        let mut own = HmacConfig::weir(Vec::new());
        own.prefix = "v2=".to_owned();
        let why = Signer::of(&configured(SchemeConfig::Hmac(own))).expect_err("parts of its own");
        assert!(why.contains("parts of its own"), "{why}");
        let hashed = SchemeConfig::Bearer {
            clients: vec![Client {
                name: "web".into(),
                secrets: vec!["sha256:00".to_owned()],
            }],
        };
        assert!(Signer::of(&configured(hashed)).expect("none").is_empty());
    }

    #[test]
    fn a_secret_is_in_no_log() {
        for config in all() {
            let told = format!("{:?}", Signer::of(&config));
            assert!(
                !told.contains("s3cret") && !told.contains("token"),
                "{told}"
            );
        }
    }
}
