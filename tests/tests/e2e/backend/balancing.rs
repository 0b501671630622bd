//! The balancing policies.

use std::collections::HashSet;

use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::setup::{OPEN, Setup};

#[tokio::test]
async fn conversations_stay_with_their_endpoint() {
    let backends = [
        Backend::echo().await,
        Backend::echo().await,
        Backend::echo().await,
    ];
    let urls: Vec<_> = backends.iter().map(Backend::url).collect();
    let proxy = Setup::without_backend()
        .backend("assistant", &urls, &["load_balancing: consistent"])
        .routes(OPEN)
        .start()
        .await;
    let mut client = Client::h1(proxy.address()).await;
    for number in 0..64 {
        let conversation = format!("c{number}");
        for _ in 0..2 {
            let request = ClientRequest::get("/a").header("x-conversation-id", &conversation);
            assert_eq!(client.send(request).await.status, 200);
        }
    }
    // Without a conversation, those of one address.
    for _ in 0..4 {
        assert_eq!(client.send(ClientRequest::get("/a")).await.status, 200);
    }
    let mut seen = HashSet::new();
    for backend in &backends {
        let requests = backend.requests();
        assert!(!requests.is_empty());
        let conversations = requests
            .iter()
            .map(|request| request.header("x-conversation-id"));
        for conversation in conversations.collect::<HashSet<_>>() {
            let conversation = conversation.map(str::to_owned);
            assert!(seen.insert(conversation.clone()), "{conversation:?} moved");
        }
    }
}

#[tokio::test]
async fn a_busy_endpoint_is_avoided() {
    let (busy, free) = (Backend::manual().await, Backend::echo().await);
    let proxy = Setup::without_backend()
        .backend(
            "assistant",
            &[busy.url(), free.url()],
            &["load_balancing: least_request"],
        )
        .routes(OPEN)
        .start()
        .await;
    // On one connection each: the next request is read when the last one is no longer in progress.
    let mut first = Client::h1(proxy.address()).await;
    let mut client = Client::h1(proxy.address()).await;
    // Ties are broken at random: one request of a few goes to the manual backend and stays there.
    let waiting = tokio::spawn(async move {
        loop {
            first.send(ClientRequest::get("/wait")).await;
        }
    });
    let call = busy.next_request().await;
    for _ in 0..10 {
        assert_eq!(client.send(ClientRequest::get("/a")).await.status, 200);
    }
    assert_eq!(busy.requests().len(), 1);
    waiting.abort();
    call.respond(BackendResponse::status(200)).await;
}
