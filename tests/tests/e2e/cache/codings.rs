//! One representation is stored, and served in a coding that each client accepts.

use std::io::{Read as _, Write as _};

use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest, ClientResponse};

use super::{is_hit, start};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn gunzip(coded: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(coded);
    decoder.read_to_end(&mut text).expect("whole gzip");
    text
}

fn with_accept_encoding(request: ClientRequest, codings: &str) -> ClientRequest {
    request.header("accept-encoding", codings)
}

fn assert_gzip(response: &ClientResponse, text: &[u8]) {
    assert!(is_hit(response));
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    assert_eq!(response.header("vary"), Some("accept-encoding"));
    assert_eq!(gunzip(&response.body), text);
}

#[tokio::test]
async fn clients_that_refuse_identity_get_a_compressed_response() {
    let backend = Backend::responding(|received| {
        BackendResponse::chat_for(received)
            .header("etag", "\"strong\"")
            .header("content-digest", "sha-256=:a:")
    })
    .await;
    let proxy = start(&backend).await;
    for request in [
        ClientRequest::chat as fn(&str) -> ClientRequest,
        ClientRequest::chat_stream,
    ] {
        let miss = proxy.send(request("hi")).await;
        for codings in [
            "gzip, deflate, br",
            "identity",
            "*",
            "identity;q=0",
            "*;q=0",
            "br, identity;q=0",
        ] {
            let hit = proxy
                .send(with_accept_encoding(request("hi"), codings))
                .await;
            assert!(is_hit(&hit), "{codings}");
            assert_eq!(hit.header("content-encoding"), None, "{codings}");
            assert_eq!(hit.header("etag"), Some("\"strong\""), "{codings}");
            assert_eq!(hit.body, miss.body, "{codings}");
        }
        for codings in ["gzip, identity;q=0", "gzip;q=0.1, *;q=0"] {
            let hit = proxy
                .send(with_accept_encoding(request("hi"), codings))
                .await;
            assert_gzip(&hit, &miss.body);
            assert_eq!(hit.header("etag"), Some("W/\"strong\""));
            assert_eq!(hit.header("content-digest"), None);
            assert_eq!(hit.header("content-type"), miss.header("content-type"));
            let mut client = Client::h2(proxy.address()).await;
            let hit = client
                .send(with_accept_encoding(request("hi"), codings))
                .await;
            assert_gzip(&hit, &miss.body);
        }
    }
    assert_eq!(backend.requests().len(), 2);
}

#[tokio::test]
async fn a_large_response_is_compressed_incrementally() {
    let words = "what is a weir? ".repeat(20_000);
    let reported = words.clone();
    let backend = Backend::responding(move |_| BackendResponse::chat(&reported)).await;
    let proxy = start(&backend).await;
    let miss = proxy.send(ClientRequest::chat("hi")).await;
    let hit = proxy
        .send(with_accept_encoding(
            ClientRequest::chat("hi"),
            "gzip, *;q=0",
        ))
        .await;
    assert_gzip(&hit, &miss.body);
    assert!(hit.text().len() < words.len() / 4);
}

#[tokio::test]
async fn a_response_compressed_by_the_backend_is_stored_decoded() {
    let backend = Backend::responding(|_| {
        let body = serde_json::json!({
            "id": "chatcmpl-1", "object": "chat.completion", "model": "glm-4",
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": "coded"}}],
        });
        BackendResponse::bytes("application/json", gzip(body.to_string().as_bytes()))
            .header("content-encoding", "gzip")
    })
    .await;
    let proxy = start(&backend).await;
    let miss = proxy
        .send(with_accept_encoding(ClientRequest::chat("hi"), "gzip"))
        .await;
    assert!(!is_hit(&miss));
    let text = gunzip(&miss.body);
    let hit = proxy.send(ClientRequest::chat("hi")).await;
    assert!(is_hit(&hit));
    assert_eq!(hit.header("content-encoding"), None);
    assert_eq!(hit.header("content-length"), Some(&*text.len().to_string()));
    assert_eq!(hit.body, text);
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn responses_that_cannot_be_decoded_are_not_stored() {
    for coding in ["gzip", "x-unheard-of"] {
        let backend = Backend::responding(move |_| {
            BackendResponse::chat("hi").header("content-encoding", coding)
        })
        .await;
        let proxy = start(&backend).await;
        for _ in 0..2 {
            let response = proxy.send(ClientRequest::chat("hi")).await;
            assert_eq!(
                response.header("cache-status"),
                Some("weir; fwd=miss"),
                "{coding}"
            );
        }
        assert_eq!(backend.requests().len(), 2, "{coding}");
    }
}
