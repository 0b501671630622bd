//! Several schemes on a route, and what a verifier states of itself.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::shared_stores::SharedStores;
use super::testing::{entry, request, signed, try_entry, verifier};
use super::*;
use crate::exchange::SignatureOutcome::{Handshake, Invalid, Missing, Replayed, Valid};

const NOW: Duration = Duration::from_secs(1_700_000_000);
const BODY: &[u8] = br#"{"q":1}"#;

fn hmac() -> Config {
    entry("{scheme: hmac, clients: [{name: web, secrets: [s3cret]}]}")
}

fn bearer() -> Config {
    entry("{scheme: bearer, clients: [{name: openai, secrets: [sk-1]}]}")
}

fn feishu() -> Config {
    entry("{scheme: feishu, secrets: [key], verification_token: verify-me}")
}

fn feishu_without_key() -> Config {
    entry("{scheme: feishu, verification_token: verify-me}")
}

fn simple_sha256() -> Config {
    entry("{scheme: simple_sha256, secrets: [s3cret]}")
}

fn check(verifier: &Verifier, signatures: &[(&str, &str)], body: &[u8]) -> SignatureVerdict {
    let mut headers = HeaderMap::new();
    for (scheme, secret) in signatures {
        headers.extend(signed(scheme, secret, NOW.as_secs(), body));
    }
    testing::check(verifier, &request(&headers, body), NOW)
}

#[test]
fn a_route_without_schemes_has_no_verifier() {
    assert!(Verifier::new(&[], &SharedStores::new([])).is_none());
}

#[test]
fn the_first_scheme_whose_headers_are_present_decides() {
    let both = verifier(&[hmac(), bearer()]);
    let decides = |signatures: &[(&str, &str)]| {
        let verdict = check(&both, signatures, BODY);
        (verdict.scheme, verdict.outcome)
    };
    assert_eq!(decides(&[("bearer", "sk-1")]), ("bearer", Valid));
    assert_eq!(decides(&[("hmac", "s3cret")]), ("hmac", Valid));
    // A valid API key does not make up for an invalid signature, nor the reverse.
    let wrong = [("hmac", "wrong"), ("bearer", "sk-1")];
    assert_eq!(decides(&wrong), ("hmac", Invalid));
    let other_way = verifier(&[bearer(), hmac()]);
    let verdict = check(&other_way, &[("bearer", "sk-2"), ("hmac", "s3cret")], BODY);
    assert_eq!((verdict.scheme, verdict.outcome), ("bearer", Invalid));
}

#[test]
fn the_detail_of_an_unsigned_request_names_every_way_to_sign() {
    let verdict = check(&verifier(&[hmac(), bearer(), feishu()]), &[], BODY);
    assert_eq!(verdict.outcome, Missing);
    assert_eq!(
        verdict.detail,
        "send x-weir-timestamp, x-weir-id, x-weir-signature (hmac), \
         or authorization: Bearer KEY, x-api-key: KEY or api-key: KEY (bearer), or x-lark-request-timestamp, \
         x-lark-request-nonce and x-lark-signature (feishu)"
    );
}

#[test]
fn a_challenge_names_the_schemes_of_the_route() {
    let challenge = |schemes: &[Config]| {
        let verifier = verifier(schemes);
        verifier.challenge().to_str().expect("ASCII").to_owned()
    };
    assert_eq!(challenge(&[bearer()]), "Bearer");
    assert_eq!(challenge(&[hmac()]), "hmac");
    assert_eq!(
        challenge(&[hmac(), bearer(), feishu()]),
        "hmac, Bearer, feishu"
    );
}

#[test]
fn an_invalid_api_key_has_a_title_of_its_own() {
    let verifier = verifier(&[bearer(), hmac()]);
    let verdict = check(&verifier, &[("bearer", "sk-2")], BODY);
    assert_eq!(verdict.title, Some("Invalid API key"));
    assert_eq!(check(&verifier, &[("hmac", "wrong")], BODY).title, None);
    assert_eq!(check(&verifier, &[], BODY).title, None);
}

#[test]
fn a_request_is_valid_once_across_all_routes_with_its_secret() {
    let two = |[a, b]: [&str; 2]| {
        let clients = format!("[{{name: a, secrets: [{a}]}}, {{name: b, secrets: [{b}]}}]");
        entry(&format!("{{scheme: hmac, clients: {clients}}}"))
    };
    let sends = [("hmac", "s3cret")];
    let routes = [
        [hmac()],
        [two(["s3cret", "other"])],
        [two(["x", "y"])],
        [entry(
            "{scheme: hmac, clients: [{name: web, secrets: [s3cret]}], replay: 0s}",
        )],
    ];
    let stores = SharedStores::new(routes.as_flattened());
    let verifiers = routes
        .each_ref()
        .map(|schemes| Verifier::new(schemes, &stores).expect("an entry"));
    let outcome = |verifier: &Verifier| check(verifier, &sends, BODY).outcome;
    assert_eq!(outcome(&verifiers[0]), Valid);
    assert_eq!(
        outcome(&verifiers[1]),
        Replayed,
        "the same secret under another name"
    );
    assert_eq!(outcome(&verifiers[0]), Replayed);
    assert_eq!(outcome(&verifiers[2]), Invalid);
    assert_eq!(outcome(&verifiers[3]), Valid, "it remembers nothing");
    // One that knows it by another secret of the same route is another request.
    assert_eq!(
        check(&verifiers[1], &[("hmac", "other")], BODY).outcome,
        Valid
    );
    assert_eq!(stores.dropped(), 0);
}

