//! The tier on a real Redis, over a Unix socket.

use std::process::{Child, Command, Stdio};

use http::HeaderMap;
use parking_lot::Mutex;
use prometheus::IntGauge;
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::*;
use crate::cache::copy::CopyBuffer;
use crate::cache::purge::PurgeRequest;
use crate::redis::keeper;
use crate::settings::secret::SecretText;
use crate::worker::Worker;

const PATIENCE: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_secs(60);
const SETTINGS: &str = "0123456789abcdef";

type FollowedPurges = Arc<Mutex<Vec<PurgeRequest>>>;

/// Killed when dropped.
struct RedisServer {
    child: Child,
    directory: TempDir,
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl RedisServer {
    /// `None` if there is no Redis, except in CI.
    fn start() -> Option<Self> {
        let directory = TempDir::new().expect("a temporary directory");
        let arguments = ["--port", "0", "--save", "", "--unixsocket", "redis.sock"];
        let child = Command::new("redis-server")
            .args(arguments)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(RedisServer { child, directory }),
            Err(error) => {
                let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
                assert!(!in_ci, "redis-server does not start: {error}");
                eprintln!("SKIPPED: redis-server does not start: {error}");
                None
            }
        }
    }

    /// A replica that is connected, writes its queue, and notes the purges that it follows.
    async fn replica(&self) -> (Arc<SharedTier>, FollowedPurges) {
        let socket = self.directory.path().join("redis.sock");
        let tier = SharedTier::new(&redis::Config {
            url: SecretText::from(format!("unix://{}", socket.display())),
            timeout: PATIENCE,
        });
        let up = IntGauge::new("up", "Up.").expect("a gauge");
        let workers = vec![Handle::current()];
        let worker = Worker::unexposed("redis");
        let keeping = keeper::keep_connected(tier.redis().clone(), workers, up, worker);
        tokio::spawn(keeping);
        tokio::spawn(tier.clone().write_queued());
        let purges = Arc::new(Mutex::new(Vec::new()));
        let noted = purges.clone();
        let follow = tier
            .clone()
            .follow_purges(move |purge| noted.lock().push(purge.clone()));
        tokio::spawn(follow);
        // The first one is that of a replica that cannot know which purges it has missed.
        until(async || purges.lock().contains(&PurgeRequest::default())).await;
        (tier, purges)
    }
}

async fn until(is_met: impl AsyncFn() -> bool) {
    let polling = async {
        while !is_met().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, polling)
        .await
        .expect("in time");
}

fn key(first: u8) -> CacheKey {
    let mut key = [7; 32];
    key[0] = first;
    CacheKey(key)
}

fn response() -> CachedResponse {
    let mut copy = CopyBuffer::new(200, &HeaderMap::new(), 1_000);
    copy.push("what is a weir?");
    copy.finish(clock::unix_now()).expect("small enough")
}

/// Waits until a replica has purged its memory.
async fn followed(purges: &FollowedPurges, purge: &PurgeRequest) {
    until(async || purges.lock().contains(purge)).await;
}

async fn is_hit(tier: &RedisTier, key: &CacheKey) -> bool {
    matches!(tier.look_up(key, LeaseUse::None).await, RedisLookup::Hit(_))
}

#[tokio::test]
async fn purges_remove_entries_and_reach_every_replica() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let (one, of_one) = server.replica().await;
    let (_other, of_other) = server.replica().await;
    let tier = |route| RedisTier::new(&one, route, SETTINGS, TTL);
    let (chat, files) = (tier("chat"), tier("chat:files"));
    let fill = async || {
        for (tier, first) in [(&chat, 0x0a), (&chat, 0x0b), (&files, 0x0c)] {
            tier.write_behind(key(first), response(), None, clock::now());
            until(async || is_hit(tier, &key(first)).await).await;
        }
    };
    let purge = |route: Option<&str>, key: Option<&str>| PurgeRequest {
        route: route.map(str::to_owned),
        key: key.map(str::to_owned),
    };
    for (purge, count) in [
        (purge(Some("chat"), None), 2),
        (purge(None, Some("0b07")), 1),
        (purge(Some("chat:files"), Some("0a")), 0),
        (purge(None, Some("*")), 0),
        (purge(None, None), 3),
    ] {
        fill().await;
        of_one.lock().clear();
        of_other.lock().clear();
        assert_eq!(
            one.purge(&purge).await.expect("a reply"),
            count,
            "{purge:?}"
        );
        followed(&of_other, &purge).await;
        // It has purged its own memory before.
        assert!(!of_one.lock().contains(&purge));
    }
    assert!(!is_hit(&files, &key(0x0c)).await);
}

