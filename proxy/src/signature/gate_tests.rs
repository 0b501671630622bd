//! Several schemes on a route, and what a gate says of itself.

use super::*;
use crate::exchange::SignatureOutcome::{Handshake, Invalid, Missing, Valid};
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
         or authorization: Bearer KEY (bearer), or x-lark-request-timestamp, \
         x-lark-request-nonce and x-lark-signature (feishu)"
    );
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
    assert_eq!(withheld("bearer"), ["authorization"]);
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
fn a_client_without_a_name_is_called_after_the_route() {
    let verdict = check(&gate(&[feishu(&["key"])]), &[("feishu", "key")], BODY);
    assert_eq!(verdict.client.as_deref(), Some("the-route"));
}
