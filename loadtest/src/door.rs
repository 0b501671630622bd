//! The doors of a target: its routes, and what opens them, out of its own configuration.

use std::sync::Arc;

use http::Method;
use weir::config::{self, Config};
use weir::route::PathPattern;
use weir::signature::signer::{Distinct, Signer};

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
    pub limits: Vec<Limit>,
}

/// How much a route takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub name: Arc<str>,
    /// Requests a second.
    pub rate: f64,
    /// The clients it holds for; empty: for all.
    clients: Vec<Arc<str>>,
}

impl Door {
    /// How to sign here: with what is good for any number of requests, where there is such.
    #[must_use]
    pub fn signer(&self) -> Option<&Signer> {
        let mut signers = self.signers.iter();
        let always = signers.find(|signer| signer.distinct == Distinct::Always);
        always.or(self.signers.first())
    }

    /// The lowest limit that holds for whom [`Door::signer`] signs as.
    #[must_use]
    pub fn limit(&self) -> Option<&Limit> {
        let client = self.signer().and_then(Signer::client);
        let holds = |limit: &&Limit| {
            let mut clients = limit.clients.iter();
            limit.clients.is_empty() || clients.any(|one| Some(&**one) == client)
        };
        let limits = self.limits.iter().filter(holds);
        limits.min_by(|one, other| one.rate.total_cmp(&other.rate))
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
        limits: Vec::new(),
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
        if !route.matching.methods.is_empty() && !route.matching.methods.contains(&Method::POST) {
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
            path: path(&route.matching.path),
            signers,
            body_bytes_max: route.body_bytes,
            limits: route.rate_limits.iter().map(limit).collect(),
        });
    }
    (doors, left_out)
}

fn limit(config: &weir::limit::Config) -> Limit {
    Limit {
        name: config.name.clone(),
        rate: f64::from(config.rate) / config.period.as_secs_f64(),
        clients: config.clients.clone(),
    }
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

fn signers(route: &weir::config::Route, left_out: &mut Vec<String>) -> Vec<Signer> {
    let mut signers = Vec::new();
    for config in &route.signature {
        match Signer::of(config) {
            Ok(found) => signers.extend(found),
            Err(why) => left_out.push(format!("route {}: {why}", route.name)),
        }
    }
    signers
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
                    !door.limits.is_empty(),
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
            .headers(0, "id-1", b"{}")
            .expect("headers");
        assert!(signed.contains(&("X-Weir-Key".to_owned(), "w".to_owned())));
        assert!(!format!("{doors:?}").contains("s3"));
    }
}
