//! Authentication: every rejection by name, and the headers that report a verified client to the backend.

use weir_tests::backend::Backend;
use weir_tests::client::ClientRequest;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::sign::{
    Headers, bearer, fresh_id, sign_hmac, sign_hmac_as, sign_hmac_now, sign_simple_sha256, unix_now,
};

mod clientless;
mod feishu;
mod keys;
mod redelivery;

const BODY: &[u8] = br#"{"question":"what is a weir?"}"#;

const HMAC: &str = "
- name: signed
  path: /*
  backend: assistant
  signature:
    scheme: hmac
    clients:
      - {name: web, secrets: [new-web-secret-0123, old-web-secret-0123]}
      - {name: batch, secrets: [batch-secret-0123456]}
";

async fn post(proxy: &Proxy, headers: Headers) -> (u16, Option<String>) {
    let response = proxy
        .send(ClientRequest::post("/v1/ask", BODY).headers(headers))
        .await;
    let code = (response.status != 200).then(|| response.rejection());
    if let Some(code) = &code {
        let event = proxy.event_of(&response).await;
        assert_eq!(event["error_code"], code.as_str());
        assert_eq!(event["http"]["response"]["status_code"], response.status);
        let problem = response.json();
        if response.status == 401 {
            assert_eq!(problem["error"]["type"], "authentication_error");
        }
    }
    (response.status, code)
}

/// A rejection, as returned by `post`.
fn rejection(code: &str) -> (u16, Option<String>) {
    (401, Some(code.to_owned()))
}

const ACCEPTED: (u16, Option<String>) = (200, None);

#[tokio::test]
async fn invalid_hmac_signatures_are_rejected_by_name() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(HMAC).start().await;
    let now = unix_now();
    let sign_at = |at| sign_hmac("new-web-secret-0123", &fresh_id(), at, BODY);
    let with = |name: &str, value: &str| {
        let mut headers = sign_at(now);
        headers.retain(|(have, _)| have != name);
        headers.push((name.to_owned(), value.to_owned()));
        headers
    };
    let without = |name: &str| {
        let mut headers = sign_at(now);
        headers.retain(|(have, _)| have != name);
        headers
    };
    let long = "f".repeat(8000);
    for (headers, code) in [
        (vec![], "signature_missing"),
        (without("X-Weir-Signature"), "signature_missing"),
        (sign_hmac_now("wrong", BODY), "signature_invalid"),
        (sign_hmac_now("", BODY), "signature_invalid"),
        (
            sign_hmac_now("new-web-secret-0123", b""),
            "signature_invalid",
        ),
        (
            sign_hmac_as("batch", "new-web-secret-0123", BODY),
            "signature_invalid",
        ),
        (
            sign_hmac_as("nobody", "new-web-secret-0123", BODY),
            "signature_invalid",
        ),
        (with("X-Weir-Signature", "v1="), "signature_invalid"),
        (with("X-Weir-Signature", "v1=zz"), "signature_invalid"),
        (with("X-Weir-Signature", &long), "signature_invalid"),
        (with("X-Weir-Id", "another"), "signature_invalid"),
        (
            with("X-Weir-Timestamp", &(now + 1).to_string()),
            "signature_invalid",
        ),
        (sign_at(now - 400), "signature_expired"),
        (sign_at(now + 400), "signature_expired"),
        (sign_at(0), "signature_expired"),
    ] {
        assert_eq!(
            post(&proxy, headers.clone()).await,
            rejection(code),
            "{headers:?}"
        );
    }
    // Which of several errors is named is up to weir.
    for headers in [
        sign_at(u64::MAX),
        with("X-Weir-Timestamp", "soon"),
        with("X-Weir-Timestamp", "-1"),
        without("X-Weir-Timestamp"),
        without("X-Weir-Id"),
    ] {
        assert_eq!(post(&proxy, headers.clone()).await.0, 401, "{headers:?}");
    }
    backend.assert_untouched();
}

#[tokio::test]
async fn hmac_accepts_every_secret_and_names_the_client() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(HMAC).start().await;
    for (headers, client, key) in [
        (sign_hmac_now("new-web-secret-0123", BODY), "web", 0),
        (sign_hmac_now("old-web-secret-0123", BODY), "web", 1),
        (sign_hmac_as("web", "old-web-secret-0123", BODY), "web", 1),
        (sign_hmac_now("batch-secret-0123456", BODY), "batch", 0),
        (
            sign_hmac_as("batch", "batch-secret-0123456", BODY),
            "batch",
            0,
        ),
    ] {
        let request = ClientRequest::post("/", BODY)
            .headers(headers)
            .header("X-Weir-Client", "forged")
            .header("X-Weir-Platform", "forged");
        let response = proxy.send(request).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let received = backend.requests().pop().expect("a request");
        assert_eq!(received.all("x-weir-client"), [client]);
        assert_eq!(received.all("x-weir-platform"), ["api"]);
        for stripped in ["key", "timestamp", "id", "signature"] {
            assert_eq!(
                received.header(&format!("x-weir-{stripped}")),
                None,
                "{stripped}"
            );
        }
        let event = proxy.event_of(&response).await;
        assert_eq!(event["client"]["key"], client);
        let expected = serde_json::json!({"scheme": "hmac", "outcome": "valid", "key": key});
        assert_eq!(event["weir"]["signature"], expected);
    }
    for (outcome, count) in [("valid", 5.0), ("invalid", 0.0)] {
        let labels = [("scheme", "hmac"), ("outcome", outcome)];
        weir_tests::metrics::assert_metric(
            proxy.admin(),
            "weir_signature_checks_total",
            &labels,
            count,
        )
        .await;
    }
}

#[tokio::test]
async fn a_signed_request_is_accepted_once() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(HMAC).start().await;
    let headers = sign_hmac_now("new-web-secret-0123", BODY);
    assert_eq!(post(&proxy, headers.clone()).await, ACCEPTED);
    assert_eq!(post(&proxy, headers).await, rejection("signature_replayed"));
    // A forger cannot use up an id that its owner still needs.
    let id = fresh_id();
    let forged = sign_hmac("wrong", &id, unix_now(), BODY);
    assert_eq!(post(&proxy, forged).await, rejection("signature_invalid"));
    let good = sign_hmac("new-web-secret-0123", &id, unix_now(), BODY);
    assert_eq!(post(&proxy, good).await, ACCEPTED);
    // The same concurrently: one is accepted.
    let headers = sign_hmac_now("new-web-secret-0123", BODY);
    let racing = (0..16).map(|_| post(&proxy, headers.clone()));
    let outcomes = futures_util::future::join_all(racing).await;
    let admitted = outcomes
        .iter()
        .filter(|outcome| **outcome == ACCEPTED)
        .count();
    assert_eq!(admitted, 1);
    assert_eq!(backend.requests().len(), 3);
}

#[tokio::test]
async fn replay_protection_and_tolerance_are_configurable() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "- {name: lax, path: /*, backend: assistant, \
             signature: {scheme: hmac, secrets: [secret-0123456789], tolerance: 2h, replay: 0s}}",
        )
        .start()
        .await;
    let hour_ago = sign_hmac("secret-0123456789", "same", unix_now() - 3600, BODY);
    assert_eq!(post(&proxy, hour_ago.clone()).await, ACCEPTED);
    assert_eq!(post(&proxy, hour_ago).await, ACCEPTED);
    let received = backend.requests().pop().expect("a request");
    assert_eq!(
        received.all("x-weir-client"),
        ["lax"],
        "named after the route"
    );
}

#[tokio::test]
async fn bearer_accepts_keys_like_openai_clients() {
    let backend = Backend::echo().await;
    let hashed = weir_tests::sign::sha256_hex(b"sk-hashed-0123456789");
    let proxy = Setup::new(&backend)
        .routes(&format!(
            "
- name: keys
  path: /*
  backend: assistant
  signature:
    scheme: bearer
    clients:
      - {{name: plain, secrets: [sk-plain-0123456789]}}
      - {{name: hashed, secrets: [\"sha256:{hashed}\"]}}
"
        ))
        .start()
        .await;
    for (key, client) in [
        ("sk-plain-0123456789", "plain"),
        ("sk-hashed-0123456789", "hashed"),
    ] {
        assert_eq!(post(&proxy, bearer(key)).await, ACCEPTED);
        // An API key is no nonce: it can be used again.
        assert_eq!(post(&proxy, bearer(key)).await, ACCEPTED);
        let received = backend.requests().pop().expect("a request");
        assert_eq!(
            received.header("authorization"),
            None,
            "must not be forwarded"
        );
        assert_eq!(received.all("x-weir-client"), [client]);
    }
    let wrong_scheme = vec![("Authorization".to_owned(), "Basic c2s6".to_owned())];
    assert_eq!(post(&proxy, vec![]).await, rejection("signature_missing"));
    assert_eq!(post(&proxy, wrong_scheme).await.0, 401);
    for key in [
        "sk-wrong",
        "",
        "sk-plain-012345678",
        &format!("sha256:{hashed}"),
    ] {
        assert_eq!(post(&proxy, bearer(key)).await.0, 401, "{key}");
    }
    assert_eq!(backend.requests().len(), 4);
}

#[tokio::test]
async fn an_authorization_that_weir_does_not_verify_is_forwarded() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(HMAC).start().await;
    let mut headers = sign_hmac_now("new-web-secret-0123", BODY);
    headers.extend(bearer("for-the-backend"));
    assert_eq!(post(&proxy, headers).await, ACCEPTED);
    let received = backend.only_request();
    assert_eq!(
        received.header("authorization"),
        Some("Bearer for-the-backend")
    );
}

#[tokio::test]
async fn the_first_scheme_with_its_headers_present_is_used() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "
- name: several
  path: /*
  backend: assistant
  signature:
    - {scheme: hmac, clients: [{name: signer, secrets: [hmac-secret-0123456]}]}
    - {scheme: bearer, clients: [{name: key, secrets: [sk-several-0123456]}]}
",
        )
        .start()
        .await;
    assert_eq!(
        post(&proxy, sign_hmac_now("hmac-secret-0123456", BODY)).await,
        ACCEPTED
    );
    assert_eq!(post(&proxy, bearer("sk-several-0123456")).await, ACCEPTED);
    assert_eq!(post(&proxy, vec![]).await, rejection("signature_missing"));
    // A valid key does not compensate for an invalid signature.
    let mut both = sign_hmac_now("wrong", BODY);
    both.extend(bearer("sk-several-0123456"));
    assert_eq!(post(&proxy, both).await, rejection("signature_invalid"));
    let clients: Vec<_> = backend
        .requests()
        .iter()
        .map(|received| {
            received
                .header("x-weir-client")
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert_eq!(clients, ["signer", "key"]);
}

#[tokio::test]
async fn simple_sha256_is_verified_with_a_warning() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "- {name: simple, path: /*, backend: assistant, \
             signature: {scheme: simple_sha256, secrets: [simple-secret-0123]}}",
        )
        .start()
        .await;
    let now = unix_now();
    let good = sign_simple_sha256("simple-secret-0123", now);
    assert_eq!(post(&proxy, good).await, ACCEPTED);
    assert_eq!(post(&proxy, vec![]).await, rejection("signature_missing"));
    let invalid = sign_simple_sha256("wrong", now);
    assert_eq!(post(&proxy, invalid).await, rejection("signature_invalid"));
    let stale = sign_simple_sha256("simple-secret-0123", now - 1000);
    assert_eq!(post(&proxy, stale).await, rejection("signature_expired"));
    assert!(
        proxy.stderr().contains("simple_sha256"),
        "no warning at start"
    );
}
