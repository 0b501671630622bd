use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::sync::oneshot;

use super::reload::ReloadReport;
use super::*;
use crate::alert;
use crate::backend::snapshot::BackendSnapshot;
use crate::exchange::Recorder as _;
use crate::generation::Generation;
use crate::record;
use crate::record::fixture::filled;

mod purge;

const SOON: Duration = Duration::from_secs(10);

struct Running {
    admin: Admin,
    state: AdminState,
}

fn gauge(name: &str) -> IntGauge {
    IntGauge::new(name, "A gauge.").expect("a gauge")
}

fn start(token: Option<&str>) -> Running {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let loaded = crate::config::defaults().expect("the defaults");
    let alerts = alert::Config {
        state: None,
        ..loaded.config.alerts
    };
    let sources = alert::Sources {
        metrics: metrics.clone(),
        counters: Arc::default(),
        labels: alert::rule_set::LabelValues::default(),
        snapshots: Box::new(alert::snapshot::Snapshot::default),
        ship: None,
        instance: "test:1".to_owned(),
        environment: "test".to_owned(),
    };
    let alerts = Alerts::start(&alerts, sources, None).expect("alerts");
    let events = record::Config {
        stdout: false,
        file: None,
        environment: "test".to_owned(),
    };
    let state = AdminState {
        in_flight: gauge("in_flight"),
        connections: gauge("connections"),
        events: EventRecorder::start(&events, None, &metrics).expect("a recorder"),
        metrics,
        readiness: Arc::new(ReadinessFlag::new(Readiness::Ready)),
        routes: Arc::new(RouteList(Mutex::new(Arc::new([RouteSummary {
            name: Arc::from("feishu"),
            path: Arc::from("/hooks/*"),
            platform: Arc::from("feishu"),
            backend: Arc::from("assistant"),
        }])))),
        alerts,
        ship: None,
        audit: None,
        reloads: Arc::new(FixedReports),
        backends: Arc::new(FixedBackends),
        purges: Arc::new(purge::FixedPurges),
    };
    let config = config::AdminApi {
        address: "127.0.0.1:0".parse().expect("an address"),
        token: token.map(config::SecretText::from),
    };
    let listener = Admin::bind(&config).expect("a listener");
    let admin = Admin::start(&config, listener, state.clone()).expect("a thread");
    Running { admin, state }
}

/// Every reload is rejected with the same error.
#[derive(Debug)]
struct FixedReports;

impl ReloadRequests for FixedReports {
    fn request(&self) -> oneshot::Receiver<ReloadReport> {
        let (report, receiver) = oneshot::channel();
        let error = crate::config::parse("routes: 1", "weir.yaml".as_ref(), &|_| None);
        let _ = report.send(ReloadReport::rejected(error.expect_err("invalid")));
        receiver
    }
}

/// A backend with one endpoint, which is not called.
#[derive(Debug)]
struct FixedBackends;

impl BackendSnapshots for FixedBackends {
    fn snapshots(&self) -> Vec<BackendSnapshot> {
        let config = crate::config::defaults().expect("the defaults").config;
        Generation::first(&config).snapshots()
    }
}

struct PageResponse {
    status: u16,
    head: String,
    body: String,
}

