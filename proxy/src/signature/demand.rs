//! What a route's schemes ask of a request, compared with what those of another route ask.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{Config, Encoding, HmacConfig, SchemeConfig, bearer, hmac};

impl Config {
    /// Whether `ours`, the schemes of one route, ask for more than `theirs`: a signature where there
    /// need be none; one over the body where a key alone will do; else a key of `ours` where one of
    /// theirs would not do, or the same one fresher or for longer remembered. Whoever sends a request
    /// chooses among the schemes of a route, so it is the weakest of them that counts.
    #[must_use]
    pub fn is_stricter(ours: &[Config], theirs: &[Config]) -> bool {
        if ours.is_empty() || theirs.is_empty() {
            return theirs.is_empty() && !ours.is_empty();
        }
        let (our_weakest, their_weakest) = (weakest(ours), weakest(theirs));
        if our_weakest != their_weakest {
            return our_weakest > their_weakest;
        }
        let is_taken = |config: &Config| ours.iter().any(|our| our.takes_all_of(config));
        !theirs.iter().all(is_taken)
    }

    /// What clients prove to have, one list a client; where a scheme has no named clients, one list.
    /// Empty secrets, and those that cannot be read, are left out: nobody can sign with them.
    pub(super) fn keys(&self) -> Vec<Vec<Vec<u8>>> {
        let raw = |secrets: &[String]| -> Vec<Vec<u8>> {
            let secrets = secrets.iter().filter(|secret| !secret.is_empty());
            secrets.map(|secret| secret.clone().into_bytes()).collect()
        };
        match &self.scheme {
            SchemeConfig::Hmac(HmacConfig {
                clients,
                key_encoding,
                ..
            }) => {
                let read = |secret: &String| key_bytes(secret, *key_encoding);
                clients
                    .iter()
                    .map(|client| client.secrets.iter().filter_map(read).collect())
                    .collect()
            }
            SchemeConfig::Bearer { clients } => clients
                .iter()
                .map(|client| {
                    let secrets = client.secrets.iter().filter(|secret| !secret.is_empty());
                    secrets.map(|secret| digest(secret)).collect()
                })
                .collect(),
            SchemeConfig::Feishu {
                encrypt_keys,
                verification_token,
            } if encrypt_keys.is_empty() => {
                vec![raw(verification_token.as_slice())]
            }
            SchemeConfig::Feishu {
                encrypt_keys: secrets,
                ..
            }
            | SchemeConfig::SimpleSha256 { secrets } => vec![raw(secrets)],
        }
    }

    /// Whether every request that `other` admits is one that this admits.
    fn takes_all_of(&self, other: &Config) -> bool {
        let keys = self.keys().concat();
        self.scheme.is_made_like(&other.scheme)
            && self.tolerance >= other.tolerance
            && self.replay <= other.replay
            && other.keys().concat().iter().all(|key| keys.contains(key))
    }

    fn covers_body(&self) -> bool {
        match &self.scheme {
            SchemeConfig::Hmac(config) => hmac::signs_body(config),
            // Without an encrypt key a token in the body is all there is.
            SchemeConfig::Feishu { encrypt_keys, .. } => !encrypt_keys.is_empty(),
            SchemeConfig::Bearer { .. } | SchemeConfig::SimpleSha256 { .. } => false,
        }
    }
}

impl SchemeConfig {
    /// The same scheme with the same settings, whatever its keys.
    fn is_made_like(&self, other: &SchemeConfig) -> bool {
        match (self, other) {
            (SchemeConfig::Hmac(ours), SchemeConfig::Hmac(theirs)) => {
                let without_clients = |config: &HmacConfig| HmacConfig {
                    clients: Vec::new(),
                    ..config.clone()
                };
                without_clients(ours) == without_clients(theirs)
            }
            (SchemeConfig::Bearer { .. }, SchemeConfig::Bearer { .. })
            | (SchemeConfig::SimpleSha256 { .. }, SchemeConfig::SimpleSha256 { .. }) => true,
            (
                SchemeConfig::Feishu {
                    encrypt_keys: ours,
                    verification_token: our_token,
                },
                SchemeConfig::Feishu {
                    encrypt_keys: theirs,
                    verification_token: their_token,
                },
            ) => ours.is_empty() == theirs.is_empty() && our_token == their_token,
            _ => false,
        }
    }
}

/// What the weakest scheme of a list asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    /// Whoever sees one request can send another.
    KeyAlone,
    OverBody,
}

fn weakest(schemes: &[Config]) -> Proof {
    if schemes.iter().all(Config::covers_body) {
        Proof::OverBody
    } else {
        Proof::KeyAlone
    }
}

