use std::time::Duration;

use super::*;
use crate::exchange::SignatureOutcome::{self, Expired, Invalid, Missing, Replayed, Valid};
use crate::signature::Verifier;
use crate::signature::testing::{self, entry, headers, request, try_entry, verifier};

// All signatures here were computed with Python's hmac over `1700000000.id-1.{"q":1}` and the like.
const BODY: &[u8] = br#"{"q":1}"#;
const AT: Duration = Duration::from_secs(1_700_000_000);
const SHA256_HEX: &str = "3606b34ba44f0b4a7f1ef8298340b1fd71ceba9d9ca9de9d17dc1c8d83528206";

/// The verifier of weir's own form with these clients (`{name: web, secrets: [s]}`) and other settings.
fn built(clients: &str, more: &str) -> Verifier {
    let yaml = format!("{{scheme: hmac, clients: [{clients}]{more}}}");
    verifier(&[entry(&yaml)])
}

fn web() -> Verifier {
    built("{name: web, secrets: [s3cret]}", "")
}

fn check(
    verifier: &Verifier,
    lines: &[(&str, &str)],
    body: &[u8],
) -> Result<String, SignatureOutcome> {
    check_at(verifier, lines, body, AT)
}

fn check_at(
    verifier: &Verifier,
    lines: &[(&str, &str)],
    body: &[u8],
    now: Duration,
) -> Result<String, SignatureOutcome> {
    let headers = headers(lines);
    let verdict = testing::check(verifier, &request(&headers, body), now);
    match (verdict.outcome, verdict.client, verdict.key) {
        (Valid, Some(client), Some(key)) => Ok(format!("{client} {key}")),
        (outcome, ..) => Err(outcome),
    }
}

fn signed<'a>(timestamp: &'a str, id: &'a str, signature: &'a str) -> [(&'a str, &'a str); 3] {
    [
        ("X-Weir-Timestamp", timestamp),
        ("X-Weir-Id", id),
        ("X-Weir-Signature", signature),
    ]
}

#[test]
fn a_signature_made_elsewhere_is_valid_in_either_case() {
    let lower = format!("v1={SHA256_HEX}");
    let upper = format!("v1={}", SHA256_HEX.to_uppercase());
    for signature in [lower.as_str(), upper.as_str()] {
        let hmac = web();
        let headers = signed("1700000000", "id-1", signature);
        assert_eq!(check(&hmac, &headers, BODY), Ok("web 0".to_owned()));
        // The other spelling is the same signature, and seen.
        let headers = signed("1700000000", "id-1", &lower);
        assert_eq!(check(&hmac, &headers, BODY), Err(Replayed));
    }
    let hmac = web();
    for signature in [
        SHA256_HEX,
        "V1=",
        "v1=",
        "v1=3606",
        "v2=3606b34ba44f0b4a7f1ef8298340b1fd71ceba9d9ca9de9d17dc1c8d83528206",
        "v1= 3606b34ba44f0b4a7f1ef8298340b1fd71ceba9d9ca9de9d17dc1c8d83528206",
    ] {
        let headers = signed("1700000000", "id-1", signature);
        assert_eq!(check(&hmac, &headers, BODY), Err(Invalid), "{signature}");
    }
}

#[test]
fn the_empty_body_has_its_own_signature() {
    let hmac = web();
    let signature = "v1=ca370541789e7ecf53b9b68f2e729e6b9f783659a83449249e382175605eb991";
    let headers = signed("1700000000", "id-1", signature);
    assert_eq!(check(&hmac, &headers, b""), Ok("web 0".to_owned()));
    assert_eq!(check(&hmac, &headers, b" "), Err(Invalid));
}

