//! Active health checks, and what `GET /api/backends` shows of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::backend::{Backend, BackendResponse, Http2Backend, TlsTargets, UnixSocket};
use weir_tests::certs::Authority;
use weir_tests::client::{self, Client, ClientRequest};
use weir_tests::fault_proxy::{Admission, CutKind, FaultProxy};
use weir_tests::proxy::Proxy;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::wait;

/// Where checks go; the other requests are echoed.
const PATH: &str = "/health";

/// Frequent, and patient on a busy machine: a check fails only where the test makes it fail.
const CHECK: &str = "health_check: {path: /health, interval: 100ms, timeout: 1m, healthy_after: 2, unhealthy_after: 2}";

/// A backend whose checks get a status that the test sets.
struct Checked {
    backend: Backend,
    status: Arc<AtomicU16>,
}

impl Checked {
    async fn start(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let current = status.clone();
        let backend = Backend::responding(move |received| match received.target.as_str() {
            PATH => BackendResponse::status(current.load(Ordering::SeqCst)),
            _ => BackendResponse::echo(received),
        })
        .await;
        Checked { backend, status }
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn url(&self) -> String {
        self.backend.url()
    }

    /// The requests that are no checks.
    fn requests(&self) -> usize {
        let requests = self.backend.requests();
        let others = requests.iter().filter(|received| received.target != PATH);
        others.count()
    }
}

/// Waits until `weir_upstream_healthy` of an endpoint has this value; `None`: there is no such series.
async fn healthy_when(proxy: &Proxy, (backend, endpoint): (&str, &str), value: Option<f64>) {
    let what = format!("{value:?} as the health of {endpoint} of {backend}");
    proxy
        .metrics_when(&what, |metrics| {
            let mut samples = metrics.samples.iter();
            let sample = samples.find(|sample| {
                sample.name == "weir_upstream_healthy"
                    && sample.labels["backend"] == backend
                    && sample.labels["endpoint"] == endpoint
            });
            sample.map(|sample| sample.value) == value
        })
        .await;
}

/// The endpoint as `GET /api/backends` shows it.
async fn shown(proxy: &Proxy, backend: &str, endpoint: &str) -> Value {
    let response = proxy.admin_get("/api/backends").await;
    assert_eq!(response.status, 200, "{}", response.text());
    let shown = response.json();
    let find = |list: &Value, key: &str, value: &str| {
        let mut items = list.as_array().expect("a list").iter();
        let found = items.find(|item| item[key] == value);
        found
            .unwrap_or_else(|| panic!("no {value} in {shown}"))
            .clone()
    };
    let backend = find(&shown["backends"], "name", backend);
    find(&backend["endpoints"], "url", endpoint)
}

#[tokio::test]
async fn an_unhealthy_endpoint_leaves_the_rotation_and_comes_back() {
    let (one, other) = (Checked::start(200).await, Checked::start(404).await);
    let proxy = Setup::without_backend()
        .backend(
            "assistant",
            &[one.url(), other.url()],
            &[
                CHECK,
                "path_prefix: /prefix",
                "request_headers: {authorization: Bearer key}",
            ],
        )
        .routes(OPEN)
        .start()
        .await;
    for endpoint in [&one, &other] {
        healthy_when(&proxy, ("assistant", &endpoint.url()), Some(1.0)).await;
    }
    let check = one.backend.requests().remove(0);
    assert_eq!((&*check.method, &*check.target), ("GET", PATH));
    assert_eq!(check.all("authorization"), ["Bearer key"]);
    assert_eq!(check.all("host"), [one.backend.address().to_string()]);

    one.set(503);
    healthy_when(&proxy, ("assistant", &one.url()), Some(0.0)).await;
    let mut client = Client::h1(proxy.address()).await;
    for number in 1..=10 {
        assert_eq!(client.send(ClientRequest::get("/a")).await.status, 200);
        assert_eq!((one.requests(), other.requests()), (0, number));
    }
    let unhealthy = shown(&proxy, "assistant", &one.url()).await;
    assert_eq!(unhealthy["health"], "unhealthy");
    assert_eq!(unhealthy["reason"], "health check failed: status 503");
    assert_eq!(unhealthy["last_check"]["result"], "failed");
    assert_eq!(unhealthy["addresses"][0], one.backend.address().to_string());
    let healthy = shown(&proxy, "assistant", &other.url()).await;
    assert_eq!(healthy["health"], "healthy");
    assert_eq!(healthy["last_check"]["detail"], "status 404");
    let at = healthy["last_check"]["at"].as_str().expect("a time");
    assert!(at.ends_with('Z'), "{at}");
    assert_eq!(
        (&healthy["circuit"], &healthy["live"]),
        (&"closed".into(), &0.into())
    );

    one.set(200);
    healthy_when(&proxy, ("assistant", &one.url()), Some(1.0)).await;
    // Gradually: the first requests may all go to the other one.
    let recovering = async {
        while one.requests() == 0 {
            assert_eq!(client.send(ClientRequest::get("/a")).await.status, 200);
        }
    };
    wait::within("a request to it", wait::PATIENCE, recovering).await;
    let log = proxy.stderr();
    assert_eq!(log.matches("is unhealthy").count(), 1, "{log}");
    assert_eq!(log.matches("is healthy again").count(), 1, "{log}");
    one.backend.assert_faultless();
    // Checks are no requests of clients.
    let requests = one.requests() + other.requests();
    assert_eq!(proxy.events_when(requests).await.len(), requests);
}

#[tokio::test]
async fn the_statuses_of_a_healthy_endpoint_can_be_listed() {
    let checked = Checked::start(204).await;
    let listed = "health_check: {path: /health, interval: 100ms, timeout: 1m, status: [200]}";
    let proxy = Setup::without_backend()
        .backend("assistant", &[checked.url()], &[CHECK])
        .backend("strict", &[checked.url()], &[listed])
        .backend("unchecked", &[checked.url()], &[])
        .routes(OPEN)
        .start()
        .await;
    healthy_when(&proxy, ("assistant", &checked.url()), Some(1.0)).await;
    healthy_when(&proxy, ("strict", &checked.url()), Some(0.0)).await;
    healthy_when(&proxy, ("unchecked", &checked.url()), None).await;
    let unchecked = shown(&proxy, "unchecked", &checked.url()).await;
    assert_eq!(unchecked["health"], "unchecked");
    assert!(unchecked["last_check"].is_null(), "{unchecked}");
    checked.set(200);
    healthy_when(&proxy, ("strict", &checked.url()), Some(1.0)).await;
}

#[tokio::test]
async fn checks_that_hang_fail_and_leave_no_connections() {
    let checked = Checked::start(200).await;
    let faults = FaultProxy::start(checked.backend.address());
    let check = "health_check: {path: /health, interval: 100ms, timeout: 200ms, healthy_after: 1, unhealthy_after: 2}";
    let proxy = Setup::behind(&faults)
        .backend_options(&[check])
        .start()
        .await;
    healthy_when(&proxy, ("assistant", &faults.url()), Some(1.0)).await;
    let descriptors = proxy.process().open_descriptors();
    faults.admit(Admission::Blackhole);
    faults.cut_open(CutKind::Close);
    healthy_when(&proxy, ("assistant", &faults.url()), Some(0.0)).await;
    let unhealthy = shown(&proxy, "assistant", &faults.url()).await;
    assert_eq!(
        unhealthy["last_check"]["detail"],
        "no response within 200ms"
    );
    let accepted = faults.counts().accepted;
    wait::eventually("more checks", wait::PATIENCE, || {
        faults.counts().accepted >= accepted + 8
    })
    .await;
    // At most the check that is in progress.
    wait::eventually("the end of those before", wait::PATIENCE, || {
        faults.counts().open <= 1 && proxy.process().open_descriptors() <= descriptors + 2
    })
    .await;
    faults.heal();
    healthy_when(&proxy, ("assistant", &faults.url()), Some(1.0)).await;
}

#[tokio::test]
async fn with_no_healthy_endpoint_the_fallback_goes_first_and_all_are_tried_without_one() {
    let (one, other) = (Checked::start(500).await, Checked::start(500).await);
    let cloud = Backend::echo().await;
    let urls = [one.url(), other.url()];
    let proxy = Setup::without_backend()
        .backend("assistant", &urls, &[CHECK, "fallback: cloud"])
        .backend(
            "alone",
            &urls,
            &[CHECK, "circuit_breaker: {when_all_open: fail}"],
        )
        .backend("cloud", &[cloud.url()], &[])
        .routes("- {name: alone, path: /alone, backend: alone}")
        .routes(OPEN)
        .start()
        .await;
    for url in &urls {
        healthy_when(&proxy, ("assistant", url), Some(0.0)).await;
        healthy_when(&proxy, ("alone", url), Some(0.0)).await;
    }
    let mut client = Client::h1(proxy.address()).await;
    for _ in 0..4 {
        // Also a request that must not be repeated: no endpoint has seen it.
        let response = client.send(ClientRequest::post("/orders", "x")).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!(cloud.requests().len(), 4);
    for _ in 0..4 {
        let response = client.send(ClientRequest::post("/alone", "x")).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!((one.requests(), other.requests()), (2, 2));
    // Back to the first backend.
    other.set(200);
    healthy_when(&proxy, ("assistant", &other.url()), Some(1.0)).await;
    let response = client.send(ClientRequest::post("/orders", "x")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(cloud.requests().len(), 4);
    assert_eq!((one.requests(), other.requests()), (2, 3));
}

#[tokio::test]
async fn endpoints_of_every_protocol_are_checked() {
    let (http1, http2) = (Backend::echo().await, Http2Backend::start().await);
    let authority = Authority::new();
    let directory = TempDir::new().expect("a directory");
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).expect("written");
    let trusting = format!("tls: {{ca_file: {}}}", ca_file.display());
    let targets = TlsTargets {
        http1: None,
        http2: Some(http2.address()),
    };
    let over_http1 = Backend::behind_tls(&authority, http1.address()).await;
    let over_http2 = Backend::behind_alpn(&authority, targets).await;
    let https = |tls: &Backend| format!("https://localhost:{}", tls.address().port());
    let (https1, https2) = (https(&over_http1), https(&over_http2));
    let path = directory.path().join("assistant.sock");
    let _socket = UnixSocket::before(http1.address(), &path);
    let unix = format!("unix:{}", path.display());
    let plain = [http1.url(), http2.url(), unix.clone()];
    let proxy = Setup::without_backend()
        .backend("assistant", &plain, &[CHECK])
        .backend(
            "trusted",
            &[https1.clone(), https2.clone()],
            &[CHECK, &trusting],
        )
        .backend("untrusted", std::slice::from_ref(&https1), &[CHECK])
        .routes(OPEN)
        .start()
        .await;
    for endpoint in &plain {
        healthy_when(&proxy, ("assistant", endpoint), Some(1.0)).await;
    }
    for endpoint in [&https1, &https2] {
        healthy_when(&proxy, ("trusted", endpoint), Some(1.0)).await;
    }
    healthy_when(&proxy, ("untrusted", &https1), Some(0.0)).await;
    let untrusted = shown(&proxy, "untrusted", &https1).await;
    let detail = untrusted["last_check"]["detail"].to_string();
    assert!(detail.contains("certificate"), "{detail}");
    http1.assert_faultless();
    // One connection a check, and each is closed.
    wait::eventually("the end of a check over HTTP/2", wait::PATIENCE, || {
        http2.connections() > 2 && http2.connections_open() == 0
    })
    .await;
}

#[tokio::test]
async fn checks_end_when_weir_drains() {
    let (checked, slow) = (Checked::start(200).await, Backend::manual().await);
    let proxy = Setup::open(&slow)
        .backend("checked", &[checked.url()], &[CHECK])
        .start()
        .await;
    healthy_when(&proxy, ("checked", &checked.url()), Some(1.0)).await;
    let sending = tokio::spawn(client::send(proxy.address(), ClientRequest::get("/slow")));
    let call = slow.next_request().await;
    proxy.sigterm();
    let mut known = checked.backend.requests().len();
    let more = async |known| {
        while checked.backend.requests().len() == known {
            wait::tick().await;
        }
    };
    let ending = async {
        while !wait::still_waiting_after(Duration::from_millis(500), more(known)).await {
            known = checked.backend.requests().len();
        }
    };
    wait::within("the end of the checks", wait::PATIENCE, ending).await;
    call.respond(BackendResponse::status(200)).await;
    assert_eq!(sending.await.expect("a response").status, 200);
    assert_eq!(proxy.wait_exit(wait::PATIENCE).await.code(), Some(0));
}
