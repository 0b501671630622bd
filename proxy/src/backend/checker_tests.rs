use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::address::{EndpointAddress, EndpointConfig};
use super::super::health::{ExpectedStatus, HealthStatus};
use super::super::tls::TlsClients;
use super::*;
use crate::config;

const PATIENCE: Duration = Duration::from_secs(60);

/// A backend at this address, checked every few milliseconds.
fn backend(name: &str, authority: &str, timeout: Duration) -> Arc<Backend> {
    let mut config = Config::clone(&config::defaults().expect("the defaults").config.backends[0]);
    config.name = name.into();
    config.endpoints = vec![EndpointConfig {
        address: EndpointAddress::Http(authority.parse().expect("an authority")),
        text: format!("http://{authority}").into(),
    }];
    config.path_prefix = "/prefix".to_owned();
    config.health_check = Some(HealthCheckConfig {
        path: "/health?deep=1".parse().expect("a path"),
        interval: Duration::from_millis(5),
        timeout,
        healthy_after: 1,
        unhealthy_after: 1,
        expected: ExpectedStatus::Below500,
    });
    let tls = TlsClients::with_system_roots().get(None);
    Arc::new(Backend::new(Arc::new(config), &tls))
}

/// Accepts connections, reads a head from each, and writes `response`; keeps it open until the client closes it.
async fn responding(response: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let open = Arc::new(AtomicUsize::new(0));
    let counted = open.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let counted = counted.clone();
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                assert!(
                    head.starts_with("GET /health?deep=1 HTTP/1.1\r\n"),
                    "{head}"
                );
                assert!(head.contains("connection: close\r\n"), "{head}");
                let _ = stream.write_all(response.as_bytes()).await;
                let _ = stream.read(&mut [0; 64]).await;
                counted.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, open)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(head).expect("text")
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let met = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(met.is_ok(), "timed out waiting for {what}");
}

async fn result(authority: &str, timeout: Duration) -> CheckResult {
    let backend = backend("a", authority, timeout);
    let config = backend.config();
    let check_config = config.health_check.as_ref().expect("it is checked");
    let endpoint = &backend.endpoints()[0];
    let result = check(endpoint, config, check_config).await;
    result.expect("a result")
}

#[tokio::test]
async fn a_check_passes_or_fails_with_its_reason() {
    for (response, verdict, detail) in [
        (
            "HTTP/1.1 204 No Content\r\n\r\n",
            CheckVerdict::Passed,
            "status 204",
        ),
        // The body never ends.
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab",
            CheckVerdict::Passed,
            "status 200",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n",
            CheckVerdict::Passed,
            "status 404",
        ),
        (
            "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
            CheckVerdict::Failed,
            "status 503",
        ),
        ("SSH-2.0-x\r\n\r\n", CheckVerdict::Failed, ""),
    ] {
        let (address, open) = responding(response).await;
        let result = result(&address, PATIENCE).await;
        assert_eq!(result.verdict, verdict, "{result:?}");
        assert!(result.detail.starts_with(detail), "{result:?}");
        eventually("the end of the connection", || {
            open.load(Ordering::SeqCst) == 0
        })
        .await;
    }
    let refused = result("127.0.0.1:1", PATIENCE).await;
    assert_eq!(refused.verdict, CheckVerdict::Failed);
    assert!(refused.detail.contains("refused"), "{refused:?}");
}

#[tokio::test]
async fn a_check_that_hangs_fails_at_its_timeout_and_closes_its_connection() {
    for response in ["", "HTTP/1.1 200 OK\r\nx-half: "] {
        let (address, open) = responding(response).await;
        let result = result(&address, Duration::from_millis(200)).await;
        assert_eq!(result.verdict, CheckVerdict::Failed);
        assert_eq!(&*result.detail, "no response within 200ms");
        eventually("the end of the connection", || {
            open.load(Ordering::SeqCst) == 0
        })
        .await;
    }
}

#[tokio::test]
async fn exactly_the_endpoints_of_the_backends_in_use_are_checked() {
    let (address, open) = responding("HTTP/1.1 200 OK\r\n\r\n").await;
    let (hanging, hanging_open) = responding("").await;
    let (one, other) = (
        backend("one", &address, PATIENCE),
        backend("other", &hanging, PATIENCE),
    );
    let mut checks = HealthChecks::default();
    checks.set([&one, &other, &one]);
    assert_eq!(checks.running.len(), 2);
    let is_healthy = || one.endpoints()[0].health() == HealthStatus::Healthy;
    eventually("the first check", is_healthy).await;
    eventually("a check that hangs", || {
        hanging_open.load(Ordering::SeqCst) == 1
    })
    .await;
    let task = checks.running[&one.endpoints()[0].pool_key()].task.id();
    checks.set([&one]);
    assert_eq!(checks.running.len(), 1);
    let same = checks.running[&one.endpoints()[0].pool_key()].task.id();
    assert_eq!(same, task, "a task that is running goes on");
    eventually("the end of a removed check", || {
        hanging_open.load(Ordering::SeqCst) == 0
    })
    .await;
    assert_eq!(other.endpoints()[0].health(), HealthStatus::Unknown);
    drop(checks);
    eventually("the end of all checks", || open.load(Ordering::SeqCst) == 0).await;
    // Only the backend itself holds its endpoint.
    eventually("the end of the tasks", || {
        Arc::strong_count(&one.endpoints()[0]) == 1
    })
    .await;
}

#[test]
fn the_time_between_two_checks_has_a_jitter() {
    let interval = Duration::from_secs(5);
    for (random, ms) in [(0, 4500), (u32::MAX / 2, 5000), (u32::MAX, 5500)] {
        let wait = wait_after(interval, random);
        assert!(wait.as_millis().abs_diff(ms) <= 1, "{wait:?}");
    }
}
