//! Request coalescing: equal questions in flight are asked once, and every client gets the whole response.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use weir_tests::backend::{Backend, BackendResponse, PendingRequest, chat_event};
use weir_tests::client::{CHAT, Client, ClientRequest, ClientResponse};
use weir_tests::metrics::Metrics;
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::sign::bearer;
use weir_tests::wait;

const HERD: usize = 200;

async fn start(backend: &Backend, cache: &str) -> Proxy {
    let route = format!(
        "- {{name: chat, path: /v1/*, backend: assistant, cache: {{answers: true, {cache}}}}}"
    );
    Setup::new(backend)
        .backend_options(&["retry: {attempts: 1}"])
        .routes(&route)
        .start()
        .await
}

/// Half of them over HTTP/1.1, half over HTTP/2.
async fn client(proxy: &Proxy, number: usize) -> Client {
    match number % 2 {
        0 => Client::h1(proxy.address()).await,
        _ => Client::h2(proxy.address()).await,
    }
}

/// Sends equal requests at once; all but the leader follow it when this returns.
async fn herd(
    proxy: &Proxy,
    count: usize,
    request: impl Fn() -> ClientRequest,
) -> JoinSet<ClientResponse> {
    let mut clients = JoinSet::new();
    for number in 0..count {
        let mut client = client(proxy, number).await;
        let request = request();
        clients.spawn(async move { client.send(request).await });
    }
    // One of them leads, unless there is a leader already.
    let follow = |metrics: &Metrics| {
        let in_flight = metrics.sum("weir_requests_in_flight", &[]);
        metrics.sum("weir_cache_followers", &[]) > in_flight - 1.5 && in_flight >= count as f64
    };
    proxy.metrics_when("the requests to follow", follow).await;
    clients
}

async fn all(clients: JoinSet<ClientResponse>) -> Vec<ClientResponse> {
    wait::within("all responses", wait::PATIENCE, clients.join_all()).await
}

fn status_of(response: &ClientResponse) -> &str {
    response.header("cache-status").unwrap_or_default()
}

/// Twenty tokens, and the end.
async fn stream_rest(mut call: PendingRequest, from: usize) {
    for number in from..20 {
        call.token(&format!("word{number} ")).await;
    }
    call.end_chat(20).await;
}

fn assert_herd(responses: &[ClientResponse], leaders: usize) {
    let mut ids: Vec<_> = responses
        .iter()
        .map(|response| response.header("x-request-id").expect("an id"))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), responses.len(), "each has its own id");
    for response in responses {
        assert_eq!(response.status, 200);
        assert_eq!(response.body, responses[0].body);
        assert_eq!(
            response.header("content-type"),
            responses[0].header("content-type")
        );
        assert_eq!(response.header("x-of-the-backend"), Some("1"));
    }
    let collapsed = responses
        .iter()
        .filter(|response| status_of(response) == "weir; fwd=miss; collapsed");
    assert_eq!(collapsed.count(), responses.len() - leaders);
}

#[tokio::test]
async fn two_hundred_equal_questions_are_asked_once_cold_and_expired() {
    let backend = Backend::manual().await;
    let proxy = start(&backend, "ttl: 1ms, scope: route").await;
    // The response of the first herd has expired when the second one arrives.
    for asked in 1..=2 {
        let clients = herd(&proxy, HERD, || ClientRequest::chat("why?")).await;
        let response = BackendResponse::chat("because").header("x-of-the-backend", "1");
        backend.next_request().await.respond(response).await;
        assert_herd(&all(clients).await, 1);
        assert_eq!(backend.requests().len(), asked);
    }
    let events = proxy.events_when(2 * HERD).await;
    let outcome = |outcome: &str| {
        let events = events.iter();
        events
            .filter(|event| event["weir"]["cache"]["outcome"] == outcome)
            .count()
    };
    assert_eq!((outcome("miss"), outcome("collapsed")), (2, 2 * HERD - 2));
    // Tokens are counted once.
    let metrics = proxy.metrics().await;
    assert!((metrics.sum("weir_model_calls_total", &[]) - 2.0).abs() < 0.5);
}

#[tokio::test]
async fn a_leader_that_leaves_stops_nobody() {
    let backend = Backend::manual().await;
    let proxy = start(&backend, "scope: route").await;
    for protocol in 0..2 {
        let question = format!("why, {protocol}?");
        let request = || ClientRequest::chat_stream(&question);
        let mut leader = client(&proxy, protocol).await;
        let leading = tokio::spawn(async move {
            let streaming = leader.open(request_of(protocol)).await;
            (leader, streaming)
        });
        let mut call = backend.next_request().await;
        let clients = herd(&proxy, HERD - 1, request).await;
        call.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Of-The-Backend: 1\r\n\
                    Transfer-Encoding: chunked\r\n\r\n",
        )
        .await;
        call.token("word0 ").await;
        let (leader, mut first) = leading.await.expect("joined");
        first.until("word0").await;
        drop((leader, first));
        stream_rest(call, 1).await;
        let responses = all(clients).await;
        assert_herd(&responses, 0);
        assert!(responses[0].text().contains("word19"));
        assert!(responses[0].text().ends_with("data: [DONE]\n\n"));
        assert_eq!(backend.requests().len(), protocol + 1);
        let hit = proxy.send(request_of(protocol)).await;
        assert_eq!(status_of(&hit), "weir; hit; detail=memory");
        assert_eq!(hit.body, responses[0].body);
    }
}

