//! Many clients that leave at once in the middle of their streams.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use weir::clock;
use weir_tests::backend::{Backend, PendingRequest};
use weir_tests::client::{Client, ClientRequest, StreamingResponse};
use weir_tests::proxy::Proxy;
use weir_tests::resources::Resources;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::FREED_WITHIN;

/// How many streams a client of HTTP/2 has.
const STREAMS: usize = 10;

/// Clients whose streams have begun.
#[derive(Default)]
struct Crowd {
    /// Of HTTP/1.1, and of HTTP/2 clients that close their connections.
    leaving: Vec<Client>,
    /// HTTP/2 clients that only reset their streams.
    staying: Vec<Client>,
    streams: Vec<StreamingResponse>,
    /// When the backend's connection of each stream was closed.
    closed_at: Vec<JoinHandle<Instant>>,
}

impl Crowd {
    /// Half of the clients use HTTP/1.1.
    async fn of(count: usize, proxy: &Proxy, backend: &Backend) -> Self {
        let mut crowd = Crowd::default();
        for _ in 0..count / 2 {
            let mut client = Client::h1(proxy.address()).await;
            crowd.begin(&mut client, backend).await;
            crowd.leaving.push(client);
        }
        for number in 0..count / 2 / STREAMS {
            let mut client = Client::h2(proxy.address()).await;
            for _ in 0..STREAMS {
                crowd.begin(&mut client, backend).await;
            }
            match number % 2 {
                0 => crowd.leaving.push(client),
                _ => crowd.staying.push(client),
            }
        }
        assert_eq!(crowd.streams.len(), count);
        crowd
    }

    async fn begin(&mut self, client: &mut Client, backend: &Backend) {
        let request = ClientRequest::chat_stream("hi");
        let (mut streaming, call) = tokio::join!(client.open(request), async {
            let mut call = backend.next_request().await;
            call.send_event_stream_head().await;
            call.token("first").await;
            call
        });
        streaming.until("first").await;
        self.streams.push(streaming);
        self.closed_at.push(tokio::spawn(closed_at(call)));
    }

    /// All of them leave; returns how long the last of the backend's connections was open after that.
    async fn leave(self) -> (Duration, Vec<Client>) {
        let left_at = clock::now();
        drop(self.streams);
        drop(self.leaving);
        let closed_at = wait::within(
            "the end of the backend's connections",
            wait::PATIENCE,
            join_all(self.closed_at),
        );
        let lasted = closed_at
            .await
            .into_iter()
            .map(|at| at.expect("no panic").saturating_duration_since(left_at));
        (lasted.max().expect("a stream"), self.staying)
    }
}

async fn closed_at(mut call: PendingRequest) -> Instant {
    call.closed().await;
    clock::now()
}

async fn assert_freed(clients: usize, within: Duration) {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend)
        .limit("connections: 5000")
        .start()
        .await;
    // Warm up: what every code path allocates once is not part of the cost.
    Crowd::of(4 * STREAMS, &proxy, &backend).await.leave().await;
    wait::eventually("idle connections", wait::PATIENCE, || {
        backend.connections_open() == 0
    })
    .await;
    let rest = Resources::of(proxy.process());
    let crowd = Crowd::of(clients, &proxy, &backend).await;
    let (lasted, staying) = crowd.leave().await;
    assert!(lasted <= within, "{lasted:?}");
    for event in proxy.events_when(clients + 4 * STREAMS).await {
        assert_eq!(event["weir"]["client_aborted"], true, "{event}");
    }
    assert_eq!(backend.connections_open(), 0);
    drop(staying);
    Resources::returned_to(rest, proxy.process()).await;
}

#[tokio::test]
async fn a_hundred_clients_that_leave_free_their_connections() {
    assert_freed(100, FREED_WITHIN).await;
}

#[tokio::test]
#[ignore = "times a loaded machine; `cargo test -p weir-tests --test e2e -- --ignored a_thousand_clients`"]
async fn a_thousand_clients_that_leave_free_their_connections_within_a_second() {
    assert_freed(1_000, Duration::from_secs(1)).await;
}
