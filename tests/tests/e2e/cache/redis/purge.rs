//! `DELETE /api/cache` with Redis and several replicas.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{ClientRequest, ClientResponse};
use weir_tests::proxy::Proxy;
use weir_tests::redis::Redis;
use weir_tests::wait;

use super::super::purge::purge;
use super::{DETAIL_REDIS, start, status, written};

const DETAIL_MEMORY: &str = "weir; hit; detail=memory";

/// A backend whose responses differ.
async fn backend() -> Backend {
    let number = AtomicU32::new(0);
    Backend::responding(move |_| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        BackendResponse::chat(&format!("response {number}"))
    })
    .await
}

async fn send(proxy: &Proxy) -> ClientResponse {
    proxy.send(ClientRequest::chat("hi")).await
}

#[tokio::test]
async fn a_purge_at_one_replica_removes_the_response_from_redis_and_from_the_memory_of_both() {
    let Some(redis) = Redis::start("a_purge_at_one_replica").await else {
        return;
    };
    let backend = backend().await;
    let one = start(&backend, &redis).await;
    let other = start(&backend, &redis).await;
    let old = send(&one).await;
    written(&one, 1.0).await;
    assert_eq!(status(&send(&one).await), DETAIL_MEMORY);
    assert_eq!(status(&send(&other).await), DETAIL_REDIS);
    assert_eq!(status(&send(&other).await), DETAIL_MEMORY);
    let purged = purge(&one, "?route=chat").await;
    assert_eq!(purged.status, 200, "{}", purged.text());
    assert_eq!(purged.json(), json!({"purged": 2}), "memory and Redis");
    assert_eq!(redis.keys("weir:{*}:chat:*:entry"), Vec::<String>::new());
    let new = send(&one).await;
    assert!(status(&new).starts_with("weir; fwd=miss"));
    assert_ne!(new.body, old.body);
    let deadline = tokio::time::Instant::now() + wait::PATIENCE;
    while send(&other).await.body == old.body {
        assert!(tokio::time::Instant::now() < deadline, "no purge");
        wait::tick().await;
    }
    // From neither tier of either of them, now that both have purged.
    for proxy in [&one, &other] {
        assert_ne!(send(proxy).await.body, old.body);
    }
}
