//! A herd on one URI: one request for all, unless the response is not for all.

use std::time::Duration;

use weir_tests::backend::{Backend, BackendResponse, PendingRequest};
use weir_tests::client::{self, ClientRequest, ClientResponse};
use weir_tests::metrics::Metrics;
use weir_tests::proxy::Proxy;
use weir_tests::wait;

use super::start;

const HERD: usize = 200;
const BODY: &str = "the page";

fn page(cache_control: &str) -> BackendResponse {
    let response = BackendResponse::bytes("text/plain", BODY);
    response.header("cache-control", cache_control)
}

/// Equal requests, all of which have reached the proxy; as many as stated follow another one.
struct Herd(Vec<tokio::task::JoinHandle<ClientResponse>>);

impl Herd {
    async fn send(proxy: &Proxy, path: &str, followers: usize) -> Self {
        let address = proxy.address();
        let requests = (0..HERD).map(|_| {
            let request = ClientRequest::get(path);
            tokio::spawn(async move { client::send(address, request).await })
        });
        let herd = Herd(requests.collect());
        let all_in = |metrics: &Metrics| {
            let is_led = metrics.sum("weir_cache_followers", &[]) > followers as f64 - 0.5;
            metrics.sum("weir_requests_in_flight", &[]) >= HERD as f64 && is_led
        };
        proxy.metrics_when("the whole herd", all_in).await;
        herd
    }

    /// Every client gets the whole page; how many with this `Cache-Status`.
    async fn responses_with(self, cache_status: &str) -> usize {
        let mut with_status = 0;
        for response in self.0 {
            let response = response.await.expect("a response");
            assert_eq!((response.status, &*response.text()), (200, BODY));
            with_status += usize::from(response.header("cache-status") == Some(cache_status));
        }
        with_status
    }
}

async fn respond_to_all(pending: Vec<PendingRequest>, cache_control: &str) {
    for request in pending {
        request.respond(page(cache_control)).await;
    }
}

#[tokio::test]
async fn a_cold_or_expired_response_is_fetched_once() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;

    let herd = Herd::send(&proxy, "/cold", HERD - 1).await;
    let stale = page("max-age=60")
        .header("etag", "\"a\"")
        .header("age", "50");
    backend.next_request().await.respond(stale).await;
    assert_eq!(herd.responses_with("weir; fwd=miss; stored").await, 1);
    assert_eq!(backend.requests().len(), 1);

    let first = tokio::spawn(client::send(
        proxy.address(),
        ClientRequest::get("/expired"),
    ));
    let stale = page("max-age=60")
        .header("etag", "\"a\"")
        .header("age", "90");
    backend.next_request().await.respond(stale).await;
    first.await.expect("a response");
    let herd = Herd::send(&proxy, "/expired", HERD - 1).await;
    let validation = backend.next_request().await;
    assert_eq!(validation.request().header("if-none-match"), Some("\"a\""));
    let fresh = BackendResponse::status(304).header("cache-control", "max-age=60");
    validation.respond(fresh.header("etag", "\"a\"")).await;
    assert_eq!(
        herd.responses_with("weir; fwd=stale; fwd-status=304").await,
        1
    );
    assert_eq!(backend.requests().len(), 3);
    backend.assert_faultless();
}

#[tokio::test]
async fn a_herd_on_an_uncacheable_response_is_not_serialised() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let herd = Herd::send(&proxy, "/own", HERD - 1).await;
    backend.next_request().await.respond(page("no-store")).await;
    // All others arrive before any of them has been answered.
    let mut pending = Vec::new();
    for _ in 1..HERD {
        pending.push(backend.next_request().await);
    }
    respond_to_all(pending, "no-store").await;
    assert_eq!(herd.responses_with("weir; fwd=miss").await, HERD);

    // The next ones do not even wait for the first.
    let herd = Herd::send(&proxy, "/own", 0).await;
    let mut pending = Vec::new();
    for _ in 0..HERD {
        pending.push(backend.next_request().await);
    }
    respond_to_all(pending, "no-store").await;
    assert_eq!(herd.responses_with("weir; fwd=miss").await, HERD);
    assert!(backend.no_request_for(Duration::ZERO).await);
    backend.assert_faultless();
}