#[test]
fn the_key_header_chooses_the_client_and_without_it_all_are_tried() {
    let clients = "{name: web, secrets: [other, s3cret]}, {name: guest, secrets: [third]}";
    let signature = format!("v1={SHA256_HEX}");
    let by = |key: Option<&str>| {
        let mut headers = signed("1700000000", "id-1", &signature).to_vec();
        headers.extend(key.map(|key| ("X-Weir-Key", key)));
        check(&built(clients, ""), &headers, BODY)
    };
    assert_eq!(by(None), Ok("web 1".to_owned()));
    assert_eq!(by(Some("web")), Ok("web 1".to_owned()));
    for key in ["guest", "nobody", "", "Web", "web ", "w\u{00e9}b"] {
        assert_eq!(by(Some(key)), Err(Invalid), "{key:?}");
    }
    let mut twice = signed("1700000000", "id-1", &signature).to_vec();
    twice.extend([("X-Weir-Key", "web"), ("X-Weir-Key", "web")]);
    assert_eq!(check(&built(clients, ""), &twice, BODY), Err(Invalid));
}

#[test]
fn an_unknown_client_and_an_invalid_signature_have_the_same_detail() {
    let hmac = web();
    let zeros = format!("v1={}", "0".repeat(64));
    let detail = |key: &'static str| {
        let mut lines = signed("1700000000", "id-1", &zeros).to_vec();
        lines.push(("X-Weir-Key", key));
        let headers = headers(&lines);
        let verdict = testing::check(&hmac, &request(&headers, BODY), AT);
        assert_eq!(verdict.outcome, Invalid);
        verdict.detail
    };
    assert_eq!(detail("web"), detail("nobody"));
}

#[test]
fn timestamps_that_are_not_digits_are_invalid_even_when_signed() {
    let hmac = web();
    for timestamp in [
        "12e8",
        "161426533.0",
        "-1700000000",
        "+5",
        "000001700000000000000",
        "now",
    ] {
        let template = Template::parse("{timestamp}.{id}.{body}").expect("valid");
        let values = Values {
            timestamp: timestamp.as_bytes(),
            id: b"id-1",
            body: BODY,
            ..Values::default()
        };
        let keyed = KeyedHmac::new(Algorithm::Sha256, b"s3cret").expect("a key");
        let signature = format!(
            "v1={}",
            base16ct::lower::encode_string(keyed.tag(&template, &values).as_bytes())
        );
        let headers = signed(timestamp, "id-1", &signature);
        assert_eq!(check(&hmac, &headers, BODY), Err(Invalid), "{timestamp}");
    }
}

#[test]
fn the_border_between_id_and_body_cannot_be_moved() {
    // The same signed text as `1700000000.id-1.{"q":1}` with the body cut short.
    let sign_of = |id: &str, body: &[u8]| {
        let template = Template::parse("{timestamp}.{id}.{body}").expect("valid");
        let values = Values {
            timestamp: b"1700000000",
            id: id.as_bytes(),
            body,
            ..Values::default()
        };
        let keyed = KeyedHmac::new(Algorithm::Sha256, b"s3cret").expect("a key");
        format!(
            "v1={}",
            base16ct::lower::encode_string(keyed.tag(&template, &values).as_bytes())
        )
    };
    let signature = sign_of("a", b"b.c");
    assert_eq!(signature, sign_of("a.b", b"c"));
    let hmac = web();
    let moved = signed("1700000000", "a.b", &signature);
    assert_eq!(check(&hmac, &moved, b"c"), Err(Invalid));
    let honest = signed("1700000000", "a", &signature);
    assert_eq!(check(&hmac, &honest, b"b.c"), Ok("web 0".to_owned()));
}

#[test]
fn an_id_is_valid_once_even_with_another_body_time_or_secret() {
    let hmac = built("{name: web, secrets: [s3cret, old]}", "");
    let send = |secret: &str, at_s: u64, id: &str, body: &[u8]| {
        let signed = sign(&ToSign {
            secret,
            at_unix_s: at_s,
            id,
            body,
            client: None,
        });
        let headers = signed.expect("signs");
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        check(&hmac, &headers, body)
    };
    assert_eq!(
        send("s3cret", 1_700_000_000, "one", b"a"),
        Ok("web 0".to_owned())
    );
    assert_eq!(send("s3cret", 1_700_000_001, "one", b"b"), Err(Replayed));
    assert_eq!(send("old", 1_700_000_002, "one", b"c"), Err(Replayed));
    assert_eq!(
        send("old", 1_700_000_002, "two", b"c"),
        Ok("web 1".to_owned())
    );
    assert_eq!(send("wrong", 1_700_000_002, "three", b"c"), Err(Invalid));
    assert_eq!(send("s3cret", 1_600_000_000, "three", b"c"), Err(Expired));
    // Neither of the rejected ones has used up the id.
    assert_eq!(
        send("s3cret", 1_700_000_002, "three", b"c"),
        Ok("web 0".to_owned())
    );
}

