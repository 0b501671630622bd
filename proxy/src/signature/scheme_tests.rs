//! The table that every scheme must pass: it walks the list of schemes, and what differs between them is in
//! each scheme's own file ([`Cases`]).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::scheme::Descriptor;
use super::testing::{request, signed, try_entry, verifier};
use super::*;
use crate::exchange::SignatureOutcome::{self, Expired, Invalid, Missing, Replayed, Valid};

const AT_S: u64 = 1_700_000_000;
const SECRET: &str = "current-secret-7f3a";
const PREVIOUS: &str = "previous-secret-91bc";
const BODY: &[u8] = br#"{"model":"m","temperature":0.5}"#;

/// What the table expects of one scheme.
pub(crate) struct Cases {
    /// The header that carries the credential itself.
    pub(crate) credential: &'static str,
    /// Of a request older than `tolerance`.
    pub(crate) stale: SignatureOutcome,
    /// Of a valid signature with another body.
    pub(crate) other_body: SignatureOutcome,
    pub(crate) empty_body: SignatureOutcome,
    /// Of the same request once more.
    pub(crate) again: SignatureOutcome,
}

impl Cases {
    /// Of a scheme that covers time and body, and whose requests are good once.
    pub(crate) const fn of_body(credential: &'static str) -> Self {
        Cases {
            credential,
            stale: Expired,
            other_body: Invalid,
            empty_body: Valid,
            again: Replayed,
        }
    }
}

struct Signed {
    headers: HeaderMap,
    body: Vec<u8>,
}

fn sent(scheme: &Descriptor, secret: &str, body: &[u8]) -> Signed {
    Signed {
        headers: signed(scheme.name, secret, AT_S, body),
        body: body.to_vec(),
    }
}

fn config(scheme: &Descriptor, secrets: &[&str], more: &str) -> Config {
    let (name, secrets) = (scheme.name, secrets.join(", "));
    let windows = match scheme.windows {
        Some(_) => ", tolerance: 300s, replay: 600s",
        None => "",
    };
    let windows = if more.is_empty() { windows } else { more };
    let yaml = format!("{{scheme: {name}, secrets: [{secrets}]{windows}}}");
    try_entry(&yaml, "web").expect("a valid entry")
}

fn rotated(scheme: &Descriptor) -> Verifier {
    verifier(&[config(scheme, &[SECRET, PREVIOUS], "")])
}

fn check(verifier: &Verifier, signed: &Signed, now_s: u64) -> SignatureVerdict {
    let request = request(&signed.headers, &signed.body);
    testing::check(verifier, &request, Duration::from_secs(now_s))
}

/// A request of each scheme is signed with the current secret, changed by `change`, and checked at `now_s`
/// by a new verifier.
fn row(
    case: &str,
    body: &[u8],
    now_s: u64,
    change: impl Fn(&Descriptor, &mut Signed),
    expected: impl Fn(&Cases) -> SignatureOutcome,
) {
    for scheme in schemes::built() {
        let expected = expected(&scheme.cases);
        let mut signed = sent(scheme, SECRET, body);
        change(scheme, &mut signed);
        let verdict = check(&rotated(scheme), &signed, now_s);
        let (name, detail) = (scheme.name, &verdict.detail);
        assert_eq!(verdict.outcome, expected, "{case}: {name}: {detail}");
        assert_eq!(verdict.scheme, name, "{case}");
        leaks_nothing(case, scheme, &verdict, &signed);
        match expected {
            Valid => {
                assert_eq!(verdict.client.as_deref(), Some("web"), "{case}: {name}");
                assert_eq!(verdict.key, Some(0), "{case}: {name}");
                assert!(verdict.response.is_none());
            }
            _ => {
                let by = (&verdict.client, verdict.key);
                assert_eq!(by, (&None, None), "{case}: {name}");
                assert!(!detail.is_empty(), "{case}: {name} has no detail");
            }
        }
    }
}

fn leaks_nothing(case: &str, scheme: &Descriptor, verdict: &SignatureVerdict, signed: &Signed) {
    let shown = format!("{verdict:?}");
    for secret in [SECRET, PREVIOUS] {
        assert!(!shown.contains(secret), "{case}: {shown}");
    }
    let value = signed.headers.get(scheme.cases.credential);
    let value = value.and_then(|value| value.to_str().ok());
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        assert!(!shown.contains(value), "{case}: {shown}");
    }
}

fn credential<'a>(scheme: &Descriptor, headers: &'a mut HeaderMap) -> &'a mut HeaderValue {
    let value = headers.get_mut(scheme.cases.credential);
    value.expect("a signed request")
}

