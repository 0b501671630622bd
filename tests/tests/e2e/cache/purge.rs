//! `DELETE /api/cache`.

use serde_json::json;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{self, ClientRequest, ClientResponse};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;

use super::is_hit;

const ROUTES: &str = "- {name: chat, path: /v1/*, backend: assistant, cache: {scope: route}}
- {name: ask, path: /ask, backend: assistant, cache: {scope: route}}
- {name: pages, path: /pages/*, backend: assistant, cache: {http: true}}
- {name: rest, path: /*, backend: assistant}";

pub(super) async fn purge(proxy: &Proxy, query: &str) -> ClientResponse {
    let host = proxy.admin().to_string();
    let request = ClientRequest::new("DELETE", &format!("/api/cache{query}"));
    client::send(proxy.admin(), request.header("host", &host)).await
}

fn requests() -> [ClientRequest; 4] {
    [
        ClientRequest::chat("one"),
        ClientRequest::chat("two"),
        ClientRequest::json("/ask", &json!({"question": "one"})),
        ClientRequest::get("/pages/A%20%C3%A9%2F1+?v=1"),
    ]
}

/// Sends each request; returns which are hits.
async fn hits(proxy: &Proxy) -> [bool; 4] {
    let mut hits = [false; 4];
    for (hit, request) in hits.iter_mut().zip(requests()) {
        *hit = is_hit(&proxy.send(request).await);
    }
    hits
}

/// The key in the event of a request.
async fn key_of(proxy: &Proxy, response: &ClientResponse) -> String {
    let event = proxy.event_of(response).await;
    let key = event["weir"]["cache"]["key"].as_str();
    key.expect("a key").to_owned()
}

#[tokio::test]
async fn a_purge_removes_all_responses_those_of_a_route_or_one() {
    let backend = Backend::responding(|request| {
        let response = BackendResponse::chat("done");
        match request.target.starts_with("/pages/") {
            true => response.header("cache-control", "max-age=60"),
            false => response,
        }
    })
    .await;
    let proxy = Setup::new(&backend).routes(ROUTES).start().await;
    let first = proxy.send(ClientRequest::chat("one")).await;
    let key = key_of(&proxy, &first).await;
    let page = || requests().into_iter().next_back().expect("one of a page");
    let stored = key_of(&proxy, &proxy.send(page()).await).await;
    let page_key = key_of(&proxy, &proxy.send(page()).await).await;
    assert_eq!(page_key, stored, "that of a hit");
    for (query, purged, left) in [
        (String::new(), None, [false; 4]),
        (
            "?route=chat".to_owned(),
            Some(2),
            [false, false, true, true],
        ),
        (format!("?key={key}"), Some(1), [false, true, true, true]),
        (format!("?route=ask&key={key}"), Some(0), [true; 4]),
        (
            format!("?key={page_key}"),
            Some(1),
            [true, true, true, false],
        ),
        // As a browser shows it, and as an event has it.
        (
            "?key=http://a.test/pages/A%20%C3%A9%2F1+?v=1".to_owned(),
            Some(1),
            [true, true, true, false],
        ),
        (
            "?key=/pages/A%2520%25C3%25A9%252F1%2B".to_owned(),
            Some(1),
            [true, true, true, false],
        ),
        (
            "?route=pages".to_owned(),
            Some(1),
            [true, true, true, false],
        ),
        (String::new(), Some(4), [false; 4]),
    ] {
        let response = purge(&proxy, &query).await;
        assert_eq!(response.status, 200, "{query} {}", response.text());
        if let Some(purged) = purged {
            assert_eq!(response.json(), json!({"purged": purged}), "{query}");
        }
        assert_eq!(hits(&proxy).await, left, "{query}");
    }
    for (query, status, detail) in [
        ("?route=rest", 404, "routes with a cache: chat, ask, pages"),
        ("?key=one", 400, "32 hexadecimal digits"),
        ("?name=chat", 400, "unknown field `name`"),
    ] {
        let response = purge(&proxy, query).await;
        assert_eq!(response.status, status, "{query}");
        assert!(
            response.text().contains(detail),
            "{query} {}",
            response.text()
        );
    }
    assert_eq!(hits(&proxy).await, [true; 4], "nothing else was purged");
    let metrics = proxy.metrics().await;
    let labels = [("route", "chat"), ("reason", "purged")];
    assert_eq!(metrics.sum("weir_cache_evictions_total", &labels), 6.0);
}

#[tokio::test]
async fn a_response_to_a_request_from_before_a_purge_is_not_stored() {
    let backend = Backend::manual().await;
    let proxy = Setup::new(&backend).routes(ROUTES).start().await;
    let requests: [(bool, fn() -> ClientRequest); 2] = [
        (true, || ClientRequest::chat("one")),
        (false, || ClientRequest::get("/pages/a")),
    ];
    for (is_chat, request) in requests {
        let send = || proxy.send(request());
        let old = async {
            let pending = backend.next_request().await;
            assert_eq!(purge(&proxy, "").await.status, 200);
            let response = BackendResponse::chat("old").header("cache-control", "max-age=60");
            pending.respond(response).await;
        };
        let (response, ()) = tokio::join!(send(), old);
        assert_eq!(response.status, 200);
        if is_chat {
            // Its head is sent once the response is complete.
            assert_eq!(response.header("cache-status"), Some("weir; fwd=miss"));
        }
        let new = async {
            let pending = backend.next_request().await;
            let response = BackendResponse::chat("new").header("cache-control", "max-age=60");
            pending.respond(response).await;
        };
        let (response, ()) = tokio::join!(send(), new);
        assert!(!is_hit(&response));
        let again = send().await;
        assert!(is_hit(&again));
        assert_eq!(again.body, response.body);
    }
}
