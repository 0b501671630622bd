//! The table that every scheme must pass. A new scheme is one more column.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::exchange::SignatureOutcome::{self, Expired, Invalid, Missing, Replayed, Valid};

const AT_S: u64 = 1_700_000_000;
const TOLERANCE: Duration = Duration::from_secs(300);
const SECRET: &str = "current-secret-7f3a";
const PREVIOUS: &str = "previous-secret-91bc";
const BODY: &[u8] = br#"{"model":"m","temperature":0.5}"#;

/// The outcomes in this order: hmac, bearer, feishu, simple_sha256.
const COLUMNS: [&str; 4] = sign::SCHEMES;

type Outcomes = [SignatureOutcome; COLUMNS.len()];

struct Signed {
    headers: HeaderMap,
    body: Vec<u8>,
}

fn sent(scheme: &str, secret: &str, body: &[u8]) -> Signed {
    let mut headers = HeaderMap::new();
    for (name, value) in sign::sign(scheme, secret, AT_S, "id-1", body).expect("signs") {
        headers.insert(
            HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            HeaderValue::from_str(&value).expect("a value"),
        );
    }
    Signed {
        headers,
        body: body.to_vec(),
    }
}

fn config(scheme: &str, secrets: &[&str]) -> Config {
    let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    let clients = vec![Client {
        name: Arc::from("web"),
        secrets: secrets.clone(),
    }];
    Config {
        scheme: match scheme {
            "hmac" => SchemeConfig::Hmac(HmacConfig::weir(clients)),
            "bearer" => SchemeConfig::Bearer { clients },
            "feishu" => SchemeConfig::Feishu {
                encrypt_keys: secrets,
                verification_token: None,
            },
            "simple_sha256" => SchemeConfig::SimpleSha256 { secrets },
            other => panic!("{other} has no column"),
        },
        tolerance: TOLERANCE,
        replay: Duration::from_secs(600),
    }
}

fn gate(scheme: &str) -> Gate {
    let schemes = [config(scheme, &[SECRET, PREVIOUS])];
    Gate::new(&schemes, &Arc::from("web")).expect("a gate")
}

fn check(gate: &Gate, signed: &Signed, now_s: u64) -> Verdict {
    let request = Request {
        method: &Method::POST,
        path: "/v1/chat/completions",
        query: "",
        headers: &signed.headers,
        body: &signed.body,
    };
    gate.check(&request, Duration::from_secs(now_s))
}

/// Each column's request is signed with the current secret, changed by `change`, and checked at
/// `now_s` by a new gate.
fn row(case: &str, body: &[u8], now_s: u64, change: impl Fn(&mut Signed), expected: Outcomes) {
    for (scheme, expected) in COLUMNS.into_iter().zip(expected) {
        let mut signed = sent(scheme, SECRET, body);
        change(&mut signed);
        let verdict = check(&gate(scheme), &signed, now_s);
        assert_eq!(
            verdict.outcome, expected,
            "{case}: {scheme}: {}",
            verdict.detail
        );
        assert_eq!(verdict.scheme, scheme, "{case}");
        leaks_nothing(case, &verdict, &signed);
        match expected {
            Valid => {
                assert_eq!(verdict.client.as_deref(), Some("web"), "{case}: {scheme}");
                assert_eq!(verdict.key, Some(0), "{case}: {scheme}");
                assert!(verdict.answer.is_none());
            }
            _ => {
                assert_eq!(
                    (verdict.client, verdict.key),
                    (None, None),
                    "{case}: {scheme}"
                );
                assert!(!verdict.detail.is_empty(), "{case}: {scheme} says nothing");
            }
        }
    }
}

fn leaks_nothing(case: &str, verdict: &Verdict, signed: &Signed) {
    let shown = format!("{verdict:?}");
    for secret in [SECRET, PREVIOUS] {
        assert!(!shown.contains(secret), "{case}: {shown}");
    }
    for name in ["x-weir-signature", "x-lark-signature", "x-signature"] {
        let value = signed
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok());
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            assert!(!shown.contains(value), "{case}: {shown}");
        }
    }
}

/// The header that carries the credential itself.
fn credential(headers: &mut HeaderMap) -> &mut HeaderValue {
    let name = [
        "x-weir-signature",
        "authorization",
        "x-lark-signature",
        "x-signature",
    ]
    .into_iter()
    .find(|name| headers.contains_key(*name))
    .expect("a signed request");
    headers.get_mut(name).expect("just found")
}

/// The credential with one character changed for another of its alphabet.
fn spoil(signed: &mut Signed, place: usize) {
    let value = credential(&mut signed.headers);
    let mut text = value.as_bytes().to_vec();
    text[place] = if text[place] == b'1' { b'2' } else { b'1' };
    *value = HeaderValue::from_bytes(&text).expect("a value");
}

