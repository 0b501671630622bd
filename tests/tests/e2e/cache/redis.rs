//! Responses that replicas share in Redis.

use tempfile::TempDir;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::certs::Authority;
use weir_tests::client::{ClientRequest, ClientResponse};
use weir_tests::metrics::Metrics;
use weir_tests::proxy::Proxy;
use weir_tests::redis::{Options, PASSWORD, Redis};
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::CACHED;

mod outages;
mod purge;

/// A deadline that a busy machine keeps.
const PATIENT: &str = ", timeout: 20s";

const DETAIL_REDIS: &str = "weir; hit; detail=redis";

fn setup(backend: &Backend, redis: &str) -> Setup {
    Setup::new(backend)
        .backend_options(&["retry: {attempts: 1}"])
        .routes(CACHED)
        .top(redis)
}

fn commands(metrics: &Metrics, outcome: &str) -> f64 {
    let labels = [("user", "cache"), ("outcome", outcome)];
    metrics.sum("weir_redis_commands_total", &labels)
}

fn entries(metrics: &Metrics, outcome: &str) -> f64 {
    metrics.sum("weir_cache_redis_entries_total", &[("outcome", outcome)])
}

fn is_up(metrics: &Metrics) -> bool {
    metrics.sum("weir_dependency_up", &[("name", "redis")]) == 1.0
}

/// Waits until the proxy has connected, `times` times in all.
async fn connected(proxy: &Proxy, times: f64) {
    let labels = [("user", "probe"), ("outcome", "ok")];
    proxy
        .metrics_when("a connection to Redis", |metrics| {
            metrics.sum("weir_redis_commands_total", &labels) >= times && is_up(metrics)
        })
        .await;
}

/// Waits until the proxy has begun to follow purges: it has purged its memory once.
async fn following(proxy: &Proxy, redis: &Redis) {
    let labels = [("user", "purge"), ("outcome", "ok")];
    let has_read = |metrics: &Metrics| metrics.sum("weir_redis_commands_total", &labels) >= 1.0;
    proxy.metrics_when("a read of the purges", has_read).await;
    wait::eventually("a position in the purges", wait::PATIENCE, || {
        redis.run(&["EXISTS", "weir:purges"]) == "1"
    })
    .await;
}

async fn start(backend: &Backend, redis: &Redis) -> Proxy {
    let proxy = setup(backend, &redis.line(PATIENT)).start().await;
    connected(&proxy, 1.0).await;
    following(&proxy, redis).await;
    proxy
}

/// Sends requests until one more response is written to Redis: some may meet a connection that has broken off.
async fn writes(proxy: &Proxy, what: &str) {
    let before = entries(&proxy.metrics().await, "written");
    let deadline = tokio::time::Instant::now() + wait::PATIENCE;
    let mut number = 0;
    while entries(&proxy.metrics().await, "written") <= before {
        assert!(
            tokio::time::Instant::now() < deadline,
            "nothing is written {what}"
        );
        number += 1;
        let request = ClientRequest::chat(&format!("{number} {what}"));
        assert!(
            status(&proxy.send(request).await).starts_with("weir; fwd=miss"),
            "{what}"
        );
        wait::tick().await;
    }
}

async fn written(proxy: &Proxy, count: f64) {
    let is_written = |metrics: &Metrics| entries(metrics, "written") >= count;
    proxy.metrics_when("an entry in Redis", is_written).await;
}

fn status(response: &ClientResponse) -> &str {
    assert_eq!(response.status, 200);
    response.header("cache-status").expect("a Cache-Status")
}

#[tokio::test]
async fn replicas_share_their_responses() {
    let Some(redis) = Redis::start("replicas_share_their_responses").await else {
        return;
    };
    let backend = Backend::chat().await;
    let one = start(&backend, &redis).await;
    let other = start(&backend, &redis).await;
    let requests: [fn(&str) -> ClientRequest; 2] =
        [ClientRequest::chat, ClientRequest::chat_stream];
    for request in requests {
        let count = entries(&one.metrics().await, "written");
        let miss = one.send(request("hi")).await;
        assert!(status(&miss).starts_with("weir; fwd=miss"));
        written(&one, count + 1.0).await;
        let hit = other.send(request("hi")).await;
        assert_eq!(status(&hit), DETAIL_REDIS);
        assert!(
            hit.header("age")
                .is_some_and(|age| age.parse::<u64>().is_ok())
        );
        assert_eq!(hit.body, miss.body);
        assert_eq!(hit.header("content-type"), miss.header("content-type"));
        let event = other.event_of(&hit).await;
        assert_eq!(event["weir"]["cache"]["outcome"], "hit");
        assert_eq!(event["weir"]["cache"]["tier"], "redis");
        let again = other.send(request("hi")).await;
        assert_eq!(
            status(&again),
            "weir; hit; detail=memory",
            "it fills memory"
        );
    }
    assert_eq!(backend.requests().len(), 2);
    let metrics = other.metrics().await;
    let labels = [("route", "chat"), ("tier", "redis"), ("outcome", "hit")];
    assert_eq!(metrics.sum("weir_cache_lookups_total", &labels), 2.0);
    // No longer than the response is fresh, and no lease is left.
    let keys = redis.keys("weir:{*}:chat:*");
    assert_eq!(keys.len(), 2, "{keys:?}");
    for key in keys {
        let ttl: i64 = redis.run(&["PTTL", &key]).parse().expect("a time");
        assert!((1..=3_600_000).contains(&ttl), "{key}: {ttl}");
    }
}