/// The credential with one character changed for another of its alphabet.
fn spoil(scheme: &Descriptor, signed: &mut Signed, at: usize) {
    let value = credential(scheme, &mut signed.headers);
    let mut text = value.as_bytes().to_vec();
    text[at] = if text[at] == b'1' { b'2' } else { b'1' };
    *value = HeaderValue::from_bytes(&text).expect("a value");
}

fn unchanged(_: &Descriptor, _: &mut Signed) {}

#[test]
fn valid_invalid_and_unsigned_requests() {
    row("valid", BODY, AT_S, unchanged, |_| Valid);
    for at in [8, 12] {
        let spoiled = |scheme: &Descriptor, signed: &mut Signed| spoil(scheme, signed, at);
        row("one character", BODY, AT_S, spoiled, |_| Invalid);
    }
    let unsigned = |_: &Descriptor, signed: &mut Signed| signed.headers.clear();
    row("unsigned", BODY, AT_S, unsigned, |_| Missing);
    let longer = |scheme: &Descriptor, signed: &mut Signed| {
        let value = credential(scheme, &mut signed.headers);
        let text = format!("{}00", value.to_str().expect("ASCII"));
        *value = HeaderValue::from_str(&text).expect("a value");
    };
    row("longer", BODY, AT_S, longer, |_| Invalid);
}

#[test]
fn stale_and_future_timestamps() {
    for now_s in [AT_S + 300, AT_S - 300] {
        row("at the edge", BODY, now_s, unchanged, |_| Valid);
    }
    for now_s in [AT_S + 301, AT_S - 301, 0] {
        row("stale", BODY, now_s, unchanged, |cases| cases.stale);
    }
    // Whoever cannot sign does not learn that a timestamp is stale.
    let spoiled = |scheme: &Descriptor, signed: &mut Signed| spoil(scheme, signed, 12);
    row("stale and spoiled", BODY, AT_S + 301, spoiled, |_| Invalid);
}

#[test]
fn a_body_is_covered_or_the_scheme_states_that_it_is_not() {
    let other = |_: &Descriptor, signed: &mut Signed| signed.body[20] ^= 1;
    row("another body", BODY, AT_S, other, |cases| cases.other_body);
    for scheme in schemes::built() {
        let covered = scheme.cases.other_body == Invalid;
        assert_eq!(rotated(scheme).reads_body(), covered, "{}", scheme.name);
    }
}

#[test]
fn empty_and_huge_bodies() {
    row("empty body", b"", AT_S, unchanged, |cases| cases.empty_body);
    let huge = format!("{{\"text\":\"{}\"}}", "\u{4e16}".repeat(350_000));
    assert!(huge.len() > 1024 * 1024);
    row("huge body", huge.as_bytes(), AT_S, unchanged, |_| Valid);
    let last = |_: &Descriptor, signed: &mut Signed| {
        let at = signed.body.len() - 3;
        signed.body[at] ^= 1;
    };
    let other_body = |cases: &Cases| cases.other_body;
    row("huge, spoiled", huge.as_bytes(), AT_S, last, other_body);
}

#[test]
fn every_header_is_rejected_when_empty_twice_or_not_ascii() {
    for scheme in schemes::built() {
        let names: Vec<HeaderName> = sent(scheme, SECRET, BODY).headers.keys().cloned().collect();
        assert!(!names.is_empty());
        for name in names {
            let refused = |case: &str, change: &dyn Fn(&mut Signed)| {
                let mut signed = sent(scheme, SECRET, BODY);
                change(&mut signed);
                let verdict = check(&rotated(scheme), &signed, AT_S);
                let outcome = verdict.outcome;
                assert_eq!(outcome, Invalid, "{case} {name} of {}", scheme.name);
                leaks_nothing(case, scheme, &verdict, &signed);
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
fn an_absent_header_is_missing() {
    for scheme in schemes::built() {
        let names: Vec<HeaderName> = sent(scheme, SECRET, BODY).headers.keys().cloned().collect();
        for name in names {
            let mut signed = sent(scheme, SECRET, BODY);
            signed.headers.remove(&name);
            let verdict = check(&rotated(scheme), &signed, AT_S);
            assert_eq!(verdict.outcome, Missing, "{} without {name}", scheme.name);
            assert!(verdict.detail.contains(name.as_str()), "{}", verdict.detail);
        }
    }
}

#[test]
fn a_request_is_good_once() {
    for scheme in schemes::built() {
        let verifier = rotated(scheme);
        let signed = sent(scheme, SECRET, BODY);
        assert_eq!(
            check(&verifier, &signed, AT_S).outcome,
            Valid,
            "{}",
            scheme.name
        );
        let verdict = check(&verifier, &signed, AT_S + 200);
        assert_eq!(verdict.outcome, scheme.cases.again, "{}", scheme.name);
        leaks_nothing("again", scheme, &verdict, &signed);
        // A request that was refused is not remembered.
        let mut spoiled = sent(scheme, PREVIOUS, BODY);
        spoil(scheme, &mut spoiled, 12);
        assert_eq!(
            check(&verifier, &spoiled, AT_S).outcome,
            Invalid,
            "{}",
            scheme.name
        );
    }
}

#[test]
fn a_rejected_request_does_not_affect_the_valid_one_that_follows() {
    for scheme in schemes::built() {
        let verifier = rotated(scheme);
        let mut signed = sent(scheme, SECRET, BODY);
        spoil(scheme, &mut signed, 12);
        assert_eq!(check(&verifier, &signed, AT_S).outcome, Invalid);
        let good = sent(scheme, SECRET, BODY);
        assert_eq!(
            check(&verifier, &good, AT_S).outcome,
            Valid,
            "{}",
            scheme.name
        );
    }
}

#[test]
fn of_equal_requests_at_once_one_is_valid() {
    let once = schemes::built().filter(|scheme| scheme.cases.again == Replayed);
    for scheme in once {
        for _ in 0..20 {
            let verifier = rotated(scheme);
            let signed = sent(scheme, SECRET, BODY);
            let outcomes: Vec<SignatureOutcome> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| check(&verifier, &signed, AT_S).outcome))
                    .collect();
                let joined = threads.into_iter().map(|thread| thread.join());
                joined.map(|outcome| outcome.expect("no panic")).collect()
            });
            let count = |outcome| outcomes.iter().filter(|one| **one == outcome).count();
            assert_eq!((count(Valid), count(Replayed)), (1, 3), "{}", scheme.name);
        }
    }
}