fn unchanged(_: &mut Signed) {}

#[test]
fn good_and_bad() {
    row("good", BODY, AT_S, unchanged, [Valid; 4]);
    row(
        "first character",
        BODY,
        AT_S,
        |signed| spoil(signed, 8),
        [Invalid; 4],
    );
    row(
        "middle",
        BODY,
        AT_S,
        |signed| spoil(signed, 12),
        [Invalid; 4],
    );
    let unsigned = |signed: &mut Signed| signed.headers.clear();
    row("unsigned", BODY, AT_S, unsigned, [Missing; 4]);
    let longer = |signed: &mut Signed| {
        let value = credential(&mut signed.headers);
        let text = format!("{}00", value.to_str().expect("ASCII"));
        *value = HeaderValue::from_str(&text).expect("a value");
    };
    row("longer", BODY, AT_S, longer, [Invalid; 4]);
}

#[test]
fn stale_and_from_the_future() {
    let edges = [AT_S + 300, AT_S - 300];
    for now_s in edges {
        row("at the edge", BODY, now_s, unchanged, [Valid; 4]);
    }
    let expired = [Expired, Valid, Expired, Expired];
    row("stale", BODY, AT_S + 301, unchanged, expired);
    row("from the future", BODY, AT_S - 301, unchanged, expired);
    row("at the epoch", BODY, 0, unchanged, expired);
    // Who cannot sign does not learn that a timestamp is stale.
    let spoiled = |signed: &mut Signed| spoil(signed, 12);
    row("stale and bad", BODY, AT_S + 301, spoiled, [Invalid; 4]);
}

#[test]
fn a_body_is_covered_or_the_gate_says_that_it_is_not() {
    let other = |signed: &mut Signed| signed.body[20] ^= 1;
    row(
        "another body",
        BODY,
        AT_S,
        other,
        [Invalid, Valid, Invalid, Valid],
    );
    for (scheme, covered) in COLUMNS.into_iter().zip([true, false, true, false]) {
        assert_eq!(gate(scheme).covers_body(), covered, "{scheme}");
    }
}

#[test]
fn empty_and_huge_bodies() {
    // Feishu never sends a body that is not JSON.
    row(
        "empty body",
        b"",
        AT_S,
        unchanged,
        [Valid, Valid, Invalid, Valid],
    );
    let huge = format!("{{\"text\":\"{}\"}}", "\u{4e16}".repeat(350_000));
    assert!(huge.len() > 1024 * 1024);
    row("huge body", huge.as_bytes(), AT_S, unchanged, [Valid; 4]);
    let last = |signed: &mut Signed| {
        let at = signed.body.len() - 3;
        signed.body[at] ^= 1;
    };
    row(
        "huge, spoiled",
        huge.as_bytes(),
        AT_S,
        last,
        [Invalid, Valid, Invalid, Valid],
    );
}

#[test]
fn every_header_is_refused_when_empty_twice_or_not_ascii() {
    for (column, scheme) in COLUMNS.into_iter().enumerate() {
        let names: Vec<HeaderName> = sent(scheme, SECRET, BODY).headers.keys().cloned().collect();
        assert!(!names.is_empty());
        for name in names {
            let refused = |case: &str, change: &dyn Fn(&mut Signed)| {
                let mut signed = sent(scheme, SECRET, BODY);
                change(&mut signed);
                let verdict = check(&gate(scheme), &signed, AT_S);
                let outcome = verdict.outcome;
                assert_eq!(outcome, Invalid, "{case} {name} of {}", COLUMNS[column]);
                leaks_nothing(case, &verdict, &signed);
            };
            refused("empty", &|signed| {
                signed.headers.insert(&name, HeaderValue::from_static(""));
            });
            refused("not ASCII", &|signed| {
                let bytes = HeaderValue::from_bytes(b"v1=\xff\xfe\xe4\xb8\x96");
                signed.headers.insert(&name, bytes.expect("a value"));
            });
            refused("twice", &|signed| {
                let same = signed.headers.get(&name).expect("there").clone();
                signed.headers.append(&name, same);
            });
        }
    }
}

#[test]
fn a_header_that_is_not_there_is_missing() {
    for scheme in COLUMNS {
        let names: Vec<HeaderName> = sent(scheme, SECRET, BODY).headers.keys().cloned().collect();
        for name in names {
            let mut signed = sent(scheme, SECRET, BODY);
            signed.headers.remove(&name);
            let verdict = check(&gate(scheme), &signed, AT_S);
            assert_eq!(verdict.outcome, Missing, "{scheme} without {name}");
            assert!(verdict.detail.contains(name.as_str()), "{}", verdict.detail);
        }
    }
}

