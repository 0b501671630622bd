//! Every key that takes effect by a reload, changed in a running app: the parts that depend on it are those of the new
//! configuration, and only the state that depends on it begins anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::App;
use crate::admin::RouteSummary;
use crate::app::alert_labels;
use crate::config::{self, Config, LoadedConfig};
use crate::generation::Generation;
use changes::{TlsFiles, changes};

#[path = "reload_keys/changes.rs"]
mod changes;

const REFERENCE: &str = include_str!("../../../../docs/configuration.md");

/// Keys of schemes that are not implemented yet: configuring one is an error.
const OF_PLANNED_SCHEMES: [&str; 8] = [
    "routes[].signature.aes_key",
    "routes[].signature.components",
    "routes[].signature.keys",
    "routes[].signature.keys[].algorithm",
    "routes[].signature.keys[].id",
    "routes[].signature.keys[].key",
    "routes[].signature.owner",
    "routes[].signature.public_keys",
];

fn base() -> Value {
    json!({
        "listen": [{"address": "127.0.0.1:0"}],
        "admin": {"address": "127.0.0.1:0"},
        "backends": [
            {"name": "a", "endpoints": ["https://127.0.0.1:1"]},
            {"name": "b", "endpoints": ["http://127.0.0.1:1"]},
        ],
        "routes": [
            {
                "name": "one", "path": "/one", "backend": "a", "concurrency": 2,
                "cache": {"coalesce": false},
                "rate_limits": [{"name": "few", "rate": "2/s"}],
                "signature": {
                    "scheme": "hmac",
                    "clients": [{"name": "web", "secrets": ["MDEyMzQ1Njc4OWFiY2RlZg=="]}],
                },
            },
            {
                "name": "two", "path": "/two", "backend": "a", "cache": {"coalesce": false},
                "signature": {"scheme": "hmac", "secrets": ["0123456789abcdef"]},
            },
            {
                "name": "three", "path": "/three", "backend": "a",
                "signature": {"scheme": "feishu", "secrets": ["0123456789abcdef"], "verification_token": "token"},
            },
        ],
        "alerts": {
            "state": "",
            "rules": [{
                "name": "Errors", "signal": "error_rate", "warning": "10%", "critical": "30%", "recovery": "5%",
            }],
        },
    })
}

fn load(file: &Value) -> LoadedConfig {
    let loaded = config::parse(&file.to_string(), Path::new("weir.yaml"), &|_| None);
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

/// The base with another value of one key.
fn changed(key: &str, value: &Value, tls: &TlsFiles) -> Value {
    let mut file = base();
    let mut place = &mut file;
    for part in key.split('.') {
        let (name, index) = part.split_once('[').unwrap_or((part, ""));
        place = &mut place[name];
        if let Some(index) = index.strip_suffix(']') {
            place = &mut place[index.parse().unwrap_or(0)];
        }
    }
    *place = value.clone();
    if key == "routes[].rate_limits[].tokens" {
        // A limit has one of the two.
        let limit = file["routes"][0]["rate_limits"][0].as_object_mut();
        limit.expect("a limit").remove("rate");
    }
    if key == "redis.timeout" {
        file["redis"]["url"] = json!("redis://127.0.0.1:1/0");
    }
    if ["backends[].tls.certificate", "backends[].tls.key"].contains(&key) {
        // Neither is valid without the other.
        let both = &mut file["backends"][0]["tls"];
        (both["certificate"], both["key"]) = (tls.certificate(), tls.key());
    }
    file
}

/// The key without the numbers of items, as the reference has it.
fn general(key: &str) -> String {
    key.replace("[1]", "[]").replace("[2]", "[]")
}

/// The parts with a state of their own that are not those of the previous generation.
fn begun_anew(old: &Generation, new: &Generation) -> BTreeSet<&'static str> {
    let mut anew = BTreeSet::new();
    for (old, new) in old.pipelines.iter().zip(&new.pipelines) {
        let same = |old: &Option<Arc<_>>, new: &Option<Arc<_>>| match (old, new) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        let caches_same = match (&old.cache, &new.cache) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        let checks = [
            ("backend", Arc::ptr_eq(&old.backend, &new.backend)),
            ("limits", Arc::ptr_eq(&old.limits, &new.limits)),
            ("concurrency", same(&old.concurrency, &new.concurrency)),
            ("cache", caches_same),
        ];
        anew.extend(
            checks
                .iter()
                .filter(|(_, same)| !same)
                .map(|(name, _)| name),
        );
    }
    anew
}

/// Which state a changed key may reset, where its feature is implemented.
fn may_begin_anew(key: &str) -> &'static [&'static str] {
    match key {
        "routes[].name" => &["limits", "concurrency", "cache"],
        "routes[].concurrency" => &["concurrency"],
        "routes[].backend" => &["backend", "cache"],
        "routes[].path" | "routes[].methods" | "routes[].allow" | "routes[].platform" => &["cache"],
        _ if key.starts_with("routes[].cache.") => &["cache"],
        _ if key.starts_with("routes[].rate_limits[].") => &["limits"],
        // Another backend may respond differently.
        _ if key.starts_with("backends[].") => &["backend", "cache"],
        _ => &[],
    }
}

