//! weir-load against a real weir: every scenario works, and both count the same requests.

use serde_json::Value;
use tempfile::TempDir;
use weir::signature::sign::schemes;
use weir_tests::backend::Backend;
use weir_tests::certs::Authority;
use weir_tests::load::{DemoAssistant, LoadTest};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;

mod gate;
mod replay;

/// A route for every scheme that weir-load can sign, each with its own path.
const PLATFORMS: &str = "\
- {name: hmac, path: /v1/*, backend: assistant, body_bytes: 64KiB, signature: {scheme: hmac, clients: [{name: w, secrets: [s]}]}}
- {name: bearer, path: /bearer, backend: assistant, signature: {scheme: bearer, secrets: [a-key]}}
- {name: feishu, path: /hooks/feishu, backend: assistant, signature: {scheme: feishu, secrets: [e]}}
- {name: simple_sha256, path: /simple, backend: assistant, signature: {scheme: simple_sha256, secrets: [s]}}
";

/// The URLs of a proxy for weir-load.
struct TargetUrls {
    target: String,
    admin: String,
    config: String,
    _directory: TempDir,
}

/// The arguments of a test against a proxy.
fn target_urls(setup: &Setup, proxy: &Proxy) -> TargetUrls {
    let directory = TempDir::new().expect("a directory");
    let config = directory.path().join("weir.yaml");
    std::fs::write(&config, setup.yaml(directory.path())).expect("a file");
    TargetUrls {
        target: format!("http://{}", proxy.address()),
        admin: format!("http://{}", proxy.admin()),
        config: config.to_str().expect("a path").to_owned(),
        _directory: directory,
    }
}

