//! Requests while Redis is down, hangs, restarts, is flushed or fails over. What is asserted of a Redis that hangs are
//! numbers of commands, not times: each one waits for `redis.timeout` at most.

use serde_json::{Value, json};
use weir_tests::backend::Backend;
use weir_tests::client::ClientRequest;
use weir_tests::metrics::Metrics;
use weir_tests::proxy::Proxy;
use weir_tests::redis::Redis;
use weir_tests::wait;

use super::{PATIENT, commands, connected, is_up, setup, start, status, writes, written};

fn degraded(metrics: &Metrics) -> f64 {
    metrics.sum("weir_redis_degraded_total", &[("user", "cache")])
}

/// Starts a proxy with a short deadline; its Redis hangs once it has connected.
async fn start_and_hang(backend: &Backend, redis: &Redis) -> Proxy {
    let line = redis.line(", timeout: 300ms");
    let proxy = setup(backend, &line).start().await;
    connected(&proxy, 1.0).await;
    redis.hang();
    proxy
}

#[tokio::test]
async fn a_redis_that_is_down_at_the_start_is_used_once_it_is_up() {
    let Some(redis) = Redis::start("a_redis_that_is_down_at_the_start").await else {
        return;
    };
    redis.kill();
    let backend = Backend::chat().await;
    let proxy = setup(&backend, &redis.line(PATIENT)).start().await;
    proxy
        .metrics_when("Redis is known to be down", |metrics| !is_up(metrics))
        .await;
    assert_eq!(proxy.admin_get("/readyz").await.status, 200);
    let shown = proxy.admin_get("/api/status").await;
    let shown: Value = serde_json::from_slice(&shown.body).expect("JSON");
    assert_eq!(shown["dependencies_down"], json!(["redis"]));
    let miss = proxy.send(ClientRequest::chat("hi")).await;
    assert!(status(&miss).starts_with("weir; fwd=miss"));
    let metrics = proxy.metrics().await;
    assert_eq!(commands(&metrics, "skipped"), 1.0);
    assert!(degraded(&metrics) >= 1.0);
    redis.restart().await;
    connected(&proxy, 1.0).await;
    proxy.send(ClientRequest::chat("hello")).await;
    written(&proxy, 1.0).await;
}

#[tokio::test]
async fn a_redis_that_hangs_delays_the_first_requests_by_its_timeout_and_no_request_after_them() {
    let Some(redis) = Redis::start("a_redis_that_hangs").await else {
        return;
    };
    let backend = Backend::chat().await;
    let proxy = start_and_hang(&backend, &redis).await;
    for number in 0..20 {
        let response = proxy.send(ClientRequest::chat(&format!("{number}"))).await;
        assert!(status(&response).starts_with("weir; fwd=miss"));
    }
    let metrics = proxy.metrics().await;
    // The reader of purges meets the hanging Redis as well, and the breaker counts all of them.
    let waited = commands(&metrics, "timeout");
    assert!(waited <= 3.0, "{waited} requests waited");
    assert!(commands(&metrics, "skipped") >= 17.0);
    assert!(!is_up(&metrics));
    redis.go_on();
    connected(&proxy, 2.0).await;
    writes(&proxy, "once it goes on").await;
}

#[tokio::test]
async fn requests_that_wait_for_a_hanging_redis_at_once_wait_once() {
    let Some(redis) = Redis::start("requests_that_wait_at_once").await else {
        return;
    };
    let backend = Backend::chat().await;
    let proxy = start_and_hang(&backend, &redis).await;
    let requests = (0..50).map(|number| ClientRequest::chat(&format!("{number}")));
    let responses = futures_util::future::join_all(requests.map(|request| proxy.send(request)));
    for response in responses.await {
        assert!(status(&response).starts_with("weir; fwd=miss"));
    }
    let metrics = proxy.metrics().await;
    let (waited, skipped) = (commands(&metrics, "timeout"), commands(&metrics, "skipped"));
    assert!(waited + skipped >= 50.0, "{waited} and {skipped}");
    // Each sent one command at most; the writer may have met the hanging Redis as well.
    assert!(waited <= 53.0, "{waited} commands waited");
    redis.go_on();
}

#[tokio::test]
async fn a_redis_that_restarts_or_is_flushed_or_fails_over_is_used_again() {
    let Some(redis) = Redis::start("a_redis_that_restarts").await else {
        return;
    };
    let backend = Backend::chat().await;
    let proxy = start(&backend, &redis).await;
    writes(&proxy, "at first").await;
    redis.kill();
    redis.restart().await;
    writes(&proxy, "after a restart").await;
    redis.run(&["FLUSHALL"]);
    redis.run(&["SCRIPT", "FLUSH"]);
    writes(&proxy, "after a flush").await;
    // The server behind the address has become a replica: writes are refused until it is promoted.
    let Some(promoted) = Redis::start("a_redis_that_fails_over").await else {
        return;
    };
    redis.run(&["REPLICAOF", "localhost", &promoted.port().to_string()]);
    let mut number = 0;
    while is_up(&proxy.metrics().await) {
        number += 1;
        let response = proxy
            .send(ClientRequest::chat(&format!("replica {number}")))
            .await;
        assert!(status(&response).starts_with("weir; fwd=miss"));
        wait::tick().await;
    }
    redis.run(&["REPLICAOF", "NO", "ONE"]);
    connected(&proxy, 2.0).await;
    writes(&proxy, "after a failover").await;
}