/// Sends a command that returns a status.
async fn send(tier: &SharedTier, command: &::redis::Cmd) {
    let sent: Result<Value, _> = tier.redis().command(RedisUser::Purge, command).await;
    sent.expect("a reply");
}

/// Writes an entry as a replica does that knew no purges when the request was asked.
async fn write_as_of_old(tier: &RedisTier, key: &CacheKey) {
    let entry = entry::encode(key, &response(), PurgePosition::default());
    let mut set = cmd("SET");
    set.arg(Names::new(key, &tier.suffix).entry)
        .arg(entry.expect("small enough"));
    send(&tier.shared, &set).await;
}

#[tokio::test]
async fn an_entry_from_before_a_purge_is_a_miss_whoever_writes_it_later() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let (one, _) = server.replica().await;
    let (other, of_other) = server.replica().await;
    let tier = |shared| RedisTier::new(shared, "chat", SETTINGS, TTL);
    let asked_at = clock::now();
    let purge = PurgeRequest {
        route: Some("chat".to_owned()),
        key: None,
    };
    one.purge(&purge).await.expect("a reply");
    // The replica that was purged, and has its own response to a request from before.
    tier(&one).write_behind(key(1), response(), None, asked_at);
    // Another one, which may not have read the purge yet.
    write_as_of_old(&tier(&other), &key(2)).await;
    for first in [1, 2] {
        assert!(!is_hit(&tier(&one), &key(first)).await, "{first}");
    }
    followed(&of_other, &purge).await;
    let (late, _) = server.replica().await;
    for replica in [&other, &late] {
        assert!(!is_hit(&tier(replica), &key(2)).await);
    }
    let files = RedisTier::new(&one, "files", SETTINGS, TTL);
    write_as_of_old(&files, &key(2)).await;
    assert!(is_hit(&files, &key(2)).await, "of another route");
    for replica in [&one, &other] {
        tier(replica).write_behind(key(2), response(), None, clock::now());
        until(async || is_hit(&tier(&late), &key(2)).await).await;
        write_as_of_old(&tier(&other), &key(2)).await;
    }
}

#[tokio::test]
async fn what_a_redis_has_again_from_before_a_purge_is_removed() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let (one, purges) = server.replica().await;
    let tier = RedisTier::new(&one, "chat", SETTINGS, TTL);
    one.purge(&PurgeRequest::default()).await.expect("a reply");
    purges.lock().clear();
    // As a snapshot has it from before the purge.
    let mut delete = cmd("DEL");
    send(&one, delete.arg("weir:purges")).await;
    let mut add = cmd("XADD");
    add.arg("weir:purges").arg("1-1");
    send(&one, add.arg("route").arg("").arg("key").arg("none")).await;
    write_as_of_old(&tier, &key(1)).await;
    assert!(!is_hit(&tier, &key(1)).await);
    let entry = Names::new(&key(1), &tier.suffix).entry;
    until(async || {
        let mut exists = cmd("EXISTS");
        exists.arg(&entry);
        let exists = one.redis().command(RedisUser::Purge, &exists).await;
        exists.is_ok_and(|exists: u8| exists == 0)
    })
    .await;
    followed(&purges, &PurgeRequest::default()).await;
    let (late, _) = server.replica().await;
    let late = RedisTier::new(&late, "chat", SETTINGS, TTL);
    write_as_of_old(&late, &key(1)).await;
    assert!(!is_hit(&late, &key(1)).await, "one that has begun since");
}

/// How many look-ups with a lease Redis has got.
async fn look_ups(tier: &SharedTier) -> u32 {
    let mut info = cmd("INFO");
    info.arg("commandstats");
    let stats = tier.redis().command(RedisUser::Cache, &info).await;
    let stats: String = stats.expect("a reply");
    let calls = |line: &str| {
        let (calls, _) = line
            .strip_prefix("cmdstat_evalsha:calls=")?
            .split_once(',')?;
        calls.parse().ok()
    };
    stats.lines().find_map(calls).unwrap_or(0)
}