impl TargetUrls {
    async fn run(&self, arguments: &[&str]) -> LoadTest {
        let directory = TempDir::new().expect("a directory");
        let common = [
            "--target",
            &self.target,
            "--admin",
            &self.admin,
            "--config",
            &self.config,
            "--slo",
            "error_rate<0.1%",
        ];
        LoadTest::run(directory.path(), &[&common[..], arguments].concat()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scheme_that_weir_load_signs_is_accepted() {
    let backend = Backend::chat().await;
    let setup = Setup::new(&backend).routes(PLATFORMS);
    let proxy = setup.start().await;
    let target_urls = target_urls(&setup, &proxy);
    let load = target_urls
        .run(&[
            "--scenario",
            "platforms",
            "--rate",
            "80/s",
            "--duration",
            "3s",
        ])
        .await;
    assert_eq!(load.finished.code, Some(0), "{}", load.output());
    load.assert_counts_match();
    let metrics = proxy.metrics().await;
    for scheme in schemes() {
        let labels = [("scheme", scheme), ("outcome", "valid")];
        let let_in = metrics.sum("weir_signature_checks_total", &labels);
        let names = load.report["by_name"].as_object().expect("names").iter();
        let sent: u64 = names
            .filter(|(name, _)| name.ends_with(&format!(":{scheme}")))
            .filter_map(|(_, named)| named["requests"].as_u64())
            .sum();
        assert!(sent > 0, "{scheme}: {:#}", load.report["by_name"]);
        assert!(
            (let_in - sent as f64).abs() < 0.5,
            "{scheme}: {let_in} of {sent}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn abusive_requests_are_rejected_and_never_reach_the_backend() {
    let backend = Backend::chat().await;
    let setup = Setup::new(&backend).routes(PLATFORMS);
    let proxy = setup.start().await;
    let target_urls = target_urls(&setup, &proxy);
    let load = target_urls
        .run(&["--scenario", "abuse", "--rate", "100/s", "--duration", "3s"])
        .await;
    assert_eq!(load.finished.code, Some(0), "{}", load.output());
    for kind in ["unsigned", "wrong", "stale", "replayed", "oversized"] {
        let name = format!("/by_name/abuse:{kind}/refused");
        assert!(load.number(&name) > 0.0, "{kind}: {}", load.output());
    }
    load.assert_counts_match();
    // The request that is replayed must be accepted once.
    assert_eq!(backend.requests().len(), 1);
    // If everything is accepted, the test fails.
    let open = Setup::open(&backend).start().await;
    let target = format!("http://{}", open.address());
    let arguments = [
        "--scenario",
        "abuse",
        "--rate",
        "50/s",
        "--duration",
        "1s",
        "--target",
        &target,
    ];
    let directory = TempDir::new().expect("a directory");
    let slo = ["--config", &target_urls.config, "--slo", "error_rate<0.1%"];
    let load = LoadTest::run(directory.path(), &[&arguments[..], &slo].concat()).await;
    assert_eq!(load.finished.code, Some(1), "{}", load.output());
    assert!(
        load.output().contains("error: status 200"),
        "{}",
        load.output()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limited_requests_are_counted_separately() {
    let backend = Backend::chat().await;
    let setup = Setup::new(&backend).routes(
        "- {name: chat, path: /v1/*, backend: assistant, signature: {scheme: bearer, secrets: [k]}, rate_limits: [{name: l, rate: 20/s, by: client}]}",
    );
    let proxy = setup.start().await;
    let started_at = weir::clock::now();
    let load = target_urls(&setup, &proxy)
        .run(&["--scenario", "burst", "--rate", "100/s", "--duration", "3s"])
        .await;
    assert_eq!(load.finished.code, Some(0), "{}", load.output());
    let (limited, let_in) = (load.number("/limited"), load.number("/by_status/200"));
    let took_s = weir::clock::now()
        .saturating_duration_since(started_at)
        .as_secs_f64();
    // The burst of one second, and twenty for each second of the test.
    let most = 20.0 + 20.0 * took_s;
    assert!((20.0..=most).contains(&let_in), "{let_in} in {took_s} s");
    assert!((limited + let_in - 300.0).abs() < 0.5, "{limited}");
    load.assert_counts_match();
}

#[tokio::test(flavor = "multi_thread")]
async fn first_token_and_token_times_of_streams_are_measured() {
    let directory = TempDir::new().expect("a directory");
    let arguments = [
        "--latency",
        "150ms",
        "--jitter",
        "0ms",
        "--tokens",
        "11",
        "--token-interval",
        "30ms",
    ];
    let assistant = DemoAssistant::start(directory.path(), &arguments).await;
    let setup = Setup::without_backend()
        .backend("assistant", std::slice::from_ref(&assistant.url), &[])
        .routes("- {name: chat, path: /v1/*, backend: assistant}");
    let proxy = setup.start().await;
    let load = target_urls(&setup, &proxy)
        .run(&[
            "--scenario",
            "stream",
            "--rate",
            "30/s",
            "--duration",
            "3s",
            "--slo",
            "first_token_p95<149ms",
        ])
        .await;
    assert_eq!(load.finished.code, Some(1), "{}", load.output());
    assert!(
        load.output().contains("FAIL first_token_p95<149ms"),
        "{}",
        load.output()
    );
    // Never earlier than the demo assistant sends it; how much later depends on the machine.
    let first = load.number("/first_token_ms/p50");
    assert!(first >= 149.0, "{first}");
    let whole = load.number("/latency_ms/p50");
    assert!(whole >= 149.0 + 299.0, "{whole}");
    // Eleven tokens, two of which may arrive together with the first and the last: none takes longer than all.
    let between = load.number("/token_time_ms/p50");
    assert!(
        between > 0.0 && between * 12.0 <= load.number("/latency_ms/max"),
        "{between}"
    );
    let counts = ["/first_token_ms/count", "/token_time_ms/count"].map(|name| load.number(name));
    assert!(
        counts.iter().all(|count| (count - 90.0).abs() < 0.5),
        "{counts:?}"
    );
    load.assert_counts_match();
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_hits_are_counted_by_both() {
    let backend = Backend::chat().await;
    let setup = Setup::new(&backend).routes(
        "- {name: chat, path: /v1/*, backend: assistant, cache: {answers: true, memory: 1MiB, ttl: 1h, scope: route}}",
    );
    let proxy = setup.start().await;
    let target_urls = target_urls(&setup, &proxy);
    let arguments = [
        "--rate",
        "200/s",
        "--duration",
        "2s",
        "--repeats",
        "80%",
        "--warm-up",
        "1s",
    ];
    let load = target_urls.run(&arguments).await;
    assert_eq!(load.finished.code, Some(0), "{}", load.output());
    load.assert_counts_match();
    assert_eq!(load.report["requests"], 400, "the warm-up is not counted");
    // How many repeated prompts were stored by then depends on the machine.
    let hits = load.number("/sidecar/cache_hits");
    let misses = load.number("/sidecar/cache_misses");
    assert!(
        hits > 0.0 && (hits + misses - 600.0).abs() < 0.5,
        "{hits} {misses}"
    );
    // Another run sends other prompts, so it does not benefit from the cache.
    let second = target_urls
        .run(&["--rate", "100/s", "--duration", "1s", "--repeats", "0%"])
        .await;
    assert!(
        second.number("/sidecar/cache_hits") < 0.5,
        "{}",
        second.output()
    );
    assert_ne!(load.report["seed"], second.report["seed"]);
    let seed = load.report["seed"].to_string();
    let same = target_urls
        .run(&[&arguments[..], &["--seed", &seed]].concat())
        .await;
    let all_known = same.number("/sidecar/cache_hits");
    assert!(
        (all_known - 600.0).abs() < 0.5,
        "{all_known}: the same seed sends the same prompts"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn added_latency_is_measured_against_the_backend() {
    let directory = TempDir::new().expect("a directory");
    let assistant =
        DemoAssistant::start(directory.path(), &["--latency", "20ms", "--jitter", "0ms"]).await;
    let setup = Setup::without_backend()
        .backend("assistant", std::slice::from_ref(&assistant.url), &[])
        .routes("- {name: chat, path: /v1/*, backend: assistant}");
    let proxy = setup.start().await;
    let load = target_urls(&setup, &proxy)
        .run(&[
            "--direct",
            &assistant.url,
            "--rate",
            "50/s",
            "--duration",
            "3s",
            "--slo",
            "added_p50<1h",
            // The latency of the demo assistant itself, which must fail.
            "--slo",
            "p50<20ms",
        ])
        .await;
    assert_eq!(load.finished.code, Some(1), "{}", load.output());
    let slos = load.report["slos"].as_array().expect("objectives");
    let verdicts: Vec<(&Value, &Value)> =
        slos.iter().map(|slo| (&slo["slo"], &slo["ok"])).collect();
    assert_eq!(
        verdicts[1],
        (&"added_p50<1h".into(), &true.into()),
        "{slos:#?}"
    );
    assert_eq!(slos[1]["count"], 150);
    assert_eq!(
        (&load.report["requests"], &load.report["direct"]["requests"]),
        (&150.into(), &150.into())
    );
    load.assert_counts_match();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mixed_scenario_runs_everything_at_once() {
    let directory = TempDir::new().expect("a directory");
    let assistant = DemoAssistant::start(
        directory.path(),
        &["--latency", "20ms", "--token-interval", "1ms"],
    )
    .await;
    let setup = Setup::without_backend()
        .backend("assistant", std::slice::from_ref(&assistant.url), &[])
        .routes(PLATFORMS);
    let proxy = setup.start().await;
    let load = target_urls(&setup, &proxy)
        .run(&[
            "--scenario",
            "mixed",
            // Each name occurs at least once; the mix is random.
            "--seed",
            "15",
            "--rate",
            "100/s",
            "--duration",
            "4s",
            "--slo",
            "chat:p99<1h",
        ])
        .await;
    // The demo assistant only serves chat here.
    let names = load.report["by_name"].as_object().expect("names");
    for name in ["chat", "stream", "api:hmac", "abuse:unsigned"] {
        assert_eq!(names[name]["errors"], 0, "{name}: {}", load.output());
    }
    load.assert_counts_match();
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_with_tls_or_http2_are_supported() {
    let directory = TempDir::new().expect("a directory");
    let authority = Authority::new();
    let files = authority.issue(directory.path());
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).expect("a file");
    let backend = Backend::chat().await;
    let proxy = Setup::open(&backend).tls(&files).start().await;
    let tls = format!("https://localhost:{}", proxy.tls_address().port());
    let plain = format!("http://{}", proxy.address());
    let ca = ca.to_str().expect("a path");
    let run = async |arguments: &[&str]| {
        let common = [
            "--rate",
            "50/s",
            "--duration",
            "1s",
            "--slo",
            "error_rate<0.1%",
        ];
        LoadTest::run(directory.path(), &[&common[..], arguments].concat()).await
    };
    let trusted = run(&["--target", &tls, "--ca-file", ca]).await;
    assert_eq!(trusted.finished.code, Some(0), "{}", trusted.output());
    let unknown = run(&["--target", &tls]).await;
    assert_eq!(unknown.finished.code, Some(1), "{}", unknown.output());
    assert!(
        unknown.output().contains("error: connect: 50"),
        "{}",
        unknown.output()
    );
    let http2 = run(&["--target", &plain, "--http2"]).await;
    assert_eq!(http2.finished.code, Some(0), "{}", http2.output());
    let versions: Vec<_> = proxy.events_when(100).await;
    let by_http2 = versions
        .iter()
        .filter(|event| event["http"]["version"] == "2");
    assert!(by_http2.count() >= 50, "{versions:#?}");
    let no_certificate = run(&[
        "--target",
        &tls,
        "--ca-file",
        files.key.to_str().expect("a path"),
    ])
    .await;
    assert_eq!(
        no_certificate.finished.code,
        Some(2),
        "{}",
        no_certificate.output()
    );
    assert!(
        no_certificate.output().contains("--ca-file"),
        "{}",
        no_certificate.output()
    );
}
