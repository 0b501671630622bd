//! Commands that Redis rejects while it works: a full memory, too few replicas, an ACL; and a Redis that is still loading.

use weir_tests::backend::Backend;
use weir_tests::client::ClientRequest;
use weir_tests::proxy::Proxy;
use weir_tests::redis::Redis;
use weir_tests::wait;

use super::super::purge::purge;
use super::{
    DETAIL_REDIS, PATIENT, connected, entries, following, is_up, setup, start, status, writes,
    written,
};

/// The ACL that docs/caching.md recommends.
const ACL: &str =
    "~weir:* +ping +get +set +del +pttl +eval +evalsha +unlink +scan +xadd +xrange +xrevrange";

const USER_PASSWORD: &str = "acl-secret";

fn acl(redis: &Redis, rules: &str) {
    let mut command = vec!["ACL", "SETUSER", "weir"];
    command.extend(rules.split(' '));
    assert_eq!(redis.run(&command), "OK", "{rules}");
}

/// A proxy that is the user `weir` of a Redis.
async fn start_as_user(backend: &Backend, redis: &Redis) -> Proxy {
    let user = format!("redis://weir:{USER_PASSWORD}@");
    let line = redis.line(PATIENT).replace("redis://", &user);
    let proxy = setup(backend, &line).start().await;
    connected(&proxy, 1.0).await;
    following(&proxy, redis).await;
    proxy
}

async fn reported(proxy: &Proxy, reason: &str) {
    wait::eventually(reason, wait::PATIENCE, || proxy.stderr().contains(reason)).await;
}

#[tokio::test]
async fn writes_that_redis_rejects_are_reported_once_and_what_is_stored_is_still_read() {
    let Some(redis) = Redis::start("writes_that_redis_rejects").await else {
        return;
    };
    let backend = Backend::chat().await;
    let (proxy, reader) = (start(&backend, &redis).await, start(&backend, &redis).await);
    for (setting, rejecting, accepting, reason) in [
        (
            "maxmemory",
            "1",
            "0",
            "it replied OOM: its memory is full (set its `maxmemory-policy` to `allkeys-lru`",
        ),
        (
            "min-replicas-to-write",
            "1",
            "0",
            "it replied NOREPLICAS: it accepts no writes without more replicas",
        ),
    ] {
        let stored = || ClientRequest::chat(&format!("stored before {setting}"));
        let count = entries(&proxy.metrics().await, "written");
        proxy.send(stored()).await;
        written(&proxy, count + 1.0).await;
        redis.run(&["CONFIG", "SET", setting, rejecting]);
        let count = entries(&proxy.metrics().await, "failed");
        for number in 0..3 {
            // The look-up of a stream takes no lease: its write is what fails.
            for request in [ClientRequest::chat_stream, ClientRequest::chat] {
                let miss = proxy.send(request(&format!("{setting} {number}"))).await;
                assert!(status(&miss).starts_with("weir; fwd=miss"));
            }
        }
        let failed = |metrics: &_| entries(metrics, "failed") >= count + 6.0;
        proxy.metrics_when("writes that fail", failed).await;
        reported(&proxy, reason).await;
        assert_eq!(proxy.stderr().matches(reason).count(), 1, "throttled");
        assert_eq!(status(&reader.send(stored()).await), DETAIL_REDIS);
        let purged = purge(&proxy, "").await;
        assert_eq!(purged.status, 503);
        assert!(purged.text().contains(reason), "{}", purged.text());
        assert!(is_up(&proxy.metrics().await), "{setting}");
        redis.run(&["CONFIG", "SET", setting, accepting]);
        assert_eq!(purge(&proxy, "").await.status, 200);
        writes(&proxy, &format!("after {setting}")).await;
    }
}

#[tokio::test]
async fn a_user_with_the_documented_acl_is_enough_and_what_it_may_not_do_is_reported() {
    let Some(redis) = Redis::start("a_user_with_the_documented_acl").await else {
        return;
    };
    acl(&redis, &format!("on >{USER_PASSWORD} {ACL}"));
    let backend = Backend::chat().await;
    let one = start_as_user(&backend, &redis).await;
    let other = start_as_user(&backend, &redis).await;
    for request in [ClientRequest::chat, ClientRequest::chat_stream] {
        let count = entries(&one.metrics().await, "written");
        one.send(request("hi")).await;
        written(&one, count + 1.0).await;
        assert_eq!(status(&other.send(request("hi")).await), DETAIL_REDIS);
    }
    assert_eq!(purge(&one, "").await.status, 200);
    assert!(!one.stderr().contains("NOPERM"), "{}", one.stderr());
    for (command, reason) in [
        ("evalsha", "may not run the command `evalsha`"),
        // The script is not known any more, so that its text is sent.
        ("eval", "may not run the command `eval`"),
        ("set", "may not run the command `set`"),
        ("xadd", "may not run the command `xadd`"),
    ] {
        redis.run(&["SCRIPT", "FLUSH"]);
        acl(&redis, &format!("-{command}"));
        for request in [ClientRequest::chat_stream, ClientRequest::chat] {
            let miss = one.send(request(&format!("without {command}"))).await;
            assert!(status(&miss).starts_with("weir; fwd=miss"), "{command}");
        }
        let purged = purge(&one, "").await.status;
        assert_eq!(purged, if command == "xadd" { 503 } else { 200 });
        let reason = format!("it replied NOPERM: the user of `redis.url` {reason}");
        reported(&one, &reason).await;
        assert_eq!(one.stderr().matches(&reason).count(), 1, "throttled");
        assert!(is_up(&one.metrics().await), "{command}");
        acl(&redis, &format!("+{command}"));
        writes(&one, &format!("with {command}")).await;
    }
    assert!(!one.stderr().contains(USER_PASSWORD), "{}", one.stderr());
}

#[tokio::test]
async fn a_redis_that_is_still_loading_its_data_is_a_miss() {
    let Some(redis) = Redis::start("a_redis_that_is_still_loading").await else {
        return;
    };
    let backend = Backend::chat().await;
    let proxy = start(&backend, &redis).await;
    let fill = "for key = 1, 600 do redis.call('SET', key, string.rep('x', 2000)) end";
    redis.run(&["EVAL", fill, "0"]);
    redis.run(&["SAVE"]);
    redis.kill();
    redis.restart_loading().await;
    let mut number = 0;
    let reason = "cannot be used: it replied LOADING: it has not loaded its data yet";
    let deadline = tokio::time::Instant::now() + wait::PATIENCE;
    while !proxy.stderr().contains(reason) {
        assert!(tokio::time::Instant::now() < deadline, "{}", proxy.stderr());
        number += 1;
        let miss = proxy.send(ClientRequest::chat(&format!("loading {number}")));
        assert!(status(&miss.await).starts_with("weir; fwd=miss"));
        wait::tick().await;
    }
    let purged = purge(&proxy, "").await;
    assert_eq!(purged.status, 503);
    assert!(purged.text().contains("LOADING"), "{}", purged.text());
    redis.kill();
    redis.restart().await;
    connected(&proxy, 2.0).await;
    writes(&proxy, "once it has loaded").await;
}