#[tokio::test]
async fn nobody_waits_for_a_lease_that_was_taken_long_ago() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let (one, _) = server.replica().await;
    let tier = RedisTier::new(&one, "chat", SETTINGS, TTL);
    let lease = Names::new(&key(1), &tier.suffix).lease;
    for (left_ms, is_waited_for) in [(60_000, true), (8_999, false)] {
        let mut take = cmd("SET");
        take.arg(&lease).arg("other").arg("PX").arg(left_ms);
        let taken = one.redis().command(RedisUser::Cache, &take).await;
        let _: () = taken.expect("a reply");
        let before = look_ups(&one).await;
        let found = tier.look_up(&key(1), LeaseUse::Taken).await;
        assert!(matches!(found, RedisLookup::Miss(None)), "{found:?}");
        let is_repeated = look_ups(&one).await > before + 1;
        assert_eq!(is_repeated, is_waited_for, "{left_ms}");
    }
}

#[tokio::test]
async fn a_purge_removes_leases_and_counts_entries() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let (one, _) = server.replica().await;
    let (other, _) = server.replica().await;
    let tier = |shared| RedisTier::new(shared, "chat", SETTINGS, TTL);
    tier(&one).write_behind(key(2), response(), None, clock::now());
    until(async || is_hit(&tier(&one), &key(2)).await).await;
    let RedisLookup::Miss(Some(held)) = tier(&one).look_up(&key(1), LeaseUse::Taken).await else {
        panic!("the first one gets the lease");
    };
    let purged = one.purge(&PurgeRequest::default()).await;
    assert_eq!(purged.expect("a reply"), 1);
    let before = look_ups(&other).await;
    let found = tier(&other).look_up(&key(1), LeaseUse::Taken).await;
    assert!(matches!(found, RedisLookup::Miss(Some(_))), "{found:?}");
    assert_eq!(look_ups(&other).await, before + 1);
    drop(held);
}

#[tokio::test]
async fn a_lease_is_held_by_one_and_released_when_it_is_dropped_or_cancelled() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let (one, _) = server.replica().await;
    let tier = RedisTier::new(&one, "chat", SETTINGS, TTL);
    let look_up = async || tier.look_up(&key(1), LeaseUse::Taken).await;
    let RedisLookup::Miss(Some(lease)) = look_up().await else {
        panic!("the first one gets the lease");
    };
    let waiting = async {
        let RedisLookup::Miss(second) = look_up().await else {
            panic!("there is no entry");
        };
        second
    };
    // The second one waits, and gets the lease once it is released; or it has given up before.
    let release = async { drop(lease) };
    let (second, ()) = tokio::join!(waiting, release);
    drop(second);
    // One that is cancelled may have taken it.
    let cancelled = tokio::time::timeout(Duration::ZERO, look_up()).await;
    drop(cancelled);
    until(async || matches!(look_up().await, RedisLookup::Miss(Some(_)))).await;
    tier.write_behind(key(1), response(), None, clock::now());
    until(async || matches!(look_up().await, RedisLookup::Hit(_))).await;
}

#[tokio::test]
async fn a_replica_that_begins_knows_the_last_purges_of_a_long_stream() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let (one, _) = server.replica().await;
    let tier = |shared| RedisTier::new(shared, "chat", SETTINGS, TTL);
    let mut fill = cmd("EVAL");
    fill.arg(
        "for i = 1, 2000 do redis.call('XADD', KEYS[1], '*', 'route', 'files', 'key', '') end",
    );
    fill.arg(1).arg("weir:purges");
    send(&one, &fill).await;
    let (late, _) = server.replica().await;
    // From before a purge that is no longer known.
    write_as_of_old(&tier(&one), &key(1)).await;
    assert!(!is_hit(&tier(&late), &key(1)).await);
    tier(&late).write_behind(key(1), response(), None, clock::now());
    until(async || is_hit(&tier(&late), &key(1)).await).await;
}
