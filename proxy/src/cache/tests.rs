use http::{HeaderMap, HeaderValue};

use http::header;

use super::*;
use crate::model::json::Unseen;

mod canonical;
mod key;
mod shown;

const NOW: Duration = Duration::from_secs(1_790_000_000);
const SECOND: Duration = Duration::from_secs(1);
const BODY: &[u8] = br#"{"model":"glm-4","messages":[{"role":"user","content":"Why?"}]}"#;

fn answers(memory_bytes: u64, scope: Scope) -> Answers {
    Answers::new(&Config {
        memory_bytes,
        ttl: Duration::from_secs(60),
        scope,
        ignore_headers: vec![HeaderName::from_static("x-ignored")],
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
    withheld: &'static [HeaderName],
    named: Named,
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
            withheld: &[],
            named: Named::ByWildcard,
        }
    }

    fn with_header(name: &'static str, value: &'static str) -> Self {
        let mut asked = Asked::new();
        asked.headers.append(name, HeaderValue::from_static(value));
        asked
    }

    fn considered(&self, scope: Scope) -> Use {
        let question = Question {
            method: &self.method,
            path: self.path,
            query: self.query,
            host: self.host,
            headers: &self.headers,
            body: self.body,
            client: self.client,
            goes_on: &|name| !self.withheld.contains(name),
            operation: Operation::of(self.path),
            named: self.named,
        };
        answers(1 << 20, scope).consider(&question, &mut Unseen)
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

/// What a backend says of the time of an answer, when its head comes at [`NOW`].
fn copied(answers: &Answers, lines: &[(&'static str, &'static str)]) -> Result<Stored, Unkept> {
    let kind = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let mut copy = answers.copy(200, &headers, &[], NOW)?;
    copy.push("{}");
    Ok(copy.finish(NOW + 2 * SECOND).expect("still fresh"))
}

#[test]
fn a_backend_bounds_the_time_of_its_answer() {
    // The configured time is 60 s; the answer took 2 s to come.
    for (line, age, last) in [
        (("server", "x"), 2, 59),
        (("cache-control", "max-age=30"), 2, 27),
        (("cache-control", "max-age=3600"), 2, 59),
        (("age", "20"), 22, 39),
        (("age", "nonsense"), 2, 59),
    ] {
        let answers = answers(1 << 20, Scope::Client);
        let stored = copied(&answers, &[line]).expect("it may be kept");
        let at = |seconds: u32| NOW + 2 * SECOND + seconds * SECOND;
        assert_eq!(stored.age_s(at(0)), age, "{line:?}");
        assert_eq!(stored.age_s(at(5)), age + 5, "{line:?}");
        answers.keep(numbered(1), stored);
        assert!(answers.lookup(&numbered(1), at(last)).is_some(), "{line:?}");
        assert!(
            answers.lookup(&numbered(1), at(last + 1)).is_none(),
            "{line:?}"
        );
        answers.forget_expired(at(last));
        assert!(answers.bytes() > 0, "{line:?}");
        answers.forget_expired(at(last + 1));
        assert_eq!(answers.bytes(), 0, "{line:?}");
    }
    for line in [
        ("cache-control", "max-age=0"),
        ("cache-control", "max-age=soon"),
        ("expires", "0"),
        ("age", "60"),
    ] {
        let answers = answers(1 << 20, Scope::Client);
        assert_eq!(copied(&answers, &[line]), Err(Unkept::Stale), "{line:?}");
    }
}

#[test]
fn an_answer_whose_time_is_over_before_it_is_whole_is_not_kept() {
    let answers = answers(1 << 20, Scope::Client);
    let kind = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
    headers.append("cache-control", HeaderValue::from_static("max-age=5"));
    let copy = |coming: u32| {
        let copy = answers.copy(200, &headers, &[], NOW).expect("fresh");
        copy.finish(NOW + coming * SECOND)
    };
    assert!(copy(4).is_some());
    assert!(copy(5).is_none());
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
fn what_may_be_copied_fits() {
    for memory in [0, 2_559, 2_600, 4_000, 10_000] {
        let answers = answers(memory, Scope::Client);
        let Ok(stored) = copied(&answers, &[]) else {
            assert!(memory < 4_000, "{memory}");
            continue;
        };
        answers.keep(numbered(1), stored);
        assert!(answers.lookup(&numbered(1), NOW).is_some(), "{memory}");
    }
}

#[test]
fn an_endless_ttl_is_no_panic() {
    let answers = Answers::new(&Config {
        memory_bytes: 1 << 20,
        ttl: Duration::MAX,
        scope: Scope::Route,
        ignore_headers: Vec::new(),
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