fn request_of(protocol: usize) -> ClientRequest {
    ClientRequest::chat_stream(&format!("why, {protocol}?"))
}

#[tokio::test]
async fn followers_get_what_is_there_at_once_and_all_leaving_stops_the_request() {
    let backend = Backend::manual().await;
    let proxy = start(&backend, "scope: route").await;
    for protocol in 0..2 {
        let mut leader = client(&proxy, protocol).await;
        let (mut first, mut call) = backend.open_stream(&mut leader, request_of(protocol)).await;
        call.token("word0 ").await;
        first.until("word0").await;
        // Nothing else is sent by the backend.
        let mut follower = client(&proxy, protocol + 1).await;
        let mut second = follower.open(request_of(protocol)).await;
        second.until("word0").await;
        drop((first, leader));
        call.token("word1 ").await;
        second.until("word1").await;
        drop((second, follower));
        call.closed().await;
    }
    assert_eq!(backend.requests().len(), 2);
}

#[tokio::test]
async fn a_failed_leader_is_replaced_twice_and_then_all_fail() {
    for failing in 0..=3 {
        let backend = Backend::manual().await;
        let proxy = start(&backend, "scope: route").await;
        let clients = herd(&proxy, 20, || ClientRequest::chat("why?")).await;
        for number in 0..failing {
            let call = backend.next_request().await;
            match number % 2 {
                0 => call.reset(),
                // On a connection that is not used again: a request over one that breaks is sent once more.
                _ => {
                    let failure = BackendResponse::status(503).until_close();
                    call.respond(failure).await;
                }
            }
        }
        if failing < 3 {
            let response = BackendResponse::chat("because");
            backend.next_request().await.respond(response).await;
        }
        let responses = all(clients).await;
        let succeeded = responses.iter().filter(|response| response.status == 200);
        let expected = if failing < 3 { 20 - failing } else { 0 };
        assert_eq!(succeeded.count(), expected);
        assert_eq!(backend.requests().len(), (failing + 1).min(3));
        if failing == 2 {
            // The leader that got a response of the backend, and only that one.
            let with_503 = responses.iter().filter(|response| response.status == 503);
            assert_eq!(with_503.count(), 1);
        }
    }
}

#[tokio::test]
async fn followers_of_failed_responses_get_the_status_of_the_last_one() {
    let backend = Backend::manual().await;
    let proxy = start(&backend, "scope: route").await;
    let clients = herd(&proxy, 10, || ClientRequest::chat("why?")).await;
    for _ in 0..3 {
        let busy = BackendResponse::status(503).header("retry-after", "7");
        backend.next_request().await.respond(busy).await;
    }
    for response in all(clients).await {
        assert_eq!(response.status, 503);
        assert_eq!(response.header("retry-after"), Some("7"));
    }
    assert_eq!(backend.requests().len(), 3);
    let failed = |event: &serde_json::Value| event["error_code"] == "upstream_status";
    assert!(proxy.events_when(10).await.iter().all(failed));
}

#[tokio::test]
async fn what_must_not_be_stored_is_not_shared_and_not_serialised() {
    let backend = Backend::manual().await;
    let proxy = start(&backend, "scope: route").await;
    for (name, value) in [("cache-control", "no-store"), ("set-cookie", "a=b")] {
        let clients = herd(&proxy, 20, || ClientRequest::chat(name)).await;
        let response = || BackendResponse::chat("mine").header(name, value);
        let first = backend.next_request().await;
        assert!(backend.no_request_for(Duration::from_millis(50)).await);
        first.respond(response()).await;
        // All of the others are at the backend at the same time.
        let mut calls = Vec::new();
        for _ in 1..20 {
            calls.push(backend.next_request().await);
        }
        for call in calls {
            call.respond(response()).await;
        }
        let responses = all(clients).await;
        assert!(
            responses
                .iter()
                .all(|response| status_of(response) == "weir; fwd=miss")
        );
    }
}

