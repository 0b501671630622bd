use crate::signature::Config;
use crate::signature::testing::entry;

fn clients(scheme: &str, secrets: &[&str], more: &str) -> Config {
    let each = secrets.iter();
    let clients: Vec<_> = each
        .map(|s| format!("{{name: {s}, secrets: [{s}]}}"))
        .collect();
    entry(&format!(
        "{{scheme: {scheme}, clients: [{}]{more}}}",
        clients.join(", ")
    ))
}

fn hmac(secrets: &[&str]) -> Config {
    clients("hmac", secrets, "")
}

fn hmac_with(more: &str) -> Config {
    clients("hmac", &["a"], more)
}

fn bearer(secrets: &[&str]) -> Config {
    clients("bearer", secrets, "")
}

fn is_stricter(ours: &[Config], theirs: &[Config]) -> bool {
    Config::is_stricter(ours, theirs)
}

#[test]
fn a_signature_is_stricter_than_none_and_one_over_the_body_stricter_than_a_key() {
    let without_body = hmac_with(", signed: '{timestamp}.{id}'");
    let token = entry("{scheme: feishu, verification_token: t}");
    let rising = [
        vec![vec![]],
        vec![
            vec![bearer(&["a"])],
            vec![hmac(&["a"]), bearer(&["a"])],
            vec![without_body],
            vec![token],
        ],
        vec![vec![hmac(&["a"])], vec![hmac(&["b", "c"])]],
    ];
    for (low, weaker) in rising.iter().enumerate() {
        for stronger in rising[low + 1..].iter().flatten() {
            for weaker in weaker {
                assert!(is_stricter(stronger, weaker), "{stronger:?} {weaker:?}");
                assert!(!is_stricter(weaker, stronger), "{weaker:?} {stronger:?}");
            }
        }
    }
    assert!(!is_stricter(&[], &[]));
}

#[test]
fn of_two_similar_demands_the_one_that_rejects_the_others_key_is_stricter() {
    let (few, more) = ([hmac(&["a"])], [hmac(&["a", "b"])]);
    assert!(is_stricter(&few, &more) && !is_stricter(&more, &few));
    let (one, other) = ([hmac(&["a"])], [hmac(&["b"])]);
    assert!(is_stricter(&one, &other) && is_stricter(&other, &one));
    assert!(!is_stricter(&one, &one));
    let forgetful = [hmac_with(", replay: 0s")];
    assert!(is_stricter(&one, &forgetful) && !is_stricter(&forgetful, &one));
    let patient = [hmac_with(", tolerance: 15m")];
    assert!(is_stricter(&one, &patient) && !is_stricter(&patient, &one));
    let sha512 = [hmac_with(", algorithm: sha512")];
    assert!(is_stricter(&one, &sha512) && is_stricter(&sha512, &one));
}

#[test]
fn a_key_equals_its_stored_hash() {
    let stored = "sha256:18baa037e0628f8c0919afb914c9c771ee1718e22e9824d9102d4d4404a1d1c1";
    let keyed = |key: &str| entry(&format!("{{scheme: bearer, secrets: ['{key}']}}"));
    assert_eq!(keyed("sk-weir-1"), keyed(stored));
    let hex = entry("{scheme: hmac, secrets: ['6162'], key_encoding: hex}");
    let raw = entry("{scheme: hmac, secrets: [ab]}");
    assert_eq!(hex.demand.clients, raw.demand.clients);
}

#[test]
fn entries_with_equal_settings_are_equal() {
    for (one, other) in [
        ("secrets: [a]", "secrets: [b]"),
        ("secrets: [a]", "clients: [{name: web, secrets: [a]}]"),
        ("secrets: [a]", "secrets: [a], tolerance: 1m"),
        ("secrets: [a]", "secrets: [a], replay: 1h"),
        ("secrets: [a]", "secrets: [a], prefix: 'v2='"),
        ("secrets: [a, b]", "secrets: [b, a]"),
    ] {
        let entry = |keys: &str| entry(&format!("{{scheme: hmac, {keys}}}"));
        assert_eq!(entry(one), entry(one));
        assert_ne!(entry(one), entry(other), "{other}");
    }
    let token = |keys: &str| entry(&format!("{{scheme: feishu, secrets: [k]{keys}}}"));
    assert_ne!(token(""), token(", verification_token: t"));
}