#[test]
fn replay_protection_outlives_a_change_of_the_configuration_that_keeps_a_secret() {
    let sends = [("hmac", "s3cret")];
    let hmac = |secrets: &str, more: &str| {
        entry(&format!(
            "{{scheme: hmac, clients: [{{name: web, secrets: [{secrets}]}}]{more}}}"
        ))
    };
    let first = [hmac("s3cret", "")];
    let stores = SharedStores::new(&first);
    let before = Verifier::new(&first, &stores).expect("an entry");
    assert_eq!(check(&before, &sends, BODY).outcome, Valid);
    for (secrets, more, expected) in [
        ("s3cret", "", Replayed),
        ("'0', s3cret", "", Replayed),
        ("s3cret, '1', '2', '3'", "", Replayed),
        ("s3cret", ", signed: '{timestamp}.{id}.{body}'", Replayed),
        ("s3cret", ", replay: 1h", Replayed),
        ("other", "", Invalid),
    ] {
        let next = [hmac(secrets, more)];
        let stores = stores.next(&next);
        let verifier = Verifier::new(&next, &stores).expect("an entry");
        let outcome = check(&verifier, &sends, BODY).outcome;
        assert_eq!(outcome, expected, "{secrets} {more}");
    }
}

#[test]
fn a_platform_that_sends_no_headers_is_checked_last() {
    let handshake = br#"{"challenge":"c","token":"verify-me","type":"url_verification"}"#;
    for schemes in [
        [feishu_without_key(), bearer()],
        [bearer(), feishu_without_key()],
        [feishu(), bearer()],
        [bearer(), feishu()],
    ] {
        let verifier = verifier(&schemes);
        assert_eq!(check(&verifier, &[], handshake).outcome, Handshake);
        // Whoever sends an Authorization is held to it.
        let verdict = check(&verifier, &[("bearer", "sk-2")], handshake);
        assert_eq!((verdict.scheme, verdict.outcome), ("bearer", Invalid));
    }
}

#[test]
fn only_credentials_for_weir_itself_are_stripped() {
    let other = "{scheme: hmac, clients: [{name: shop, secrets: [s3cret]}], signature_header: X-Shop-Signature}";
    let verifier = verifier(&[hmac(), entry(other), bearer(), feishu(), simple_sha256()]);
    let stripped = |scheme| {
        let names = verifier.stripped_headers(scheme).iter();
        names.map(HeaderName::as_str).collect::<Vec<_>>()
    };
    let keys = ["authorization", "x-api-key", "api-key"];
    assert_eq!(stripped("bearer"), keys);
    assert_eq!(
        stripped("hmac"),
        [
            "x-shop-signature",
            "x-weir-id",
            "x-weir-key",
            "x-weir-signature",
            "x-weir-timestamp",
        ]
    );
    for scheme in ["feishu", "simple_sha256", "none", ""] {
        assert!(stripped(scheme).is_empty(), "{scheme}");
    }
}

#[test]
fn verified_headers_are_the_forwarded_headers_of_a_signature() {
    let verified = |scheme: Config| {
        let name = scheme.scheme();
        let verifier = verifier(&[scheme]);
        let names = verifier.verified_headers(name).iter();
        names
            .map(|name| name.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    let lark = [
        "x-lark-request-timestamp",
        "x-lark-request-nonce",
        "x-lark-signature",
    ];
    assert_eq!(verified(feishu()), lark);
    assert!(
        verified(feishu_without_key()).is_empty(),
        "they have not been verified"
    );
    assert_eq!(verified(simple_sha256()), ["x-timestamp", "x-signature"]);
    for stripped in [hmac(), bearer()] {
        assert!(verified(stripped).is_empty());
    }
}

#[test]
fn a_client_without_a_name_has_the_name_of_the_route() {
    let verdict = check(&verifier(&[feishu()]), &[("feishu", "key")], BODY);
    assert_eq!(verdict.client.as_deref(), Some("the-route"));
}

#[test]
fn an_entry_with_keys_of_another_scheme_or_without_a_scheme_is_an_error() {
    for (yaml, parts) in [
        (
            "{scheme: bearer, secrets: [k], prefix: x}",
            &["`prefix` is no key of the scheme `bearer`"][..],
        ),
        ("{secrets: [k]}", &["`scheme` is missing"]),
        ("{scheme: slak, secrets: [k]}", &["did you mean `slack`?"]),
        (
            "{scheme: slack, secrets: [k]}",
            &["`slack` is not in this version yet"],
        ),
        (
            "{scheme: meta, aes_key: short}",
            &[
                "needs `secrets`",
                "needs a `verification_token`",
                "an AES key",
                "`aes_key` is no key",
            ],
        ),
    ] {
        let error = try_entry(yaml, "route").expect_err("not valid");
        for part in parts {
            assert!(error.to_string().contains(part), "{yaml}: {error}");
        }
    }
}