#[tokio::test]
async fn clients_of_another_scope_and_of_routes_without_it_are_not_coalesced() {
    let backend = Backend::manual().await;
    let signature = "signature: {scheme: bearer, clients: [{name: a, secrets: [key-of-a]}, \
                     {name: b, secrets: [key-of-b]}]}";
    let route = |coalesce| {
        format!(
            "- {{name: chat, path: /v1/*, backend: assistant, {signature}, \
             cache: {{answers: true, coalesce: {coalesce}}}}}"
        )
    };
    for (coalesce, keys) in [(true, ["key-of-a", "key-of-b"]), (false, ["key-of-a"; 2])] {
        let proxy = Setup::new(&backend).routes(&route(coalesce)).start().await;
        let mut clients = JoinSet::new();
        for key in keys {
            let mut client = Client::h1(proxy.address()).await;
            let request = ClientRequest::chat("why?").headers(bearer(key));
            clients.spawn(async move { client.send(request).await });
        }
        let calls = [backend.next_request().await, backend.next_request().await];
        for call in calls {
            call.respond(BackendResponse::chat("because")).await;
        }
        for response in all(clients).await {
            assert_eq!(status_of(&response), "weir; fwd=miss; stored");
        }
    }
}

#[tokio::test]
async fn a_leader_that_does_not_read_holds_nobody_up() {
    const EVENTS: usize = 64;
    let backend = Backend::responding(|_| {
        let event = chat_event(&"x".repeat(64 * 1024));
        let done = ["data: [DONE]\n\n".into()];
        let events = std::iter::repeat_n(event.into(), EVENTS).chain(done);
        BackendResponse::chunks("text/event-stream", events.collect())
    })
    .await;
    let proxy = start(&backend, "scope: route, memory: 64MiB").await;
    let request = ClientRequest::chat_stream("all of it");
    let body = weir_tests::client::chat_request("all of it", true).to_string();
    let mut leader = Raw::connect(proxy.address()).await;
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nHost: weir.test\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    leader.write(head).await;
    let first = leader.read_until(b"\r\n\r\n", wait::PATIENCE).await;
    assert!(first.starts_with(b"HTTP/1.1 200"));
    let whole = proxy.send(request).await;
    assert!(whole.body.len() > EVENTS * 64 * 1024);
    assert!(whole.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(backend.requests().len(), 1);
    // The leader gets all of it, too.
    let rest = leader.read_until(b"data: [DONE]\n\n", wait::PATIENCE).await;
    assert!(rest.len() > EVENTS * 64 * 1024);
}

#[tokio::test]
async fn a_follower_that_does_not_read_holds_nobody_up() {
    let backend = Backend::manual().await;
    let proxy = start(&backend, "scope: route, memory: 64MiB").await;
    let mut leader = Client::h1(proxy.address()).await;
    let (streaming, mut call) = backend
        .open_stream(&mut leader, ClientRequest::chat_stream("long"))
        .await;
    let mut slow = Client::h2(proxy.address()).await;
    let unread = slow.open(ClientRequest::chat_stream("long")).await;
    let reading = tokio::spawn(streaming.whole());
    for _ in 0..64 {
        call.token(&"x".repeat(64 * 1024)).await;
    }
    call.end_chat(64).await;
    let first = reading.await.expect("joined");
    let second = unread.whole().await;
    assert_eq!(first.body, second.body);
}

#[tokio::test]
async fn past_its_bounds_a_response_is_read_at_the_pace_of_its_slowest_reader() {
    const BYTES: usize = 64 << 20;
    let backend = Backend::manual().await;
    let proxy = start(&backend, "scope: route, memory: 1MiB").await;
    let mut leader = Client::h1(proxy.address()).await;
    let (mut streaming, mut call) = backend
        .open_stream(&mut leader, ClientRequest::chat_stream("long"))
        .await;
    let mut unread = Client::h1(proxy.address()).await;
    let follower = unread.open(ClientRequest::chat_stream("long")).await;
    assert_eq!(
        follower.header("cache-status"),
        Some("weir; fwd=miss; collapsed")
    );
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..BYTES >> 16 {
            call.token(&"x".repeat(1 << 16)).await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
        call.end_chat(1).await;
    });
    let a_while = Duration::from_millis(300);
    // Nobody reads, until the backend has always sent more than has been read.
    let mut before = 0;
    while sent.load(Ordering::Relaxed) > before || before == 0 {
        before = sent.load(Ordering::Relaxed);
        wait::sleep(a_while).await;
    }
    // What the sockets and weir hold is far less than the response.
    let mut read = 0;
    while let Ok(piece) = tokio::time::timeout(a_while, streaming.chunk()).await {
        read += piece.expect("more of it").expect("a piece").len();
        assert!(read < BYTES / 2, "nothing waits for the follower");
        wait::tick().await;
    }
    drop((follower, unread));
    let rest = streaming.rest().await.expect("all of it");
    assert!(read + rest.len() > BYTES);
    sending.await.expect("the whole response is sent");
}
