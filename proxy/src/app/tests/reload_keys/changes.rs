//! Another value of each key that takes effect by a reload.

use serde_json::{Value, json};
use tempfile::TempDir;

/// A certificate and its key, as PEM files.
pub(super) struct TlsFiles(TempDir);

impl TlsFiles {
    pub(super) fn create() -> Self {
        let files = TlsFiles(tempfile::tempdir().expect("a folder"));
        files.replace();
        files
    }

    /// Another certificate with another key.
    pub(super) fn replace(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate");
        self.write("certificate.pem", &made.cert.pem());
        self.write("key.pem", &made.signing_key.serialize_pem());
    }

    pub(super) fn certificate(&self) -> Value {
        self.path("certificate.pem")
    }

    pub(super) fn key(&self) -> Value {
        self.path("key.pem")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("written");
    }

    fn path(&self, name: &str) -> Value {
        self.0.path().join(name).display().to_string().into()
    }
}

/// Another value of each key. A number selects another item of a list than the
/// first.
pub(super) fn changes(tls: &TlsFiles) -> Vec<(&'static str, Value)> {
    let parts = [
        alerts(),
        backends(),
        upstream_tls(tls),
        routes(),
        signatures(),
        others(),
    ];
    parts.concat()
}

fn alerts() -> Vec<(&'static str, Value)> {
    vec![
        ("alerts.evaluate_every", json!("7s")),
        ("alerts.minimum_requests", json!(3)),
        ("alerts.rules[].critical", json!("50%")),
        ("alerts.rules[].for", json!("1m")),
        ("alerts.rules[].name", json!("Other")),
        ("alerts.rules[].per", json!("route")),
        ("alerts.rules[].recovery", json!("1%")),
        ("alerts.rules[].runbook", json!("http://a/runbook")),
        ("alerts.rules[].signal", json!("rate_limited_share")),
        ("alerts.rules[].warning", json!("11%")),
        ("alerts.window", json!("6m")),
    ]
}

fn backends() -> Vec<(&'static str, Value)> {
    vec![
        ("backends[].ask_usage", json!(true)),
        ("backends[].circuit_breaker.failure_ratio", json!("40%")),
        ("backends[].circuit_breaker.minimum_requests", json!(5)),
        ("backends[].circuit_breaker.open_for", json!("5s")),
        ("backends[].circuit_breaker.when_all_open", json!("fail")),
        ("backends[].circuit_breaker.window", json!("5s")),
        ("backends[].connect_timeout", json!("2s")),
        ("backends[].endpoints", json!(["http://127.0.0.1:2"])),
        ("backends[].fallback", json!("b")),
        ("backends[].first_byte_timeout", json!("2s")),
        ("backends[].health_check.healthy_after", json!(3)),
        ("backends[].health_check.interval", json!("3s")),
        ("backends[].health_check.path", json!("/health")),
        ("backends[].health_check.status", json!([204])),
        ("backends[].health_check.timeout", json!("2s")),
        ("backends[].health_check.unhealthy_after", json!(4)),
        ("backends[].idle_timeout", json!("2s")),
        ("backends[].load_balancing", json!("least_request")),
        ("backends[].model_map", json!({"gpt": "local"})),
        ("backends[1].name", json!("c")),
        ("backends[].path_prefix", json!("/v2")),
        ("backends[].pool.idle_connections", json!(2)),
        ("backends[].pool.idle_timeout", json!("2s")),
        ("backends[].request_headers", json!({"authorization": "x"})),
        ("backends[].retry.attempts", json!(2)),
        ("backends[].retry.backoff", json!("2s")),
        ("backends[].retry.budget", json!("10%")),
        ("backends[].retry.hold", json!("2s")),
        ("backends[].retry.retry_after_max", json!("2s")),
        ("backends[].retry.when", json!(["connect"])),
        ("backends[].total_timeout", json!("200s")),
    ]
}

fn upstream_tls(files: &TlsFiles) -> Vec<(&'static str, Value)> {
    vec![
        ("backends[].tls.ca_file", files.certificate()),
        ("backends[].tls.certificate", files.certificate()),
        ("backends[].tls.key", files.key()),
    ]
}

fn others() -> Vec<(&'static str, Value)> {
    vec![
        ("events.content", json!("hash")),
        ("events.sample", json!("50%")),
        ("events.slow", json!("2s")),
        ("limits.body_bytes", json!("1MiB")),
        ("limits.body_timeout", json!("3s")),
        ("limits.upgrade_idle_timeout", json!("2h")),
        ("redis.timeout", json!("50ms")),
        ("redis.url", json!("redis://127.0.0.1:1/0")),
        ("traces.sample", json!("20%")),
        ("traces.trust_incoming", json!(false)),
        ("trusted_proxies", json!(["10.0.0.0/8"])),
        ("paths.encoded_slash", json!("reject")),
    ]
}

fn routes() -> Vec<(&'static str, Value)> {
    vec![
        ("routes[].allow", json!(["10.0.0.0/8"])),
        ("routes[].backend", json!("b")),
        ("routes[].body_bytes", json!("1MiB")),
        ("routes[].body_timeout", json!("3s")),
        ("routes[].cache.answers", json!(false)),
        ("routes[].cache.coalesce", json!(true)),
        ("routes[].cache.http", json!(true)),
        ("routes[].cache.ignore", json!(["/user"])),
        ("routes[].cache.ignore_headers", json!(["x-a"])),
        ("routes[].cache.memory", json!("1MiB")),
        ("routes[].cache.scope", json!("route")),
        ("routes[].cache.ttl", json!("2h")),
        ("routes[].cache.unless.temperature_above", json!(0)),
        ("routes[].cache.unless.tools", json!(true)),
        ("routes[].concurrency", json!(3)),
        ("routes[].conversation.header", json!("x-a")),
        ("routes[].conversation.idle", json!("3m")),
        ("routes[].conversation.rounds", json!(3)),
        ("routes[].methods", json!(["POST"])),
        ("routes[].name", json!("renamed")),
        ("routes[].path", json!("/other")),
        ("routes[].platform", json!("other")),
        ("routes[].rate_limits[].burst", json!(7)),
        ("routes[].rate_limits[].by", json!("address")),
        ("routes[].rate_limits[].clients", json!(["web"])),
        ("routes[].rate_limits[].name", json!("other")),
        ("routes[].rate_limits[].rate", json!("7/s")),
        ("routes[].rate_limits[].shared", json!(true)),
        ("routes[].rate_limits[].tokens", json!("9/s")),
    ]
}

fn signatures() -> Vec<(&'static str, Value)> {
    vec![
        ("routes[].signature.algorithm", json!("sha512")),
        ("routes[].signature.clients[].name", json!("app")),
        (
            "routes[].signature.clients[].secrets",
            json!(["another secret"]),
        ),
        ("routes[].signature.id_header", json!("x-a")),
        ("routes[].signature.key_encoding", json!("base64")),
        ("routes[].signature.key_header", json!("x-a")),
        ("routes[].signature.prefix", json!("v2=")),
        ("routes[].signature.replay", json!("3m")),
        ("routes[1].signature.scheme", json!("bearer")),
        ("routes[1].signature.secrets", json!(["another secret"])),
        ("routes[].signature.signature_encoding", json!("base64")),
        ("routes[].signature.signature_header", json!("x-a")),
        (
            "routes[].signature.signed",
            json!("{timestamp}.{id}.{path}.{body}"),
        ),
        ("routes[].signature.timestamp_header", json!("x-a")),
        ("routes[].signature.tolerance", json!("3m")),
        (
            "routes[2].signature.verification_token",
            json!("another token"),
        ),
    ]
}
