use super::*;
use crate::exchange::SignatureOutcome::{self, Expired, Invalid, Missing, Replayed};
use crate::signature::HmacAlgorithm;
use http::{HeaderValue, Method};

// All signatures here were computed with Python's hmac over `1700000000.id-1.{"q":1}` and the like.
const BODY: &[u8] = br#"{"q":1}"#;
const AT: Duration = Duration::from_secs(1_700_000_000);
const SHA256_HEX: &str = "3606b34ba44f0b4a7f1ef8298340b1fd71ceba9d9ca9de9d17dc1c8d83528206";

fn client(name: &str, secrets: &[&str]) -> Client {
    Client {
        name: Arc::from(name),
        secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect(),
    }
}

fn weir(clients: Vec<Client>) -> HmacConfig {
    HmacConfig::weir(clients)
}

fn built(config: &HmacConfig) -> Hmac {
    let tolerance = Duration::from_secs(300);
    let scheme = crate::signature::Config {
        scheme: crate::signature::SchemeConfig::Hmac(config.clone()),
        tolerance,
        replay: Duration::from_secs(600),
    };
    let memory = Memory::new([&scheme]);
    Hmac::new(config, tolerance, memory.store(&scheme), &memory).expect("right settings")
}

fn check(hmac: &Hmac, headers: &[(&str, &str)], body: &[u8]) -> Result<String, SignatureOutcome> {
    check_at(hmac, headers, body, AT)
}

fn check_at(
    hmac: &Hmac,
    headers: &[(&str, &str)],
    body: &[u8],
    now: Duration,
) -> Result<String, SignatureOutcome> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        map.append(
            name,
            HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
        );
    }
    let request = Request {
        method: &Method::POST,
        path: "/v1/chat",
        query: "a=b",
        headers: &map,
        body,
    };
    match hmac.check(&request, now) {
        Ok(Accepted::Valid { by, .. }) => Ok(format!("{} {}", by.client, by.key.expect("a key"))),
        Ok(other) => panic!("{other:?}"),
        Err(rejection) => Err(rejection.outcome),
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
        let hmac = built(&weir(vec![client("web", &["s3cret"])]));
        let headers = signed("1700000000", "id-1", signature);
        assert_eq!(check(&hmac, &headers, BODY), Ok("web 0".to_owned()));
        // The other spelling is the same signature, and seen.
        let headers = signed("1700000000", "id-1", &lower);
        assert_eq!(check(&hmac, &headers, BODY), Err(Replayed));
    }
    let hmac = built(&weir(vec![client("web", &["s3cret"])]));
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
    let hmac = built(&weir(vec![client("web", &["s3cret"])]));
    let signature = "v1=ca370541789e7ecf53b9b68f2e729e6b9f783659a83449249e382175605eb991";
    let headers = signed("1700000000", "id-1", signature);
    assert_eq!(check(&hmac, &headers, b""), Ok("web 0".to_owned()));
    assert_eq!(check(&hmac, &headers, b" "), Err(Invalid));
}

#[test]
fn the_key_header_chooses_the_client_and_without_it_all_are_tried() {
    let clients = || {
        vec![
            client("web", &["other", "s3cret"]),
            client("guest", &["third"]),
        ]
    };
    let signature = format!("v1={SHA256_HEX}");
    let by = |key: Option<&str>| {
        let mut headers = signed("1700000000", "id-1", &signature).to_vec();
        headers.extend(key.map(|key| ("X-Weir-Key", key)));
        check(&built(&weir(clients())), &headers, BODY)
    };
    assert_eq!(by(None), Ok("web 1".to_owned()));
    assert_eq!(by(Some("web")), Ok("web 1".to_owned()));
    for key in ["guest", "nobody", "", "Web", "web ", "w\u{00e9}b"] {
        assert_eq!(by(Some(key)), Err(Invalid), "{key:?}");
    }
    let mut twice = signed("1700000000", "id-1", &signature).to_vec();
    twice.extend([("X-Weir-Key", "web"), ("X-Weir-Key", "web")]);
    assert_eq!(check(&built(&weir(clients())), &twice, BODY), Err(Invalid));
}

#[test]
fn unknown_clients_and_wrong_signatures_are_told_in_the_same_words() {
    let hmac = built(&weir(vec![client("web", &["s3cret"])]));
    let zeros = format!("v1={}", "0".repeat(64));
    let detail = |key: &'static str| {
        let mut map = HeaderMap::new();
        for (name, value) in signed("1700000000", "id-1", &zeros) {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.insert(name, HeaderValue::from_str(value).expect("a value"));
        }
        map.insert("x-weir-key", HeaderValue::from_static(key));
        let request = Request {
            method: &Method::GET,
            path: "/",
            query: "",
            headers: &map,
            body: BODY,
        };
        hmac.check(&request, AT).expect_err("wrong").detail
    };
    assert_eq!(detail("web"), detail("nobody"));
}

