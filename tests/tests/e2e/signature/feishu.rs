//! Feishu: signature, envelope and handshake.

use serde_json::{Value, json};
use weir_tests::backend::Backend;
use weir_tests::client::{ClientRequest, ClientResponse};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::sign::{Headers, encrypt_feishu, fresh_id, sign_feishu, unix_now};

const KEY: &str = "feishu-encrypt-key-0123";
pub(super) const TOKEN: &str = "feishu-token-0123";
pub(super) const PATH: &str = "/hooks/feishu";
pub(super) const ROUTE: &str = "- {name: feishu, path: /hooks/feishu, backend: assistant, \
                                signature: {scheme: feishu, secrets: [feishu-encrypt-key-0123], \
                                verification_token: feishu-token-0123}}";

pub(super) async fn start(backend: &Backend) -> Proxy {
    Setup::new(backend).routes(ROUTE).start().await
}

pub(super) fn delivery_request(body: &str, headers: Headers) -> ClientRequest {
    ClientRequest::post(PATH, body.to_owned())
        .header("content-type", "application/json")
        .headers(headers)
}

async fn post(proxy: &Proxy, body: &str, headers: Headers) -> ClientResponse {
    proxy.send(delivery_request(body, headers)).await
}

pub(super) fn signed(body: &str) -> Headers {
    sign_feishu(KEY, &fresh_id(), unix_now(), body.as_bytes())
}

pub(super) fn event(id: &str, token: &str) -> Value {
    json!({
        "schema": "2.0",
        "header": {"event_id": id, "event_type": "im.message.receive_v1", "token": token,
                   "create_time": "1608725989000", "app_id": "cli_x", "tenant_key": "t"},
        "event": {"message": {"message_id": "om_1", "chat_id": "oc_1", "message_type": "text",
                              "content": "{\"text\":\"hello\"}"}},
    })
}

#[tokio::test]
async fn a_signed_event_is_forwarded_unchanged() {
    let backend = Backend::echo().await;
    let proxy = start(&backend).await;
    let body = encrypt_feishu(KEY, event(&fresh_id(), TOKEN).to_string().as_bytes());
    let response = post(&proxy, &body, signed(&body)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let received = backend.only_request();
    assert_eq!(received.text(), body);
    // The headers of the platform are forwarded: its SDK behind weir may verify them again.
    assert!(received.header("x-lark-signature").is_some());
    assert_eq!(received.all("x-weir-platform"), ["feishu"]);
    let event = proxy.event_of(&response).await;
    assert_eq!(event["platform"], "feishu");
    assert_eq!(event["weir"]["signature"]["scheme"], "feishu");
}

#[tokio::test]
async fn an_invalid_or_missing_signature_is_rejected() {
    let backend = Backend::echo().await;
    let proxy = start(&backend).await;
    let body = encrypt_feishu(KEY, event(&fresh_id(), TOKEN).to_string().as_bytes());
    let now = unix_now();
    let wrong_key = sign_feishu("wrong", &fresh_id(), now, body.as_bytes());
    let other_body = sign_feishu(KEY, &fresh_id(), now, b"{}");
    let stale = sign_feishu(KEY, &fresh_id(), now - 9 * 3600, body.as_bytes());
    for (headers, code) in [
        (wrong_key, "signature_invalid"),
        (other_body, "signature_invalid"),
        (stale, "signature_expired"),
        (vec![], "signature_missing"),
    ] {
        let response = post(&proxy, &body, headers).await;
        assert_eq!(
            (response.status, response.rejection().as_str()),
            (401, code)
        );
    }
    backend.assert_untouched();
}

#[tokio::test]
async fn a_redelivered_event_is_answered_and_not_forwarded() {
    let backend = Backend::echo().await;
    let proxy = start(&backend).await;
    let id = fresh_id();
    let body = encrypt_feishu(KEY, event(&id, TOKEN).to_string().as_bytes());
    assert_eq!(post(&proxy, &body, signed(&body)).await.status, 200);
    // Redelivered by Feishu: with a new signature and IV, and the same event.
    let again = encrypt_feishu(KEY, event(&id, TOKEN).to_string().as_bytes());
    assert_ne!(again, body);
    let response = post(&proxy, &again, signed(&again)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(backend.requests().len(), 1);
    let event = proxy.event_of(&response).await;
    assert_eq!(event["weir"]["signature"]["outcome"], "duplicate");
    assert!(event.get("error_code").is_none());
}

#[tokio::test]
async fn the_handshake_is_answered_by_weir() {
    let backend = Backend::echo().await;
    let proxy = start(&backend).await;
    let challenge = json!({"challenge": "a \"quoted\" 挑战", "token": TOKEN,
                           "type": "url_verification"})
    .to_string();
    let sealed = encrypt_feishu(KEY, challenge.as_bytes());
    for headers in [signed(&sealed), vec![]] {
        let response = post(&proxy, &sealed, headers).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json(), json!({"challenge": "a \"quoted\" 挑战"}));
        let kind = response.header("content-type").expect("a content type");
        assert!(kind.starts_with("application/json"), "{kind}");
        let event = proxy.event_of(&response).await;
        assert_eq!(event["weir"]["signature"]["outcome"], "handshake");
    }
    // With an invalid token, or encrypted with another key: rejected.
    let forged = json!({"challenge": "c", "token": "wrong", "type": "url_verification"});
    for body in [
        encrypt_feishu(KEY, forged.to_string().as_bytes()),
        encrypt_feishu("another-key", challenge.as_bytes()),
    ] {
        let response = post(&proxy, &body, vec![]).await;
        assert_eq!(response.status, 401, "{}", response.text());
    }
    backend.assert_untouched();
}

#[tokio::test]
async fn invalid_envelopes_are_rejected() {
    let backend = Backend::echo().await;
    let proxy = start(&backend).await;
    for body in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"encrypt":""}"#,
        r#"{"encrypt":"!"}"#,
        r#"{"encrypt":"AAAA"}"#,
        r#"{"encrypt":7}"#,
        r#"{"encrypt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#,
    ] {
        let response = post(&proxy, body, vec![]).await;
        assert_eq!(response.status, 401, "{body}: {}", response.text());
    }
    backend.assert_untouched();
}