#[tokio::test]
async fn a_response_is_shared_in_redis_with_its_client_alone() {
    let Some(redis) = Redis::start("a_response_is_shared_with_its_client").await else {
        return;
    };
    let backend = Backend::chat().await;
    let start = || async {
        let by_client = CACHED.replace("scope: route", "scope: client");
        let setup = Setup::new(&backend).routes(&by_client);
        let proxy = setup.top(&redis.line(PATIENT)).start().await;
        connected(&proxy, 1.0).await;
        following(&proxy, &redis).await;
        proxy
    };
    let (one, other) = (start().await, start().await);
    let local = || ClientRequest::chat("hi");
    let of = |address: &str| local().header("x-forwarded-for", address);
    for request in [local(), of("172.17.0.1"), of("192.0.2.1")] {
        assert!(status(&one.send(request).await).starts_with("weir; fwd=miss"));
    }
    written(&one, 1.0).await;
    // One after the other: those of loopback and private addresses would be there already.
    assert_eq!(redis.keys("weir:{*}:chat:*:entry").len(), 1);
    let hit = other.send(of("192.0.2.1")).await;
    assert_eq!(status(&hit), DETAIL_REDIS);
    for request in [local(), of("172.17.0.1"), of("192.0.2.2")] {
        assert!(status(&other.send(request).await).starts_with("weir; fwd=miss"));
    }
}

#[tokio::test]
async fn an_entry_that_is_not_understood_is_ignored_and_replaced() {
    let Some(redis) = Redis::start("an_entry_that_is_not_understood").await else {
        return;
    };
    let backend = Backend::chat().await;
    let one = start(&backend, &redis).await;
    one.send(ClientRequest::chat("hi")).await;
    written(&one, 1.0).await;
    let keys = redis.keys("weir:{*}:chat:*:entry");
    let [key] = &keys[..] else {
        panic!("one entry: {keys:?}");
    };
    // The fifth byte is the version.
    redis.run(&["SETRANGE", key, "4", "~"]);
    let other = start(&backend, &redis).await;
    let miss = other.send(ClientRequest::chat("hi")).await;
    assert!(status(&miss).starts_with("weir; fwd=miss"));
    written(&other, 1.0).await;
    assert_eq!(entries(&other.metrics().await, "invalid"), 1.0);
    let third = start(&backend, &redis).await;
    let hit = third.send(ClientRequest::chat("hi")).await;
    assert_eq!(status(&hit), DETAIL_REDIS);
}

#[tokio::test]
async fn tls_and_a_password_are_used_and_never_shown() {
    let files = TempDir::new().expect("a temporary directory");
    let options = Options::secured(&Authority::new(), &files);
    let Some(redis) = Redis::start_with("tls_and_a_password", options).await else {
        return;
    };
    let backend = Backend::chat().await;
    let roots = files.path().join("ca.pem").display().to_string();
    let proxy = setup(&backend, &redis.line(PATIENT))
        .variable("SSL_CERT_FILE", &roots)
        .variable("RUST_LOG", "debug")
        .start()
        .await;
    connected(&proxy, 1.0).await;
    proxy.send(ClientRequest::chat("hi")).await;
    written(&proxy, 1.0).await;
    // Another password, and an authority that is not trusted.
    let wrong = redis.line(PATIENT).replace(PASSWORD, "wr0ng-secret");
    for (line, reason, variable) in [
        (wrong, "rejected the user or the password", Some(&roots)),
        (redis.line(PATIENT), "certificate", None),
    ] {
        let mut setup = setup(&backend, &line);
        if let Some(roots) = variable {
            setup = setup.variable("SSL_CERT_FILE", roots);
        }
        let proxy = setup.start().await;
        proxy
            .metrics_when("Redis cannot be used", |metrics| !is_up(metrics))
            .await;
        wait::eventually(reason, wait::PATIENCE, || proxy.stderr().contains(reason)).await;
        let stderr = proxy.stderr();
        assert!(!stderr.contains("secret"), "{stderr}");
    }
    let mut shown = proxy.stderr();
    for path in ["/api/status", "/metrics", "/api/events"] {
        shown.push_str(&proxy.admin_get(path).await.text());
    }
    assert!(!shown.contains(PASSWORD), "{shown}");
}