#[tokio::test]
async fn a_stale_response_is_served_while_one_request_revalidates_it() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let allowed = "max-age=60, stale-while-revalidate=3600";
    let first = tokio::spawn(client::send(proxy.address(), ClientRequest::get("/page")));
    let stale = page(allowed).header("age", "90");
    backend.next_request().await.respond(stale).await;
    first.await.expect("a response");
    for _ in 0..5 {
        let response = proxy.send(ClientRequest::get("/page")).await;
        assert_eq!(
            response.header("cache-status"),
            Some("weir; hit; detail=stale")
        );
    }
    let revalidation = backend.next_request().await;
    assert_eq!(revalidation.request().method, "GET");
    revalidation
        .respond(page(allowed).header("x-new", "1"))
        .await;
    let mut sent = 6;
    let renewed = wait::within("the new response", wait::PATIENCE, async {
        loop {
            let response = proxy.send(ClientRequest::get("/page")).await;
            sent += 1;
            if response.header("x-new").is_some() {
                break response;
            }
            wait::tick().await;
        }
    });
    let renewed = renewed.await;
    assert!(
        renewed
            .header("cache-status")
            .is_some_and(|status| status.contains("; hit"))
    );
    assert_eq!(backend.requests().len(), 2, "one request revalidates it");
    let events = proxy.events_when(sent).await;
    assert_eq!(events.len(), sent, "one event for each request of a client");
}

/// The header lines of a request, and the status and the body of its response.
type FollowerCase = (&'static [(&'static str, &'static str)], u16, &'static str);

#[tokio::test]
async fn conditions_and_ranges_are_served_from_the_fetch_of_an_equal_request() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let send = |headers: &[(&str, &str)]| {
        let add =
            |request: ClientRequest, (name, value): &(&str, &str)| request.header(name, value);
        let request = headers.iter().fold(ClientRequest::get("/page"), add);
        tokio::spawn(client::send(proxy.address(), request))
    };
    // Nothing is stored or in flight: the condition is the backend's to judge, and says nothing about other requests.
    let first = send(&[("if-none-match", "\"a\"")]);
    let forwarded = backend.next_request().await;
    assert_eq!(forwarded.request().header("if-none-match"), Some("\"a\""));
    let known = BackendResponse::status(304).header("etag", "\"a\"");
    forwarded.respond(known).await;
    assert_eq!(first.await.expect("a response").status, 304);

    let leader = send(&[]);
    let fetch = backend.next_request().await;
    assert_eq!(fetch.request().header("if-none-match"), None);
    let cases: [FollowerCase; 6] = [
        (&[("if-none-match", "\"a\"")], 304, ""),
        (&[("if-none-match", "\"b\"")], 200, BODY),
        (&[("range", "bytes=0-")], 206, BODY),
        (&[("range", "bytes=4-5")], 206, "pa"),
        (&[("range", "bytes=-4")], 206, "page"),
        (&[("range", "bytes=1-1"), ("if-range", "\"b\"")], 200, BODY),
    ];
    let followers = cases.map(|(headers, ..)| send(headers));
    let all_follow = |metrics: &Metrics| metrics.sum("weir_cache_followers", &[]) > 5.5;
    proxy.metrics_when("all follow", all_follow).await;
    let whole = page("max-age=60").header("etag", "\"a\"").with_length();
    fetch.respond(whole).await;
    assert_eq!(leader.await.expect("a response").text(), BODY);
    for (follower, (headers, status, body)) in followers.into_iter().zip(cases) {
        let response = follower.await.expect("a response");
        assert_eq!(
            (response.status, &*response.text()),
            (status, body),
            "{headers:?}"
        );
        let collapsed = Some("weir; fwd=miss; collapsed");
        assert_eq!(response.header("cache-status"), collapsed, "{headers:?}");
        if let ("pa", range) = (body, response.header("content-range")) {
            assert_eq!(range, Some("bytes 4-5/8"));
        }
    }
    assert_eq!(backend.requests().len(), 2);
    backend.assert_faultless();
}

#[tokio::test]
async fn a_herd_that_a_stale_response_serves_does_not_fall_on_a_backend_that_fails() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let first = tokio::spawn(client::send(proxy.address(), ClientRequest::get("/page")));
    let stale = page("max-age=1, stale-if-error=60").header("age", "10");
    backend.next_request().await.respond(stale).await;
    assert_eq!(first.await.expect("a response").status, 200);
    let herd = Herd::send(&proxy, "/page", HERD - 1).await;
    for _ in 0..3 {
        let failure = BackendResponse::status(503);
        backend.next_request().await.respond(failure).await;
    }
    let status = "weir; fwd=stale; detail=stale-if-error";
    assert_eq!(herd.responses_with(status).await, HERD);
    assert_eq!(backend.requests().len(), 4);
}
