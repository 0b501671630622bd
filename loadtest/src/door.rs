//! The doors of a target: its routes, and what opens them, out of its own configuration.

use std::sync::Arc;

use http::Method;
use weir::config::Config;
use weir::route::PathPattern;
use weir::signature::{HmacConfig, SchemeConfig, sign};
use weir::{clock, config};

/// Where the OpenAI chat format is asked for.
const CHAT_PATH: &str = "/v1/chat/completions";

/// A route, and each way to be let in there that weir can sign for.
#[derive(Clone, Debug)]
pub struct Door {
    pub route: Arc<str>,
    pub platform: Arc<str>,
    pub method: Method,
    pub path: String,
    /// Empty where nobody has to sign.
    pub signers: Vec<Signer>,
    /// Of a body.
    pub body_bytes_max: u64,
    pub is_limited: bool,
}

/// One way to sign.
#[derive(Clone)]
pub struct Signer {
    pub scheme: &'static str,
    /// The client's name, where the scheme has names.
    pub client: Option<Arc<str>>,
    secret: String,
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

impl Signer {
    /// The headers of a request with `body`, signed so many seconds ago.
    ///
    /// # Errors
    /// A secret that cannot be signed with.
    pub fn headers(
        &self,
        body: &[u8],
        id: &str,
        ago_s: u64,
    ) -> Result<Vec<(String, String)>, String> {
        let at = clock::unix_now().as_secs().saturating_sub(ago_s);
        let mut headers = sign::sign(self.scheme, &self.secret, at, id, body)?;
        if let (Some(client), "hmac") = (&self.client, self.scheme) {
            headers.push(("X-Weir-Key".to_owned(), client.to_string()));
        }
        Ok(headers)
    }

    /// Whether a request is refused that was sent before.
    #[must_use]
    pub fn has_replay_protection(&self) -> bool {
        self.scheme == "hmac"
    }

    /// Whether a request is refused that was signed long ago.
    #[must_use]
    pub fn has_time(&self) -> bool {
        self.scheme != "bearer"
    }
}

/// The doors of a target without a configuration: the chat, for everybody.
#[must_use]
pub fn open() -> Vec<Door> {
    vec![Door {
        route: "chat".into(),
        platform: "api".into(),
        method: Method::POST,
        path: CHAT_PATH.to_owned(),
        signers: Vec::new(),
        body_bytes_max: u64::MAX,
        is_limited: false,
    }]
}

/// The doors that a target's configuration has, in its order; and what of it cannot be knocked at.
///
/// # Errors
/// A configuration with a mistake.
pub fn of_file(path: &std::path::Path) -> anyhow::Result<(Vec<Door>, Vec<String>)> {
    let loaded = config::load(path).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    let (doors, left_out) = of(&loaded.config);
    anyhow::ensure!(
        !doors.is_empty(),
        "no route of {} takes a POST that weir can sign for",
        path.display()
    );
    Ok((doors, left_out))
}

fn of(config: &Config) -> (Vec<Door>, Vec<String>) {
    let mut left_out = Vec::new();
    let mut doors = Vec::new();
    for route in &config.routes {
        if !route.methods.is_empty() && !route.methods.contains(&Method::POST) {
            continue;
        }
        let signers = signers(route, &mut left_out);
        if signers.is_empty() && !route.signature.is_empty() {
            continue;
        }
        doors.push(Door {
            route: route.name.clone(),
            platform: route.platform.clone(),
            method: Method::POST,
            path: path(&route.path),
            signers,
            body_bytes_max: route.body_bytes,
            is_limited: !route.rate_limits.is_empty(),
        });
    }
    (doors, left_out)
}

fn path(pattern: &PathPattern) -> String {
    match pattern {
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Prefix(prefix) if CHAT_PATH.starts_with(prefix.as_str()) => {
            CHAT_PATH.to_owned()
        }
        PathPattern::Prefix(prefix) => format!("{prefix}x"),
    }
}

fn signers(route: &weir::route::Config, left_out: &mut Vec<String>) -> Vec<Signer> {
    let mut signers = Vec::new();
    for config in &route.signature {
        match &config.scheme {
            SchemeConfig::Hmac(hmac) if is_weirs_own(hmac) => {
                let named = hmac.clients.iter().filter_map(|client| {
                    Some(Signer {
                        scheme: "hmac",
                        client: Some(client.name.clone()),
                        secret: client.secrets.first()?.clone(),
                    })
                });
                signers.extend(named);
            }
            SchemeConfig::Bearer { clients } => {
                // A hash of a key is no key.
                let named = clients.iter().filter_map(|client| {
                    let mut secrets = client.secrets.iter();
                    Some(Signer {
                        scheme: "bearer",
                        client: Some(client.name.clone()),
                        secret: secrets.find(|key| !key.starts_with("sha256:"))?.clone(),
                    })
                });
                signers.extend(named);
            }
            SchemeConfig::Feishu { encrypt_keys, .. } => {
                signers.extend(encrypt_keys.first().map(|key| unnamed("feishu", key)));
            }
            SchemeConfig::SimpleSha256 { secrets } => {
                signers.extend(secrets.first().map(|key| unnamed("simple_sha256", key)));
            }
            SchemeConfig::Hmac(_) => left_out.push(format!(
                "route {}: its hmac has parts of its own, which weir does not sign",
                route.name
            )),
        }
    }
    signers
}

fn unnamed(scheme: &'static str, secret: &str) -> Signer {
    Signer {
        scheme,
        client: None,
        secret: secret.to_owned(),
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
    use std::path::Path;

    use super::*;

    fn doors(routes: &str) -> (Vec<Door>, Vec<String>) {
        let text = format!(
            "backends: [{{name: a, endpoints: ['http://127.0.0.1:1']}}]\nroutes:\n{routes}"
        );
        let loaded = config::parse(&text, Path::new("weir.yaml"), &|_| None);
        of(&loaded.expect("a configuration").config)
    }

    #[test]
    fn every_scheme_that_weir_signs_is_a_way_in() {
        let (doors, left_out) = doors(
            "  - {name: chat, path: /v1/*, backend: a, signature: [{scheme: hmac, clients: [{name: w, secrets: [s3]}]}, {scheme: bearer, clients: [{name: b, secrets: [k]}]}], rate_limits: [{name: l, rate: 1/s, by: client}]}
  - {name: bot, path: /hooks/feishu, backend: a, signature: {scheme: feishu, secrets: [e]}}
  - {name: get, path: /get, methods: [GET], backend: a}
  - {name: odd, path: /odd, backend: a, signature: {scheme: hmac, secrets: [x], prefix: 'v2='}}
  - {name: rest, path: /*, backend: a}
",
        );
        let found: Vec<_> = doors
            .iter()
            .map(|door| {
                (
                    &*door.route,
                    &*door.path,
                    door.signers.len(),
                    door.is_limited,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("chat", "/v1/chat/completions", 2, true),
                ("bot", "/hooks/feishu", 1, false),
                ("rest", "/v1/chat/completions", 0, false),
            ]
        );
        assert!(left_out[0].contains("route odd"));
        let signed = doors[0].signers[0]
            .headers(b"{}", "id-1", 0)
            .expect("headers");
        assert!(signed.contains(&("X-Weir-Key".to_owned(), "w".to_owned())));
        assert!(!format!("{doors:?}").contains("s3"));
    }
}
