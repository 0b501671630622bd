//! The catalog of metrics against what a process exposes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::ReloadCounts;
use crate::alert::metrics::{AlertMetrics, AlertTiers};
use crate::audit::{self, Audit};
use crate::backend::health::{CheckResult, CheckVerdict, ExpectedStatus, HealthCheckConfig};
use crate::cache::redis_tier::metrics::EntryMetrics;
use crate::exchange::Recorder as _;
use crate::gateway::Gateway;
use crate::generation::Generation;
use crate::http::budget::Budget;
use crate::http::connections::metrics::ConnectionCounts;
use crate::listener::tls::expiry::CertificateExpiry;
use crate::metrics::{ExpositionFormat, Metrics, catalog};
use crate::record::fixture::filled;
use crate::record::metrics::RequestMetrics;
use crate::record::{EventRecorder, otlp, spans::SpanRecorder};
use crate::redis::metrics::RedisMetrics;
use crate::ship::metrics::ShipMetrics;
use crate::system::{self, SystemSample, lag};
use crate::{alert, backend, cache, clock, config, gateway};

/// A series of every metric.
fn all(folder: &std::path::Path) -> Metrics {
    // As at the start of the process: the workspace brings two providers.
    drop(rustls::crypto::ring::default_provider().install_default());
    let metrics = Metrics::new().expect("metrics");
    let requests = RequestMetrics::register(&metrics, Arc::new(())).expect("metrics of requests");
    let mut exchange = filled();
    (exchange.status, exchange.error_code) = (200, None);
    requests.record(&exchange, Duration::ZERO);
    let ship = ShipMetrics::register(&metrics).expect("metrics of shipping");
    ship.shipper(&metrics).expect("metrics of a shipper");
    ConnectionCounts::register(&metrics).expect("metrics of connections");
    lag::register(&metrics).expect("metrics of the runtime");
    let reading = system::metrics::register(&metrics).expect("metrics of the system");
    *reading.lock() = SystemSample::example();
    let expiry = CertificateExpiry::register(&metrics).expect("a metric of certificates");
    expiry.set(&[("127.0.0.1:8443".to_owned(), 1_795_334_400)]);
    let alerts = AlertMetrics::register(&metrics).expect("metrics of alerts");
    alerts.writes("state").expect("counters");
    alerts.notifier("feishu").expect("counters");
    let tiers = AlertTiers::register(&metrics).expect("a metric of tiers");
    let warning = alert::fixture::alert("ErrorRate", alert::tier::Tier::Warning);
    tiers.show(&[warning]);
    let config = config_with_health_checks();
    let events = EventRecorder::start(&config.events, None, &metrics).expect("a recorder");
    let collector = otlp::Config {
        url: "http://127.0.0.1:9/v1/traces".to_owned(),
        headers: Vec::new(),
    };
    SpanRecorder::start(&collector, "test", &metrics).expect("a recorder");
    let audit = audit::Config {
        path: folder.join("audit.ndjson"),
        keep: Duration::ZERO,
    };
    Audit::start(&audit, crate::audit::LogOwners::One, &metrics).expect("an audit log");
    ReloadCounts::register(&metrics).expect("metrics of reloads");
    let in_flight = gateway::metrics::in_flight(&metrics).expect("a gauge");
    let generation = Generation::first(&config);
    fail_a_check(&generation);
    let gateway = Gateway::new(
        generation,
        Budget::new(config.limits.buffered_bytes),
        events,
        in_flight,
    );
    RedisMetrics::register(&metrics).expect("metrics of Redis");
    EntryMetrics::register(&metrics).expect("metrics of Redis");
    gateway::metrics::expose(&Arc::new(gateway), &metrics).expect("metrics of the gateway");
    metrics
}

/// The defaults, with health checks and caches.
fn config_with_health_checks() -> config::Config {
    let mut config = config::defaults().expect("the defaults").config;
    for backend in &mut config.backends {
        let mut checked = backend::Config::clone(backend);
        checked.health_check = Some(HealthCheckConfig {
            path: "/healthz".parse().expect("a path"),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
            expected: ExpectedStatus::Below500,
        });
        *backend = Arc::new(checked);
    }
    for route in &mut config.routes {
        let mut cached = config::Route::clone(route);
        cached.cache = Some(cache_config());
        *route = Arc::new(cached);
    }
    config
}

fn cache_config() -> cache::Config {
    cache::Config {
        memory_bytes: 1 << 20,
        ttl: Duration::from_secs(60),
        scope: cache::Scope::Client,
        ignore_headers: Vec::new(),
        ignore: Vec::new(),
        unless: cache::unless::Unless::default(),
        coalescing: cache::Coalescing::Enabled,
    }
}

fn fail_a_check(generation: &Generation) {
    let backend = &generation.backends()[0];
    let config = backend.config().health_check.as_ref();
    let failed = CheckResult {
        verdict: CheckVerdict::Failed,
        detail: "status 503".into(),
        at: Duration::ZERO,
    };
    let endpoint = &backend.endpoints()[0];
    endpoint.record_check(failed, config.expect("it is checked"), clock::now());
}

#[test]
fn the_catalog_lists_what_is_exposed() {
    let folder = tempfile::tempdir().expect("a folder");
    let metrics = all(folder.path());
    let text = String::from_utf8(metrics.render(ExpositionFormat::Text)).expect("UTF-8");
    let mut exposed = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, help) = line.split_once(' ').expect("a help text");
        assert!(help.ends_with('.'), "{line}");
        exposed.insert(name);
    }
    let listed: BTreeSet<_> = catalog::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(exposed, listed);
    for metric in catalog::ALL {
        let is_counter = text.contains(&format!("# TYPE {} counter", metric.name));
        assert_eq!(
            is_counter,
            metric.name.ends_with("_total"),
            "{}",
            metric.name
        );
    }
    for series in [
        r#"weir_events_total{outcome="dropped"} 0"#,
        r#"weir_cache_bytes{tier="memory"} 0"#,
        r#"weir_upstream_healthy{backend="assistant",endpoint="http://127.0.0.1:8000"} 0"#,
    ] {
        assert!(text.contains(series), "{series}");
    }
}