/// The bytes of an HMAC's key; `None` where it is empty or not in its encoding.
pub(super) fn key_bytes(secret: &str, encoding: Encoding) -> Option<Vec<u8>> {
    let bytes = match encoding {
        Encoding::Raw => Some(secret.as_bytes().to_vec()),
        Encoding::Hex => base16ct::mixed::decode_vec(secret).ok(),
        Encoding::Base64 => STANDARD.decode(secret).ok(),
    };
    bytes.filter(|bytes| !bytes.is_empty())
}

/// An API key may be stored as it is or as its hash.
fn digest(secret: &str) -> Vec<u8> {
    match bearer::stored_key(secret) {
        Some(digest) => digest.to_vec(),
        None => Sha256::digest(secret).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::signature::Client;

    fn clients(secrets: &[&str]) -> Vec<Client> {
        let client = |secret: &&str| Client {
            name: Arc::from(*secret),
            secrets: vec![(*secret).to_owned()],
        };
        secrets.iter().map(client).collect()
    }

    fn config(scheme: SchemeConfig) -> Config {
        Config {
            scheme,
            tolerance: Duration::from_secs(300),
            replay: Duration::from_secs(600),
        }
    }

    fn hmac(secrets: &[&str]) -> Config {
        config(SchemeConfig::Hmac(HmacConfig::weir(clients(secrets))))
    }

    fn bearer(secrets: &[&str]) -> Config {
        config(SchemeConfig::Bearer {
            clients: clients(secrets),
        })
    }

    fn is_stricter(ours: &[Config], theirs: &[Config]) -> bool {
        Config::is_stricter(ours, theirs)
    }

    #[test]
    fn a_signature_is_more_than_none_and_one_over_the_body_more_than_a_key() {
        let bodiless = config(SchemeConfig::Hmac(HmacConfig {
            signed: "{timestamp}.{id}".to_owned(),
            ..HmacConfig::weir(clients(&["a"]))
        }));
        let token = config(SchemeConfig::Feishu {
            encrypt_keys: Vec::new(),
            verification_token: Some("t".to_owned()),
        });
        let rising = [
            vec![vec![]],
            vec![
                vec![bearer(&["a"])],
                vec![hmac(&["a"]), bearer(&["a"])],
                vec![bodiless],
                vec![token],
            ],
            vec![vec![hmac(&["a"])], vec![hmac(&["b", "c"])]],
        ];
        for (low, weaker) in rising.iter().enumerate() {
            for stronger in rising[low + 1..].iter().flatten() {
                for weaker in weaker {
                    assert!(is_stricter(stronger, weaker), "{stronger:?} {weaker:?}");
                    assert!(!is_stricter(weaker, stronger), "{weaker:?} {stronger:?}");
                }
            }
        }
        assert!(!is_stricter(&[], &[]));
    }

    #[test]
    fn of_two_alike_the_one_that_does_not_take_the_others_key_is_stricter() {
        let (few, more) = ([hmac(&["a"])], [hmac(&["a", "b"])]);
        assert!(is_stricter(&few, &more) && !is_stricter(&more, &few));
        let (one, other) = ([hmac(&["a"])], [hmac(&["b"])]);
        assert!(is_stricter(&one, &other) && is_stricter(&other, &one));
        assert!(!is_stricter(&one, &one));
        let forgetful = [Config {
            replay: Duration::ZERO,
            ..hmac(&["a"])
        }];
        assert!(is_stricter(&one, &forgetful) && !is_stricter(&forgetful, &one));
        let patient = [Config {
            tolerance: Duration::from_secs(900),
            ..hmac(&["a"])
        }];
        assert!(is_stricter(&one, &patient) && !is_stricter(&patient, &one));
        let sha512 = [config(SchemeConfig::Hmac(HmacConfig {
            algorithm: crate::signature::HmacAlgorithm::Sha512,
            ..HmacConfig::weir(clients(&["a"]))
        }))];
        assert!(is_stricter(&one, &sha512) && is_stricter(&sha512, &one));
    }

    #[test]
    fn a_key_and_its_stored_hash_are_one() {
        let stored = "sha256:18baa037e0628f8c0919afb914c9c771ee1718e22e9824d9102d4d4404a1d1c1";
        assert_eq!(bearer(&["sk-weir-1"]).keys(), bearer(&[stored]).keys());
        let hex = config(SchemeConfig::Hmac(HmacConfig {
            key_encoding: Encoding::Hex,
            ..HmacConfig::weir(clients(&["6162", "", "zz"]))
        }));
        assert_eq!(hex.keys(), [vec![b"ab".to_vec()], vec![], vec![]]);
    }
}
