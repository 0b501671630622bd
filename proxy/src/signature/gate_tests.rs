//! Several schemes on a route, and what a gate says of itself.

use super::*;
use crate::exchange::SignatureOutcome::{Handshake, Invalid, Missing, Replayed, Valid};
use http::HeaderValue;

const NOW: Duration = Duration::from_secs(1_700_000_000);
const BODY: &[u8] = br#"{"q":1}"#;

fn clients(name: &str, secret: &str) -> Vec<Client> {
    vec![Client {
        name: Arc::from(name),
        secrets: vec![secret.to_owned()],
    }]
}

fn entry(scheme: SchemeConfig) -> Config {
    Config {
        scheme,
        tolerance: Duration::from_secs(300),
        replay: Duration::from_secs(600),
    }
}

fn hmac() -> Config {
    entry(SchemeConfig::Hmac(HmacConfig::weir(clients(
        "web", "s3cret",
    ))))
}

fn bearer() -> Config {
    entry(SchemeConfig::Bearer {
        clients: clients("openai", "sk-1"),
    })
}

fn feishu(encrypt_keys: &[&str]) -> Config {
    entry(SchemeConfig::Feishu {
        encrypt_keys: encrypt_keys.iter().map(|key| (*key).to_owned()).collect(),
        verification_token: Some("verify-me".to_owned()),
    })
}

fn gate(schemes: &[Config]) -> Gate {
    Gate::new(schemes, &Arc::from("the-route")).expect("a gate")
}

fn check(gate: &Gate, signatures: &[(&str, &str)], body: &[u8]) -> Verdict {
    let mut headers = HeaderMap::new();
    for (scheme, secret) in signatures {
        let signed = sign::sign(scheme, secret, NOW.as_secs(), "id-1", body).expect("signs");
        for (name, value) in signed {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.insert(name, HeaderValue::from_str(&value).expect("a value"));
        }
    }
    let request = Request {
        method: &Method::POST,
        path: "/",
        query: "",
        headers: &headers,
        body,
    };
    gate.check(&request, NOW)
}

#[test]
fn a_route_without_schemes_has_no_gate() {
    assert!(Gate::new(&[], &Arc::from("open")).is_none());
}

#[test]
fn the_first_scheme_whose_headers_are_there_decides() {
    let both = gate(&[hmac(), bearer()]);
    let decides = |signatures: &[(&str, &str)]| {
        let verdict = check(&both, signatures, BODY);
        (verdict.scheme, verdict.outcome)
    };
    assert_eq!(decides(&[("bearer", "sk-1")]), ("bearer", Valid));
    assert_eq!(decides(&[("hmac", "s3cret")]), ("hmac", Valid));
    // A wrong signature is not made good by an API key, nor the other way round.
    let wrong = [("hmac", "wrong"), ("bearer", "sk-1")];
    assert_eq!(decides(&wrong), ("hmac", Invalid));
    let other_way = gate(&[bearer(), hmac()]);
    let verdict = check(&other_way, &[("bearer", "sk-2"), ("hmac", "s3cret")], BODY);
    assert_eq!((verdict.scheme, verdict.outcome), ("bearer", Invalid));
}

#[test]
fn an_unsigned_request_is_told_every_way_to_sign() {
    let verdict = check(&gate(&[hmac(), bearer(), feishu(&["key"])]), &[], BODY);
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
    let told = |schemes: &[Config]| {
        let gate = gate(schemes);
        gate.challenge().to_str().expect("ASCII").to_owned()
    };
    assert_eq!(told(&[bearer()]), "Bearer");
    assert_eq!(told(&[hmac()]), "hmac");
    assert_eq!(
        told(&[hmac(), bearer(), feishu(&["key"])]),
        "hmac, Bearer, feishu"
    );
}

#[test]
fn a_wrong_key_is_called_one() {
    let gate = gate(&[bearer(), hmac()]);
    let verdict = check(&gate, &[("bearer", "sk-2")], BODY);
    assert_eq!(verdict.title, Some("Invalid API key"));
    assert_eq!(check(&gate, &[("hmac", "wrong")], BODY).title, None);
    assert_eq!(check(&gate, &[], BODY).title, None);
}