impl PageResponse {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

fn ask(address: SocketAddr, request: &str) -> PageResponse {
    let mut stream = connect(address);
    stream
        .write_all(request.as_bytes())
        .expect("a request sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a response");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    PageResponse {
        status: head[9..12].parse().expect("a status"),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

fn get(running: &Running, target: &str, headers: &str) -> PageResponse {
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    ask(running.admin.address, &request)
}

#[test]
fn the_pages_respond() {
    let running = start(None);
    running.state.events.record(&filled(), Duration::ZERO);
    assert_eq!(get(&running, "/healthz", "").json()["status"], "ok");
    assert_eq!(get(&running, "/readyz", "").json()["status"], "ready");

    let metrics = get(&running, "/metrics", "");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .head
            .contains("content-type: text/plain; version=0.0.4")
    );
    assert!(metrics.body.contains("weir_build_info{version="));

    let status = get(&running, "/api/status", "").json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["routes"][0]["path"], "/hooks/*");
    assert!(status["uptime_s"].is_u64());

    let shown = get(&running, "/api/backends", "").json();
    let expected = serde_json::json!({
        "name": "assistant",
        "load_balancing": "round_robin",
        "fallback": null,
        "endpoints": [{
            "url": "http://127.0.0.1:8000",
            "addresses": ["127.0.0.1:8000"],
            "health": "unchecked",
            "last_check": null,
            "circuit": "closed",
            "reason": null,
            "until": null,
            "live": 0,
        }],
    });
    assert_eq!(shown["backends"], serde_json::json!([expected]));

    let index = get(&running, "/", "");
    assert!(index.head.contains("content-type: text/html"));
    assert!(index.body.contains("/api/events") && !index.body.contains("<script"));
    assert!(
        index
            .head
            .contains("content-security-policy: default-src 'none'")
    );
    running.admin.stop();
}

#[test]
fn the_last_events_are_listed_oldest_first() {
    let running = start(None);
    assert_eq!(
        get(&running, "/api/events", "").json(),
        serde_json::json!([])
    );
    for second in 1..=150 {
        let mut exchange = filled();
        exchange.received_at = Duration::from_secs(second);
        running.state.events.record(&exchange, Duration::ZERO);
    }
    let events = get(&running, "/api/events?limit=2", "").json();
    let seconds: Vec<_> = (0..2)
        .map(|position| events[position]["@timestamp"].as_str().expect("a time")[17..19].to_owned())
        .collect();
    assert_eq!(seconds, ["29", "30"]);
    let count = |target| get(&running, target, "").json().as_array().map(Vec::len);
    assert_eq!(count("/api/events"), Some(100));
    assert_eq!(count("/api/events?limit=99999"), Some(100));
    assert_eq!(count("/api/events?limit=0"), Some(0));
    for invalid in ["-1", "x", "99999999999999999999999"] {
        let response = get(&running, &format!("/api/events?limit={invalid}"), "");
        assert_eq!(response.status, 400, "{invalid}");
        assert!(response.head.contains("application/problem+json"));
    }
}

#[test]
fn a_draining_proxy_is_not_ready() {
    let running = start(Some("s3cret"));
    for readiness in [Readiness::Draining, Readiness::Starting] {
        running.state.readiness.set(readiness);
        let response = get(&running, "/readyz", "");
        assert_eq!(response.status, 503);
        assert_eq!(response.json()["status"], readiness.as_str());
        assert_eq!(get(&running, "/healthz", "").status, 200);
    }
    running.state.readiness.set(Readiness::Ready);
    assert_eq!(get(&running, "/readyz", "").status, 200);
}

#[test]
fn with_a_token_all_pages_but_the_probes_require_it() {
    let running = start(Some("s3cret"));
    for target in [
        "/",
        "/metrics",
        "/api/events",
        "/api/status",
        "/api/backends",
        "/no-such-page",
    ] {
        for headers in ["", "Authorization: Bearer wrong\r\n"] {
            let response = get(&running, target, headers);
            assert_eq!(response.status, 401, "{target}");
            assert!(response.head.contains("www-authenticate: bearer"));
            assert!(
                response
                    .head
                    .contains("content-type: application/problem+json")
            );
            assert_eq!(response.json()["status"], 401);
            assert!(!response.body.contains("s3cret"));
        }
    }
    let good = "Authorization: Bearer s3cret\r\n";
    assert_eq!(get(&running, "/metrics", good).status, 200);
    assert_eq!(get(&running, "/no-such-page", good).status, 404);
}

#[test]
fn a_foreign_host_is_rejected_without_a_token() {
    let running = start(None);
    let request = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let response = ask(running.admin.address, request);
    assert_eq!(response.status, 403);
    assert!(
        response
            .head
            .contains("content-type: application/problem+json")
    );
    // With a token the listener may be reached by any name.
    let running = start(Some("s3cret"));
    let request = request.replace("\r\n\r\n", "\r\nAuthorization: Bearer s3cret\r\n\r\n");
    assert_eq!(ask(running.admin.address, &request).status, 200);
}

#[test]
fn unknown_pages_and_methods_are_problems() {
    let running = start(None);
    let response = get(&running, "/no-such-page", "");
    assert_eq!(
        (response.status, response.json()["status"].as_u64()),
        (404, Some(404))
    );
    let request = "POST /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Content-Length: 0\r\n\r\n";
    let response = ask(running.admin.address, request);
    assert_eq!(response.status, 405);
    assert!(response.head.contains("allow: get"), "{}", response.head);
    assert_eq!(response.json()["status"], 405);
}

#[test]
fn slow_clients_cannot_keep_out_others() {
    let running = start(None);
    let slow: Vec<TcpStream> = (0..serve::CONNECTIONS_MAX + 10)
        .map(|_| {
            let mut stream = connect(running.admin.address);
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: loc")
                .expect("half a head");
            stream
        })
        .collect();
    assert_eq!(get(&running, "/healthz", "").status, 200);
    // The oldest was closed, well before its timeout.
    let mut oldest = &slow[0];
    let ended = oldest.read(&mut [0; 16]);
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let running = start(None);
    let config = config::AdminApi {
        address: running.admin.address,
        token: None,
    };
    let error = Admin::bind(&config).expect_err("an address in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(
        error.to_string().contains(&config.address.to_string()),
        "{error}"
    );
}

#[test]
fn a_stop_closes_idle_connections_and_frees_the_address() {
    let running = start(None);
    let address = running.admin.address;
    let mut idle = connect(address);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("a request");
    let mut head = [0; 12];
    idle.read_exact(&mut head).expect("a response");
    running.admin.stop();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest)
        .expect("the end of the connection");
    std::net::TcpListener::bind(address).expect("a free address");
}