#[tokio::test]
async fn one_of_the_replicas_that_miss_at_the_same_time_calls_the_backend() {
    let Some(redis) = Redis::start("one_of_the_replicas").await else {
        return;
    };
    let backend = Backend::manual().await;
    let one = start(&backend, &redis).await;
    let other = start(&backend, &redis).await;
    let second = async {
        let call = backend.next_request().await;
        for lease in redis.keys("weir:*:lease") {
            // Others wait for a lease that has just been taken.
            redis.run(&["PEXPIRE", &lease, "60000"]);
        }
        let waiting = other.send(ClientRequest::chat("hi"));
        let respond = async {
            let is_waiting = |metrics: &Metrics| commands(metrics, "ok") >= 2.0;
            other.metrics_when("a replica that waits", is_waiting).await;
            call.respond(BackendResponse::chat("well")).await;
        };
        tokio::join!(waiting, respond).0
    };
    let (first, second) = tokio::join!(one.send(ClientRequest::chat("hi")), second);
    assert!(status(&first).starts_with("weir; fwd=miss"));
    assert_eq!(first.body, second.body);
    assert_eq!(status(&second), DETAIL_REDIS);
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn a_stream_does_not_wait_for_that_of_another_replica() {
    let Some(redis) = Redis::start("a_stream_does_not_wait").await else {
        return;
    };
    let backend = Backend::manual().await;
    let one = start(&backend, &redis).await;
    let other = start(&backend, &redis).await;
    let forwarding = async {
        let first = backend.next_request().await;
        assert_eq!(redis.keys("weir:*:lease"), Vec::<String>::new());
        let second = backend.next_request().await;
        assert_eq!(commands(&other.metrics().await, "ok"), 1.0);
        for call in [first, second] {
            call.respond(BackendResponse::chat_stream(&["well"])).await;
        }
    };
    let request = || ClientRequest::chat_stream("hi");
    let (of_one, of_other, ()) =
        tokio::join!(one.send(request()), other.send(request()), forwarding);
    for response in [of_one, of_other] {
        assert!(status(&response).starts_with("weir; fwd=miss"));
    }
}

/// The reload replaces the connection where the URL has changed, and keeps it otherwise.
#[tokio::test]
async fn a_reload_uses_another_redis() {
    let Some(redis) = Redis::start("a_reload_uses_another_redis").await else {
        return;
    };
    let backend = Backend::chat().await;
    let proxy = start(&backend, &redis).await;
    let unused = "redis: {url: redis://127.0.0.1:1/0}";
    let file = proxy.directory().join("weir.yaml");
    let changed = setup(&backend, unused).yaml(proxy.directory());
    std::fs::write(&file, changed).expect("weir.yaml is written");
    proxy.process().sighup();
    proxy
        .metrics_when("the other Redis is down", |metrics| !is_up(metrics))
        .await;
    let original = setup(&backend, &redis.line(PATIENT)).yaml(proxy.directory());
    std::fs::write(&file, original).expect("weir.yaml is written");
    proxy.process().sighup();
    connected(&proxy, 2.0).await;
    proxy.send(ClientRequest::chat("hi")).await;
    written(&proxy, 1.0).await;
}

/// Sends equal requests until one misses: a purge has arrived, and neither tier has the response.
async fn misses(proxy: &Proxy, what: &str) {
    let deadline = tokio::time::Instant::now() + wait::PATIENCE;
    while !status(&proxy.send(ClientRequest::chat("hi")).await).starts_with("weir; fwd=miss") {
        assert!(tokio::time::Instant::now() < deadline, "no purge {what}");
        wait::tick().await;
    }
}

#[tokio::test]
async fn a_purge_of_another_replica_and_one_that_may_have_been_missed_purge_the_memory() {
    let Some(redis) = Redis::start("a_purge_of_another_replica").await else {
        return;
    };
    let backend = Backend::chat().await;
    let proxy = start(&backend, &redis).await;
    // Until both tiers have the response: the purge before may still be removing it from Redis.
    let fill = async || {
        let deadline = tokio::time::Instant::now() + wait::PATIENCE;
        loop {
            let response = proxy.send(ClientRequest::chat("hi")).await;
            let is_hit = status(&response) == "weir; hit; detail=memory";
            if is_hit && redis.keys("weir:{*}:chat:*:entry").len() == 1 {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "nothing is stored");
            wait::tick().await;
        }
    };
    fill().await;
    let of_other_route = ["XADD", "weir:purges", "*", "route", "other", "key", ""];
    redis.run(&of_other_route);
    let of_route = ["XADD", "weir:purges", "*", "route", "chat", "key", ""];
    redis.run(&of_route);
    misses(&proxy, "of the route").await;
    fill().await;
    let of_all = ["XADD", "weir:purges", "*", "route", "", "key", ""];
    redis.run(&of_all);
    misses(&proxy, "of everything").await;
    fill().await;
    // What was announced before is not known any more.
    redis.run(&["FLUSHALL"]);
    misses(&proxy, "after a flush").await;
}