#[test]
fn a_request_is_good_for_one_of_the_routes_that_know_its_secret() {
    let two = |secrets: [&str; 2]| {
        let client = |name: &str, secret: &str| Client {
            name: Arc::from(name),
            secrets: vec![secret.to_owned()],
        };
        let clients = vec![client("a", secrets[0]), client("b", secrets[1])];
        entry(SchemeConfig::Hmac(HmacConfig::weir(clients)))
    };
    let sends = [("hmac", "s3cret")];
    let routes = [
        [hmac()],
        [two(["s3cret", "other"])],
        [two(["x", "y"])],
        [Config {
            replay: Duration::ZERO,
            ..hmac()
        }],
    ];
    let memory = Memory::new(routes.as_flattened());
    let gates = routes
        .each_ref()
        .map(|schemes| Gate::sharing(schemes, &Arc::from("route"), &memory).expect("a gate"));
    let outcome = |gate: &Gate| check(gate, &sends, BODY).outcome;
    assert_eq!(outcome(&gates[0]), Valid);
    assert_eq!(
        outcome(&gates[1]),
        Replayed,
        "the same secret under another name"
    );
    assert_eq!(outcome(&gates[0]), Replayed);
    assert_eq!(outcome(&gates[2]), Invalid);
    assert_eq!(outcome(&gates[3]), Valid, "it remembers nothing");
    // One that knows it by another secret of the same route is another request.
    assert_eq!(check(&gates[1], &[("hmac", "other")], BODY).outcome, Valid);
    assert_eq!(memory.dropped(), 0);
}

#[test]
fn a_platform_that_sends_no_headers_is_asked_last() {
    let handshake = br#"{"challenge":"c","token":"verify-me","type":"url_verification"}"#;
    for schemes in [
        [feishu(&[]), bearer()],
        [bearer(), feishu(&[])],
        [feishu(&["key"]), bearer()],
        [bearer(), feishu(&["key"])],
    ] {
        let gate = gate(&schemes);
        assert_eq!(check(&gate, &[], handshake).outcome, Handshake);
        // Whoever sends an Authorization is held to it.
        let verdict = check(&gate, &[("bearer", "sk-2")], handshake);
        assert_eq!((verdict.scheme, verdict.outcome), ("bearer", Invalid));
    }
}

#[test]
fn only_a_credential_for_weir_itself_is_withheld() {
    let mut other = HmacConfig::weir(clients("shop", "s3cret"));
    other.signature_header = "X-Shop-Signature".to_owned();
    let gate = gate(&[
        hmac(),
        entry(SchemeConfig::Hmac(other)),
        bearer(),
        feishu(&["key"]),
        entry(SchemeConfig::SimpleSha256 {
            secrets: vec!["s3cret".to_owned()],
        }),
    ]);
    let withheld = |scheme| {
        let names = gate.withheld_headers(scheme).iter();
        names.map(HeaderName::as_str).collect::<Vec<_>>()
    };
    let keys = ["authorization", "x-api-key", "api-key"];
    assert_eq!(withheld("bearer"), keys);
    assert_eq!(
        withheld("hmac"),
        [
            "x-shop-signature",
            "x-weir-id",
            "x-weir-key",
            "x-weir-signature",
            "x-weir-timestamp",
        ]
    );
    for scheme in ["feishu", "simple_sha256", "none", ""] {
        assert!(withheld(scheme).is_empty(), "{scheme}");
    }
}

#[test]
fn what_a_signature_needs_and_goes_on_is_known_once_it_is_verified() {
    let verified = |scheme: Config| {
        let name = scheme.scheme.name();
        let gate = gate(&[scheme]);
        let names = gate.verified_headers(name).iter();
        names
            .map(|name| name.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    let lark = [
        "x-lark-request-timestamp",
        "x-lark-request-nonce",
        "x-lark-signature",
    ];
    assert_eq!(verified(feishu(&["key"])), lark);
    assert!(
        verified(feishu(&[])).is_empty(),
        "nobody has looked at them"
    );
    let simple = entry(SchemeConfig::SimpleSha256 {
        secrets: vec!["s3cret".to_owned()],
    });
    assert_eq!(verified(simple), ["x-timestamp", "x-signature"]);
    for withheld in [hmac(), bearer()] {
        assert!(verified(withheld).is_empty());
    }
}

#[test]
fn a_client_without_a_name_is_called_after_the_route() {
    let verdict = check(&gate(&[feishu(&["key"])]), &[("feishu", "key")], BODY);
    assert_eq!(verdict.client.as_deref(), Some("the-route"));
}
