//! Many running streams at SIGTERM, and clients that go on sending requests on the connections that they have.

use std::time::Duration;

use futures_util::future::join_all;
use weir::clock;
use weir_tests::backend::{Backend, PendingRequest};
use weir_tests::client::{CHAT, Client, ClientRequest, StreamingResponse, chat_request};
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

const STREAMS: usize = 50;
/// Clients of short requests.
const BUSY: usize = 8;
/// weir keeps a connection open for one more request if it was used within a second before; a client that pauses for
/// longer may find it closed.
const PAUSE_MAX: Duration = Duration::from_millis(700);
/// How long the streams go on after the signal.
const LASTS: Duration = Duration::from_secs(3);

/// A stream that both sides hold open.
struct OpenStream {
    _client: Client,
    streaming: StreamingResponse,
    call: PendingRequest,
}

impl OpenStream {
    /// Over HTTP/1.1 or HTTP/2, buffered or passed through.
    async fn begin(number: usize, proxy: &Proxy, backend: &Backend) -> Self {
        let mut client = match number % 2 {
            0 => Client::h1(proxy.address()).await,
            _ => Client::h2(proxy.address()).await,
        };
        let body = chat_request("hi", true).to_string();
        let request = match number % 4 {
            0 | 1 => ClientRequest::post(CHAT, body),
            _ => ClientRequest::chunked(CHAT, body.as_bytes(), 20),
        };
        let request = request.header("content-type", "application/json");
        let (mut streaming, call) = tokio::join!(client.open(request), async {
            let mut call = backend.next_request().await;
            call.send_event_stream_head().await;
            call.token("first").await;
            call
        });
        streaming.until("first").await;
        OpenStream {
            _client: client,
            streaming,
            call,
        }
    }

    /// More tokens until the time is over, and the end. Returns the id.
    async fn go_on(mut self, lasts: Duration) -> String {
        let begun = clock::now();
        let mut tokens = 1;
        while begun.elapsed() < lasts {
            let word = format!("word{tokens}.");
            self.call.token(&word).await;
            self.streaming.until(&word).await;
            tokens += 1;
            let pause = std::future::pending::<()>();
            assert!(wait::still_waiting_after(Duration::from_millis(100), pause).await);
        }
        self.call.end_chat(tokens).await;
        let id = self.streaming.header("x-request-id").expect("an id");
        let id = id.to_owned();
        let rest = self.streaming.rest().await.expect("a clean end");
        assert!(rest.ends_with(b"data: [DONE]\n\n"));
        id
    }
}

/// What a client of short requests got.
#[derive(Default)]
struct Sent {
    answered: Vec<String>,
    /// Requests that were written and not answered, on connections that were used just before.
    lost: usize,
    /// The same after a pause, in which weir may close a connection.
    closed: usize,
}

/// Sends requests on one connection until it is closed.
async fn send_until_closed(proxy: &Proxy) -> Sent {
    let mut sent = Sent::default();
    let mut raw = Raw::connect(proxy.address()).await;
    let mut used_at = clock::now();
    while !raw.is_closed() {
        let paused = used_at.elapsed();
        let written = raw.try_write("GET /short HTTP/1.1\r\nHost: weir.test\r\n\r\n");
        let response = match written.await {
            Ok(()) => raw.try_response().await,
            Err(_) => None,
        };
        let Some(response) = response else {
            match paused < PAUSE_MAX {
                true => sent.lost += 1,
                false => sent.closed += 1,
            }
            break;
        };
        assert_eq!(response.status, 200, "{}", response.text());
        let id = response.header("x-request-id").expect("an id");
        sent.answered.push(id.to_owned());
        used_at = clock::now();
        if response.header("connection") == Some("close") {
            assert!(raw.closes_within(wait::PATIENCE).await);
            break;
        }
    }
    sent
}

#[tokio::test]
async fn fifty_streams_and_busy_clients_lose_nothing_at_shutdown() {
    let backend = Backend::manual().await;
    let short = Backend::whole_responses().await;
    let proxy = Setup::new(&backend)
        .backend("short", &[short.url()], &[])
        .routes("- {name: short, path: /short, backend: short}")
        .routes("- {name: all, path: /*, backend: assistant}")
        .start()
        .await;
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        streams.push(OpenStream::begin(number, &proxy, &backend).await);
    }
    let busy = (0..BUSY).map(|_| send_until_closed(&proxy));
    let stopping = async {
        // Some of the short requests are answered by now.
        wait::eventually("short requests", wait::PATIENCE, || {
            proxy.events().len() >= BUSY
        })
        .await;
        proxy.sigterm();
        let going_on = streams.into_iter().map(|stream| stream.go_on(LASTS));
        join_all(going_on).await
    };
    let (sent, mut ids) = tokio::join!(join_all(busy), stopping);
    let exit = proxy.wait_exit(wait::PATIENCE).await;
    assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
    assert!(
        !proxy.stderr().contains("shutdown.drain is over"),
        "{}",
        proxy.stderr()
    );
    let lost: usize = sent.iter().map(|sent| sent.lost).sum();
    assert_eq!(lost, 0, "requests without a response");
    let closed: usize = sent.iter().map(|sent| sent.closed).sum();
    ids.extend(sent.into_iter().flat_map(|sent| sent.answered));
    let events = proxy.events();
    let mut recorded: Vec<_> = events
        .iter()
        .filter(|event| event["error_code"] != "client_closed")
        .map(|event| event["event"]["id"].as_str().expect("an id"))
        .collect();
    // Requests that were closed before they were read have no event.
    assert!(events.len() - recorded.len() <= closed);
    ids.sort_unstable();
    recorded.sort_unstable();
    assert_eq!(recorded, ids);
    let failed = events
        .iter()
        .find(|event| event["event"]["outcome"] == "failure");
    assert!(failed.is_none(), "{failed:?}");
}