#[test]
fn without_replay_protection_a_request_is_valid_again() {
    for scheme in schemes::built() {
        let more = scheme
            .windows
            .map_or("", |_| ", tolerance: 300s, replay: 0s");
        let verifier = verifier(&[config(scheme, &[SECRET], more)]);
        let signed = sent(scheme, SECRET, BODY);
        for _ in 0..3 {
            assert_eq!(
                check(&verifier, &signed, AT_S).outcome,
                Valid,
                "{}",
                scheme.name
            );
        }
    }
}

#[test]
fn each_secret_of_a_rotation_is_valid_and_identified_by_its_position() {
    for scheme in schemes::built() {
        let verifier = rotated(scheme);
        let verdict = check(&verifier, &sent(scheme, PREVIOUS, BODY), AT_S);
        assert_eq!(
            (verdict.outcome, verdict.key),
            (Valid, Some(1)),
            "{}",
            scheme.name
        );
        let verdict = check(&verifier, &sent(scheme, "no-such-secret", BODY), AT_S);
        assert_eq!(verdict.outcome, Invalid, "{}", scheme.name);
    }
}

#[test]
fn debug_output_shows_no_secret() {
    for scheme in schemes::built() {
        let config = config(scheme, &[SECRET, PREVIOUS], "");
        let verifier = verifier(std::slice::from_ref(&config));
        for shown in [format!("{config:?}"), format!("{verifier:?}")] {
            let is_shown = shown.contains(SECRET) || shown.contains(PREVIOUS);
            assert!(!is_shown, "{shown}");
        }
    }
}

#[test]
fn settings_without_a_secret_are_errors() {
    for scheme in schemes::built() {
        for secrets in ["", ", secrets: []", ", secrets: ['']", ", secrets: [a, '']"] {
            let yaml = format!("{{scheme: {}{secrets}}}", scheme.name);
            let error = try_entry(&yaml, "web")
                .expect_err("nothing to verify with")
                .to_string();
            let is_named = error.contains("secret") || error.contains("at least one");
            assert!(is_named, "{yaml}: {error}");
        }
    }
}

#[test]
fn every_scheme_is_in_the_schema_and_in_the_documentation() {
    let schema = crate::config::schema();
    let words = &schema["$defs"]["Signature"]["properties"]["scheme"]["anyOf"][0]["enum"];
    let words: Vec<_> = words.as_array().expect("words").iter().collect();
    let documentation = concat!(
        include_str!("../../../README.md"),
        include_str!("../../../deploy/examples/full.yaml")
    );
    let keys = schema["$defs"]["Signature"]["properties"].as_object();
    let keys = keys.expect("keys");
    for listed in &schemes::SCHEMES {
        assert!(words.iter().any(|word| *word == listed.name()));
        for key in listed.settings().keys {
            assert!(keys.contains_key(*key), "{key} of {}", listed.name());
        }
        let is_built = listed.descriptor().is_some();
        let is_documented = documentation.contains(listed.name());
        assert!(is_documented || !is_built, "{}", listed.name());
    }
    assert_eq!(words.len(), schemes::SCHEMES.len());
}