#[test]
fn clients_with_a_shared_secret_cannot_replay_each_others_requests() {
    let clients = "{name: web, secrets: [s3cret]}, {name: guest, secrets: [s3cret]}";
    let hmac = built(clients, "");
    let signature = format!("v1={SHA256_HEX}");
    let mut headers = signed("1700000000", "id-1", &signature).to_vec();
    headers.push(("X-Weir-Key", "web"));
    assert_eq!(check(&hmac, &headers, BODY), Ok("web 0".to_owned()));
    headers[3] = ("X-Weir-Key", "guest");
    assert_eq!(check(&hmac, &headers, BODY), Err(Replayed));
}

#[test]
fn other_algorithms_encodings_and_templates() {
    let shop = "{name: shop, secrets: ['733363726574']}";
    for (algorithm, signature) in [
        ("sha1", "ex+q8m9khEKaCvcSObYp6y79KFw="),
        ("sha256", "NgazS6RPC0p/Hvgpg0Cx/XHOup2cqd6dF9wcjYNSggY="),
        (
            "sha512",
            "VYKSyp7hnKaEWmSVWkkJMu4RtYYiYUi+69c18NDmjyKYGSCYwrx/aYY3CFIaatB8U1OIvSIL5ExnfD1yzLnd4Q==",
        ),
    ] {
        let more = format!(
            ", key_encoding: hex, prefix: '', signature_encoding: base64, algorithm: {algorithm}"
        );
        let headers = signed("1700000000", "id-1", signature);
        let verified = check(&built(shop, &more), &headers, BODY);
        assert_eq!(verified, Ok("shop 0".to_owned()));
    }
    // GitHub's form: the body alone, so nothing expires and it is the signature that is remembered.
    let github = "{name: github, secrets: [It's a Secret to Everybody]}";
    let form = ", signed: '{body}', prefix: 'sha256=', signature_header: X-Hub-Signature-256";
    let hmac = built(github, form);
    // docs.github.com, "Validating webhook deliveries", testing.
    let headers = [(
        "X-Hub-Signature-256",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    )];
    let body = b"Hello, World!";
    assert_eq!(check(&hmac, &headers, body), Ok("github 0".to_owned()));
    let later = AT + Duration::from_secs(500);
    assert_eq!(check_at(&hmac, &headers, body, later), Err(Replayed));
    assert!(hmac.reads_body());
    assert_eq!(missing(&hmac), "send x-hub-signature-256 (hmac)");
}

/// The detail for an unsigned request.
fn missing(verifier: &Verifier) -> String {
    testing::check(verifier, &request(&HeaderMap::new(), BODY), AT).detail
}

#[test]
fn what_the_template_does_not_name_is_not_required() {
    let without_id = signed("1700000000", "", "v1=00");
    assert_eq!(check(&web(), &without_id[..1], BODY), Err(Missing));
    let clients = "{name: web, secrets: [s3cret]}";
    let hmac = built(clients, ", signed: '{timestamp}:{method}{path}?{query}'");
    assert!(!hmac.reads_body());
    assert_eq!(
        missing(&hmac),
        "send x-weir-timestamp, x-weir-signature (hmac)"
    );
}

#[test]
fn errors_of_invalid_settings_do_not_show_the_secret() {
    for more in [
        "signed: '{id}{body}'",
        "signed: constant",
        "key_encoding: hex",
        "key_encoding: base64",
        "signature_encoding: raw",
        "id_header: X Weir Id",
        "id_header: X-Weir-Key",
    ] {
        let yaml = format!("{{scheme: hmac, secrets: [zz-s3cret], {more}}}");
        let error = try_entry(&yaml, "route")
            .expect_err("invalid settings")
            .to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