/// What the routes of a generation decide with, and what they share.
fn described(generation: &Generation) -> String {
    let routes = generation.pipelines.iter().map(|pipeline| {
        (
            pipeline.config.clone(),
            pipeline.backend.config().clone(),
            pipeline.verifier.is_some(),
        )
    });
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        generation.table,
        generation.shared,
        generation.trace_sampling,
        generation.event_sampling,
        generation.encoded_slash,
        generation.redis(),
        routes.collect::<Vec<_>>(),
    )
}

fn alert_rules(config: &Config) -> String {
    format!("{:?}", config.alerts.rule_set(alert_labels(config)))
}

#[test]
fn every_key_that_is_reloaded_changes_what_depends_on_it_and_resets_no_other_state() {
    let base = load(&base());
    let app = App::start(&base.config).expect("weir starts");
    let gateway = &app.installer.gateway;
    let tls = TlsFiles::create();
    for (key, value) in changes(&tls) {
        app.install(&base.config);
        let old = gateway.generation().clone();
        let new = load(&changed(key, &value, &tls));
        let changes = config::diff(&base, &new);
        assert!(!changes.changed.is_empty(), "{key} changes nothing");
        assert!(changes.needs_restart.is_empty(), "{key}: {changes:?}");
        app.install(&new.config);
        let generation = gateway.generation().clone();
        assert_eq!(
            described(&generation),
            described(&Generation::first(&new.config)),
            "{key}"
        );
        for (pipeline, route) in generation.pipelines.iter().zip(&new.config.routes) {
            assert_eq!(&pipeline.config, route, "{key}");
            let backend = &new.config.backends[route.backend];
            assert_eq!(pipeline.backend.config(), backend, "{key}");
        }
        assert_eq!(
            app.installer.routes.get(),
            RouteSummary::all(&new.config),
            "{key}"
        );
        let has_effect = described(&old) != described(&generation)
            || alert_rules(&base.config) != alert_rules(&new.config)
            || base.config.routes != new.config.routes
            || base.config.backends != new.config.backends;
        // A key of a feature that is not implemented yet causes a warning, and has no effect.
        let pending = new.warnings.iter().any(|warning| {
            key.replace("[]", "[0]").starts_with(&warning.key)
                && warning.contains("is not in this version yet")
        });
        assert!(has_effect || pending, "{key} has no effect");
        let (anew, allowed) = (begun_anew(&old, &generation), may_begin_anew(&general(key)));
        let is_allowed = |part: &&str| allowed.contains(part);
        assert!(anew.iter().all(is_allowed), "{key} resets {anew:?}");
        if !pending && general(key) != "backends[].name" {
            assert_eq!(anew.len(), allowed.len(), "{key} resets only {anew:?}");
        }
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(app.stop());
}

#[test]
fn a_replaced_pem_file_of_a_backend_is_a_change() {
    let tls = TlsFiles::create();
    let file = changed("backends[].tls.key", &tls.key(), &tls);
    let old = load(&file);
    assert_eq!(config::diff(&old, &load(&file)).changed, [""; 0]);
    tls.replace();
    let new = load(&file);
    let changes = config::diff(&old, &new);
    assert_eq!(changes.changed, ["backends[a].tls"]);
    assert_eq!(changes.needs_restart, [""; 0]);
    let named = config::diff(&load(&base()), &new);
    assert_eq!(named.changed, ["backends[a].tls"], "once");
}

#[test]
fn the_table_has_every_key_that_is_reloaded() {
    let rows: Vec<(&str, &str)> = REFERENCE
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            Some((cells.next()?.trim_end_matches('`'), cells.nth(1)?))
        })
        .collect();
    assert!(rows.len() > 150, "{}", rows.len());
    let is_leaf = |key: &str| {
        let below = [format!("{key}."), format!("{key}[].")];
        let mut others = rows.iter().map(|(other, _)| other);
        !others.any(|other| below.iter().any(|below| other.starts_with(below)))
    };
    let reloaded: BTreeSet<&str> = rows
        .iter()
        .filter(|(key, change)| *change == "reload" && is_leaf(key))
        .map(|(key, _)| *key)
        .collect();
    let table = changes(&TlsFiles::create())
        .into_iter()
        .map(|(key, _)| general(key));
    let mut table: BTreeSet<String> = table.collect();
    table.extend(OF_PLANNED_SCHEMES.iter().map(|key| (*key).to_owned()));
    table.remove("routes[].signature.keys");
    let table: BTreeSet<&str> = table.iter().map(String::as_str).collect();
    assert_eq!(table, reloaded);
}
