use http::{HeaderMap, HeaderValue};

use super::*;

mod canonical;

const NOW: Duration = Duration::from_secs(1_790_000_000);
const SECOND: Duration = Duration::from_secs(1);
const BODY: &[u8] = br#"{"model":"glm-4","messages":[{"role":"user","content":"Why?"}]}"#;

fn answers(memory_bytes: u64, scope: Scope) -> Answers {
    Answers::new(&Config {
        memory_bytes,
        ttl: Duration::from_secs(60),
        scope,
    })
}

/// A question whose every part can be changed.
#[derive(Clone)]
struct Asked {
    method: Method,
    path: &'static str,
    query: &'static str,
    host: &'static [u8],
    headers: HeaderMap,
    body: &'static [u8],
    client: &'static str,
    authorization: Authorization,
}

impl Asked {
    fn new() -> Self {
        Asked {
            method: Method::POST,
            path: "/v1/chat/completions",
            query: "",
            host: b"weir.test",
            headers: HeaderMap::new(),
            body: BODY,
            client: "web",
            authorization: Authorization::Forwarded,
        }
    }

    fn with_header(name: &'static str, value: &'static str) -> Self {
        let mut asked = Asked::new();
        asked.headers.append(name, HeaderValue::from_static(value));
        asked
    }

    fn considered(&self, scope: Scope) -> Use {
        answers(1 << 20, scope).consider(&Question {
            method: &self.method,
            path: self.path,
            query: self.query,
            host: self.host,
            headers: &self.headers,
            body: self.body,
            client: self.client,
            authorization: self.authorization,
        })
    }

    fn key(&self, scope: Scope) -> Key {
        match self.considered(scope) {
            Use::Full(key) | Use::Refresh(key) => key,
            Use::Bypass => panic!("bypassed"),
        }
    }
}

fn stored(body_bytes: usize) -> Stored {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/json");
    headers.append(header::CONTENT_TYPE, kind);
    let mut copy = copy::CopyBuffer::new(200, &headers, usize::MAX);
    copy.push(vec![b'x'; body_bytes]);
    copy.finish(NOW).expect("no bound")
}

fn numbered(number: u32) -> Key {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    Key(key)
}

#[test]
fn the_same_question_has_the_same_key() {
    let mut other = Asked::with_header("user-agent", "curl/8");
    other
        .headers
        .append("x-weir-signature", HeaderValue::from_static("v1=00"));
    other.body = br#" {"messages" : [ {"content":"\u0057hy?", "role":"user"} ], "model":"glm-4"} "#;
    assert_eq!(Asked::new().key(Scope::Client), other.key(Scope::Client));
    other.client = "mobile";
    assert_ne!(Asked::new().key(Scope::Client), other.key(Scope::Client));
    assert_eq!(Asked::new().key(Scope::Route), other.key(Scope::Route));
}