#[test]
fn a_request_is_good_once() {
    for (scheme, again) in COLUMNS
        .into_iter()
        .zip([Replayed, Valid, Replayed, Replayed])
    {
        let gate = gate(scheme);
        let signed = sent(scheme, SECRET, BODY);
        assert_eq!(check(&gate, &signed, AT_S).outcome, Valid, "{scheme}");
        let verdict = check(&gate, &signed, AT_S + 200);
        assert_eq!(verdict.outcome, again, "{scheme}");
        leaks_nothing("again", &verdict, &signed);
        // A request that was refused is not remembered.
        let mut spoiled = sent(scheme, PREVIOUS, BODY);
        spoil(&mut spoiled, 12);
        assert_eq!(check(&gate, &spoiled, AT_S).outcome, Invalid, "{scheme}");
    }
}

#[test]
fn a_refused_request_does_not_spoil_the_good_one_that_follows() {
    for scheme in COLUMNS {
        let gate = gate(scheme);
        let mut signed = sent(scheme, SECRET, BODY);
        spoil(&mut signed, 12);
        assert_eq!(check(&gate, &signed, AT_S).outcome, Invalid);
        let good = sent(scheme, SECRET, BODY);
        assert_eq!(check(&gate, &good, AT_S).outcome, Valid, "{scheme}");
    }
}

#[test]
fn of_equal_requests_at_once_one_is_valid() {
    for scheme in ["hmac", "feishu", "simple_sha256"] {
        for _ in 0..20 {
            let gate = gate(scheme);
            let signed = sent(scheme, SECRET, BODY);
            let outcomes: Vec<SignatureOutcome> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| check(&gate, &signed, AT_S).outcome))
                    .collect();
                let joined = threads.into_iter().map(|thread| thread.join());
                joined.map(|outcome| outcome.expect("no panic")).collect()
            });
            let count = |wanted| outcomes.iter().filter(|one| **one == wanted).count();
            assert_eq!((count(Valid), count(Replayed)), (1, 3), "{scheme}");
        }
    }
}

#[test]
fn without_replay_a_request_is_good_again() {
    for scheme in COLUMNS {
        let mut config = config(scheme, &[SECRET]);
        config.replay = Duration::ZERO;
        let gate = Gate::new(&[config], &Arc::from("web")).expect("a gate");
        let signed = sent(scheme, SECRET, BODY);
        for _ in 0..3 {
            assert_eq!(check(&gate, &signed, AT_S).outcome, Valid, "{scheme}");
        }
    }
}

#[test]
fn each_secret_of_a_rotation_is_good_and_named_by_its_place() {
    for scheme in COLUMNS {
        let gate = gate(scheme);
        let verdict = check(&gate, &sent(scheme, PREVIOUS, BODY), AT_S);
        assert_eq!((verdict.outcome, verdict.key), (Valid, Some(1)), "{scheme}");
        let verdict = check(&gate, &sent(scheme, "no-such-secret", BODY), AT_S);
        assert_eq!(verdict.outcome, Invalid, "{scheme}");
        // The place is that in the file, also when a variable before it is not set.
        let config = config(scheme, &["", SECRET]);
        let gate = Gate::new(&[config], &Arc::from("web")).expect("a gate");
        let verdict = check(&gate, &sent(scheme, SECRET, BODY), AT_S);
        assert_eq!((verdict.outcome, verdict.key), (Valid, Some(1)), "{scheme}");
    }
}

#[test]
fn secrets_are_in_no_debug_text() {
    for scheme in COLUMNS {
        let config = config(scheme, &[SECRET, PREVIOUS]);
        let gate = Gate::new(std::slice::from_ref(&config), &Arc::from("web")).expect("a gate");
        for shown in [format!("{config:?}"), format!("{gate:?}")] {
            assert!(
                !shown.contains(SECRET) && !shown.contains(PREVIOUS),
                "{shown}"
            );
        }
    }
}

#[test]
fn settings_without_a_secret_let_nobody_in() {
    for scheme in COLUMNS {
        for secrets in [&[][..], &[""][..], &["", ""][..]] {
            let config = config(scheme, secrets);
            let message = config.validate().expect_err("nothing to check with");
            assert!(message.contains("secret"), "{message}");
            let gate = Gate::new(&[config], &Arc::from("web")).expect("a gate");
            let signed = sent(scheme, "x", BODY);
            assert_eq!(check(&gate, &signed, AT_S).outcome, Invalid, "{scheme}");
        }
    }
}
