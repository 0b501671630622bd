use super::*;
use crate::signature::Config;
use crate::signature::testing::{entry, headers, request, try_entry};

// echo -n sk-weir-1 | sha256sum
const STORED: &str = "sha256:18baa037e0628f8c0919afb914c9c771ee1718e22e9824d9102d4d4404a1d1c1";

fn bearer(clients: &str) -> Config {
    entry(&format!("{{scheme: bearer, clients: [{clients}]}}"))
}

fn check(bearer: &Config, value: &[u8]) -> Result<(String, Option<usize>), String> {
    check_all(bearer, &[("authorization", value)])
}

fn check_all(
    bearer: &Config,
    lines: &[(&'static str, &[u8])],
) -> Result<(String, Option<usize>), String> {
    let headers = headers(lines);
    let context = Context {
        now: Duration::ZERO,
        namespaces: None,
    };
    assert!(bearer.scheme.is_addressed(&headers));
    match bearer.scheme.verify(&request(&headers, b""), &context) {
        Ok(Accepted::Valid { by, .. }) => Ok((by.client.to_string(), by.key)),
        Ok(other) => panic!("{other:?}"),
        Err(rejection) => Err(rejection.detail.into_owned()),
    }
}

#[test]
fn a_key_identifies_its_client_even_when_only_its_hash_is_stored() {
    let stored = STORED.to_uppercase().replace("SHA", "sha");
    let bearer = bearer(&format!(
        "{{name: web, secrets: [sk-other, sk-\u{fc}]}}, {{name: demo, secrets: [k, '{stored}']}}"
    ));
    let is = |client: &str, key| Ok((client.to_owned(), Some(key)));
    assert_eq!(check(&bearer, b"Bearer sk-weir-1"), is("demo", 1));
    assert_eq!(check(&bearer, b"bearer  sk-other "), is("web", 0));
    assert_eq!(
        check(&bearer, "Bearer sk-\u{00fc}".as_bytes()),
        is("web", 1)
    );
    let stored = format!("Bearer {STORED}");
    for value in [
        "Basic c2std2Vpci0x",
        "Bearer",
        "Bearer ",
        "Bearersk-weir-1",
        "Bearer sk-weir-",
        "Bearer sk-weir-11",
        "Bearer sk-weir-1, Bearer sk-weir-1",
        "sk-weir-1",
        stored.as_str(),
    ] {
        assert!(check(&bearer, value.as_bytes()).is_err(), "{value:?}");
    }
}

#[test]
fn a_key_may_come_in_any_of_three_headers() {
    let bearer = bearer("{name: web, secrets: [k1]}, {name: bot, secrets: [k2]}");
    let is = |client: &str| Ok((client.to_owned(), Some(0)));
    let unknown = Err("no client of this route has this API key".to_owned());
    for (lines, expected) in [
        (&[("x-api-key", &b"k1"[..])][..], is("web")),
        (&[("api-key", b" k2 ")], is("bot")),
        (&[("x-api-key", b"Bearer k1")], unknown.clone()),
        (&[("api-key", b"k3")], unknown.clone()),
        // The first valid key decides.
        (
            &[("authorization", b"Bearer k1"), ("x-api-key", b"k2")],
            is("web"),
        ),
        (
            &[("authorization", b"Bearer dummy"), ("x-api-key", b"k2")],
            is("bot"),
        ),
        (
            &[("authorization", b"Basic YTpi"), ("api-key", b"k1")],
            is("web"),
        ),
        (
            &[("authorization", b"Basic YTpi"), ("api-key", b"k3")],
            unknown,
        ),
        (
            &[("x-api-key", b"k1"), ("x-api-key", b"k1")],
            Err("x-api-key has more than one value; send one".to_owned()),
        ),
        (&[("x-api-key", b" ")], Err("x-api-key is empty".to_owned())),
    ] {
        assert_eq!(check_all(&bearer, lines), expected, "{lines:?}");
    }
}

#[test]
fn an_invalid_hash_is_an_error_and_cannot_sign() {
    for secrets in ["sha256:abcd", "sha256:", &format!("{STORED}0")] {
        let error = try_entry(&format!("{{scheme: bearer, secrets: ['{secrets}']}}"), "r");
        let error = error.expect_err("no hash").to_string();
        assert!(error.contains("64 hex digits"), "{error}");
    }
    let request = ToSign {
        secret: STORED,
        at_unix_s: 0,
        id: "id",
        body: b"",
        client: None,
    };
    assert_eq!(sign(&request), Err(SignError::HashOfKey));
}