#[test]
fn whatever_changes_an_answer_changes_its_key() {
    let base = Asked::new();
    let mut changed = vec![base.clone(); 7];
    changed[5].host = b"weir.test:80";
    changed[6].host = b"";
    changed[0].path = "/v1/chat/completion";
    changed[1].query = "s";
    changed[2].path = "/v1/chat/completionss";
    changed[3].body =
        br#"{"model":"glm-4","messages":[{"role":"user","content":"Why?"}],"stream":true}"#;
    changed[4].body = br#"{"model":"glm-4","messages":[{"role":"user","content":"Why"}]}"#;
    changed.extend(
        [
            ("accept", "text/event-stream"),
            ("accept", ""),
            ("accept-language", "text/event-stream"),
            ("accept-encoding", "gzip"),
            ("authorization", "Bearer a"),
            ("authorization", "Bearer b"),
            ("cookie", "a=b"),
            ("origin", "https://a.example"),
            ("openai-organization", "org"),
        ]
        .map(|(name, value)| Asked::with_header(name, value)),
    );
    let mut twice = Asked::with_header("accept", "a");
    changed.push(twice.clone());
    twice
        .headers
        .append("accept", HeaderValue::from_static("b"));
    changed.push(twice);
    let mut keys: Vec<Key> = changed
        .iter()
        .map(|asked| asked.key(Scope::Route))
        .collect();
    keys.push(base.key(Scope::Route));
    keys.push(base.key(Scope::Client));
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn a_credential_that_stays_at_the_door_changes_nothing() {
    let mut one = Asked::with_header("authorization", "Bearer one");
    let mut other = Asked::with_header("authorization", "Bearer other");
    assert_ne!(one.key(Scope::Route), other.key(Scope::Route));
    one.authorization = Authorization::Verified;
    other.authorization = Authorization::Verified;
    assert_eq!(one.key(Scope::Route), other.key(Scope::Route));
}

#[test]
fn parts_do_not_run_together() {
    let (mut one, mut other) = (Asked::new(), Asked::new());
    (one.path, one.query) = ("/a", "b");
    (other.path, other.query) = ("/ab", "");
    assert_ne!(one.key(Scope::Route), other.key(Scope::Route));
}

#[test]
fn what_the_client_wishes_is_done() {
    for (name, value, wish) in [
        ("cache-control", "no-store", "bypass"),
        ("cache-control", "no-cache, NO-STORE", "bypass"),
        ("cache-control", "No-Cache", "refresh"),
        ("cache-control", "max-age=0", "refresh"),
        ("cache-control", "max-age=10", "full"),
        ("cache-control", "no-stores", "full"),
        ("cache-control", "", "full"),
        ("pragma", "no-cache", "refresh"),
        ("pragma", "x", "full"),
        ("range", "bytes=0-1", "bypass"),
        ("content-encoding", "gzip", "bypass"),
        ("content-encoding", "identity", "full"),
    ] {
        let done = match Asked::with_header(name, value).considered(Scope::Client) {
            Use::Full(_) => "full",
            Use::Refresh(_) => "refresh",
            Use::Bypass => "bypass",
        };
        assert_eq!(done, wish, "{name}: {value}");
    }
    let mut both = Asked::with_header("pragma", "no-cache");
    both.headers
        .append("cache-control", HeaderValue::from_static("max-age=5"));
    assert!(matches!(both.considered(Scope::Client), Use::Full(_)));
    let fresh = Asked::with_header("cache-control", "no-cache").key(Scope::Client);
    assert_eq!(
        fresh,
        Asked::new().key(Scope::Client),
        "it replaces the old one"
    );
}

#[test]
fn only_posted_json_objects_are_looked_for() {
    for method in [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ] {
        let asked = Asked {
            method,
            ..Asked::new()
        };
        assert_eq!(asked.considered(Scope::Client), Use::Bypass);
    }
    for body in [
        &b""[..],
        b"hello",
        b"[1]",
        b"{\"a\":1",
        b"{\"a\":1,\"a\":2}",
        b"\xff",
    ] {
        let asked = Asked {
            body,
            ..Asked::new()
        };
        assert_eq!(asked.considered(Scope::Client), Use::Bypass);
    }
}

#[test]
fn an_answer_is_known_until_its_time_is_over() {
    let answers = answers(1 << 20, Scope::Client);
    let key = numbered(1);
    assert!(answers.lookup(&key, NOW).is_none());
    answers.keep(key, stored(100));
    let hit = answers.lookup(&key, NOW + 59 * SECOND).expect("a hit");
    assert_eq!(hit.age_s(NOW + Duration::from_millis(59_999)), 59);
    assert_eq!(*hit, stored(100));
    assert_eq!(hit.age_s(NOW - SECOND), 0, "the clock was set back");
    assert!(answers.lookup(&key, NOW - SECOND).is_some());
    assert!(answers.lookup(&key, NOW + 60 * SECOND).is_none());
    assert!(answers.lookup(&numbered(2), NOW).is_none());
}

#[test]
fn memory_is_bounded_by_bytes_at_every_moment() {
    let memory = 1_000_000;
    let answers = answers(memory, Scope::Client);
    assert_eq!(answers.answer_bytes_max(), 125_000);
    for number in 0..2_000 {
        answers.keep(numbered(number), stored(100_000));
        let (held, _) = answers.memory.counted_bytes();
        assert!(held <= memory, "{held} bytes after {number}");
        assert_eq!(held, answers.bytes());
    }
    let full = answers.bytes();
    assert!(full <= memory && full > memory / 2, "{full}");
    for number in 0..20_000 {
        answers.keep(numbered(number), stored(10));
    }
    let (held, entries) = answers.memory.counted_bytes();
    assert_eq!(held, answers.bytes());
    assert!(held <= memory && held > memory - 1_000, "{held}");
    assert!(entries < 1_000_000 / ENTRY_OVERHEAD);
}

#[test]
fn the_least_recently_used_answer_goes_first() {
    let answers = answers(10_000, Scope::Client);
    for number in 1..=3 {
        answers.keep(numbered(number), stored(2_300));
    }
    assert!(answers.lookup(&numbered(1), NOW).is_some());
    assert!(answers.bytes() > 7_500);
    answers.keep(numbered(4), stored(2_300));
    let known: Vec<u32> = (1..=4)
        .filter(|number| answers.lookup(&numbered(*number), NOW).is_some())
        .collect();
    assert_eq!(known, [1, 3, 4]);
}

#[test]
fn an_answer_larger_than_the_memory_is_not_kept() {
    let answers = answers(10_000, Scope::Client);
    answers.keep(numbered(1), stored(10_000));
    assert!(answers.lookup(&numbered(1), NOW).is_none());
    let none = self::answers(0, Scope::Client);
    none.keep(numbered(1), stored(0));
    assert!(none.lookup(&numbered(1), NOW).is_none());
}

#[test]
fn an_endless_ttl_is_no_panic() {
    let answers = Answers::new(&Config {
        memory_bytes: 1 << 20,
        ttl: Duration::MAX,
        scope: Scope::Route,
    });
    answers.keep(numbered(1), stored(1));
    assert!(answers.lookup(&numbered(1), NOW).is_some());
}

#[test]
fn the_same_key_is_kept_once() {
    let answers = answers(1 << 20, Scope::Client);
    answers.keep(numbered(1), stored(5_000));
    answers.keep(numbered(1), stored(100));
    assert_eq!(answers.memory.counted_bytes(), (answers.bytes(), 1));
    let hit = answers.lookup(&numbered(1), NOW).expect("a hit");
    assert_eq!(*hit, stored(100));
}

#[test]
fn expired_answers_leave_the_memory() {
    let answers = answers(1 << 20, Scope::Client);
    for number in 0..10 {
        let mut stored = stored(100);
        stored.stored_at += u32::from(number >= 5) * 30 * SECOND;
        answers.keep(numbered(number), stored);
    }
    answers.forget_expired(NOW + 59 * SECOND);
    assert_eq!(answers.memory.counted_bytes().1, 10);
    answers.forget_expired(NOW + 60 * SECOND);
    assert_eq!(answers.memory.counted_bytes().1, 5);
    answers.forget_expired(NOW + 90 * SECOND);
    assert_eq!(answers.memory.counted_bytes(), (0, 0));
    assert_eq!(answers.bytes(), 0);
}

#[test]
fn every_status_says_what_the_design_fixes() {
    assert_eq!(status::Status::Hit.header(), "weir; hit; detail=memory");
    assert_eq!(status::Status::Miss.header(), "weir; fwd=miss");
    assert_eq!(
        status::Status::MissStored.header(),
        "weir; fwd=miss; stored"
    );
    assert_eq!(status::Status::Bypass.header(), "weir; fwd=bypass");
    assert_eq!(status::Status::Refresh.header(), "weir; fwd=request");
}