#[test]
fn a_summary_has_paths_as_configured() {
    let text = "backends: [{name: a, endpoints: ['http://a']}]
routes: [{name: one, path: /v1/chat, backend: a}, {name: two, path: '/static/*', backend: a}]";
    let loaded = crate::config::parse(text, "weir.yaml".as_ref(), &|_| None);
    let config = loaded.expect("a configuration").config;
    let routes = RouteSummary::all(&config);
    let paths: Vec<_> = routes.iter().map(|route| &*route.path).collect();
    assert_eq!(paths, ["/v1/chat", "/static/*"]);
}

#[test]
fn a_rejected_reload_has_its_errors_with_their_positions() {
    let running = start(Some("token"));
    let request = |fields: &str| {
        let request = format!(
            "POST /api/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n{fields}\r\n"
        );
        ask(running.admin.address, &request)
    };
    assert_eq!(request("").status, 401);
    let token = "Authorization: Bearer token\r\n";
    let foreign = request(&format!("{token}Origin: http://evil.example\r\n"));
    assert_eq!(foreign.status, 403);
    let response = request(token);
    assert_eq!(response.status, 422, "{}", response.body);
    let report = response.json();
    assert_eq!(report["outcome"], "rejected");
    assert_eq!(report["changed"], serde_json::json!([]));
    assert_eq!(report["needs_restart"], serde_json::json!([]));
    let errors = report["errors"].as_array().expect("errors");
    let routes = errors.iter().find(|error| error["column"] == 9);
    let routes = routes.expect("the error of `routes`");
    assert_eq!(
        (&routes["file"], &routes["line"]),
        (&"weir.yaml".into(), &1.into())
    );
    assert!(routes["message"].is_string());
    let page = get(&running, "/api/reload", token);
    assert_eq!(page.status, 405, "only POST reloads");
}