#[test]
fn timestamps_that_are_not_digits_are_invalid_whoever_signed_them() {
    let hmac = built(&weir(vec![client("web", &["s3cret"])]));
    for timestamp in [
        "12e8",
        "161426533.0",
        "-1700000000",
        "+5",
        "000001700000000000000",
        "now",
    ] {
        let template = Template::parse("{timestamp}.{id}.{body}").expect("right");
        let values = Values {
            timestamp: timestamp.as_bytes(),
            id: b"id-1",
            body: BODY,
            ..Values::default()
        };
        let keyed = Keyed::new(HmacAlgorithm::Sha256, b"s3cret").expect("a key");
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
        let template = Template::parse("{timestamp}.{id}.{body}").expect("right");
        let values = Values {
            timestamp: b"1700000000",
            id: id.as_bytes(),
            body,
            ..Values::default()
        };
        let keyed = Keyed::new(HmacAlgorithm::Sha256, b"s3cret").expect("a key");
        format!(
            "v1={}",
            base16ct::lower::encode_string(keyed.tag(&template, &values).as_bytes())
        )
    };
    let signature = sign_of("a", b"b.c");
    assert_eq!(signature, sign_of("a.b", b"c"));
    let hmac = built(&weir(vec![client("web", &["s3cret"])]));
    let moved = signed("1700000000", "a.b", &signature);
    assert_eq!(check(&hmac, &moved, b"c"), Err(Invalid));
    let honest = signed("1700000000", "a", &signature);
    assert_eq!(check(&hmac, &honest, b"b.c"), Ok("web 0".to_owned()));
}

#[test]
fn an_id_is_good_once_also_with_another_body_time_or_secret() {
    let hmac = built(&weir(vec![client("web", &["s3cret", "old"])]));
    let send = |secret: &str, at_s: u64, id: &str, body: &[u8]| {
        let headers = sign(secret, at_s, id, body).expect("signs");
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
    // Neither of the refused ones has used up the id.
    assert_eq!(
        send("s3cret", 1_700_000_002, "three", b"c"),
        Ok("web 0".to_owned())
    );
}

#[test]
fn clients_with_one_secret_cannot_send_each_others_requests_again() {
    let clients = vec![client("web", &["s3cret"]), client("guest", &["s3cret"])];
    let hmac = built(&weir(clients));
    let signature = format!("v1={SHA256_HEX}");
    let mut headers = signed("1700000000", "id-1", &signature).to_vec();
    headers.push(("X-Weir-Key", "web"));
    assert_eq!(check(&hmac, &headers, BODY), Ok("web 0".to_owned()));
    headers[3] = ("X-Weir-Key", "guest");
    assert_eq!(check(&hmac, &headers, BODY), Err(Replayed));
}

#[test]
fn other_algorithms_encodings_and_templates() {
    let mut config = weir(vec![client("shop", &["733363726574"])]);
    config.key_encoding = Encoding::Hex;
    config.prefix = String::new();
    config.signature_encoding = Encoding::Base64;
    for (algorithm, signature) in [
        (HmacAlgorithm::Sha1, "ex+q8m9khEKaCvcSObYp6y79KFw="),
        (
            HmacAlgorithm::Sha256,
            "NgazS6RPC0p/Hvgpg0Cx/XHOup2cqd6dF9wcjYNSggY=",
        ),
        (
            HmacAlgorithm::Sha512,
            "VYKSyp7hnKaEWmSVWkkJMu4RtYYiYUi+69c18NDmjyKYGSCYwrx/aYY3CFIaatB8U1OIvSIL5ExnfD1yzLnd4Q==",
        ),
    ] {
        config.algorithm = algorithm;
        let headers = signed("1700000000", "id-1", signature);
        assert_eq!(
            check(&built(&config), &headers, BODY),
            Ok("shop 0".to_owned())
        );
    }
    // GitHub's form: the body alone, so nothing expires and it is the signature that is remembered.
    config.signed = "{body}".to_owned();
    config.prefix = "sha256=".to_owned();
    config.signature_header = "X-Hub-Signature-256".to_owned();
    config.signature_encoding = Encoding::Hex;
    config.algorithm = HmacAlgorithm::Sha256;
    config.key_encoding = Encoding::Raw;
    config.clients = vec![client("github", &["It's a Secret to Everybody"])];
    let hmac = built(&config);
    // docs.github.com, "Validating webhook deliveries", testing.
    let headers = [(
        "X-Hub-Signature-256",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    )];
    let body = b"Hello, World!";
    assert_eq!(check(&hmac, &headers, body), Ok("github 0".to_owned()));
    let later = AT + Duration::from_secs(500);
    assert_eq!(check_at(&hmac, &headers, body, later), Err(Replayed));
    assert!(hmac.covers_body());
    assert_eq!(hmac.wanted(), "x-hub-signature-256");
}

#[test]
fn what_the_template_does_not_name_is_not_asked_for() {
    let mut config = weir(vec![client("web", &["s3cret"])]);
    let without_id = signed("1700000000", "", "v1=00");
    assert_eq!(check(&built(&config), &without_id[..1], BODY), Err(Missing));
    config.signed = "{timestamp}:{method}{path}?{query}".to_owned();
    let hmac = built(&config);
    assert!(!hmac.covers_body());
    assert_eq!(hmac.wanted(), "x-weir-timestamp, x-weir-signature");
}

#[test]
fn wrong_settings_are_refused_without_a_word_of_the_secret() {
    let wrong = |change: &dyn Fn(&mut HmacConfig)| {
        let mut config = weir(vec![client("web", &["zz-s3cret"])]);
        change(&mut config);
        let message = Hmac::new(&config, AT, None, &Memory::new([]))
            .err()
            .expect("wrong settings");
        assert!(!message.contains("s3cret"), "{message}");
    };
    wrong(&|config| config.clients.clear());
    wrong(&|config| config.signed = "{id}{body}".to_owned());
    wrong(&|config| config.key_encoding = Encoding::Hex);
    wrong(&|config| config.key_encoding = Encoding::Base64);
    wrong(&|config| config.signature_encoding = Encoding::Raw);
    wrong(&|config| config.id_header = "X Weir Id".to_owned());
    wrong(&|config| config.signature_header = String::new());
}
