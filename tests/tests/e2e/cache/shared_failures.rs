//! Failures of a response that equal requests share, after its head: each of them that has received the head records what
//! its leader records, and the others try again, one after the other.

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use weir_tests::backend::{Backend, BackendResponse, PendingRequest};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::metrics::Metrics;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

/// What becomes of the response once its first piece has arrived.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Reset,
    Silence,
    Error,
    NoTerminalEvent,
    TruncatedJson,
    EmptyJson,
}

const FAILURES: [(Failure, &str); 6] = [
    (Failure::Reset, "upstream_reset"),
    (Failure::Silence, "upstream_timeout"),
    (Failure::Error, "upstream_error"),
    (Failure::NoTerminalEvent, "upstream_incomplete"),
    (Failure::TruncatedJson, "upstream_incomplete"),
    (Failure::EmptyJson, "upstream_incomplete"),
];

impl Failure {
    fn is_of_a_stream(self) -> bool {
        !matches!(self, Failure::TruncatedJson | Failure::EmptyJson)
    }

    fn request(self) -> ClientRequest {
        match self.is_of_a_stream() {
            true => ClientRequest::chat_stream("why?"),
            false => ClientRequest::chat("why?"),
        }
    }

    /// Begins the response; a stream, with its first event.
    async fn begin(self, call: &mut PendingRequest) {
        if self.is_of_a_stream() {
            call.send_event_stream_head().await;
            call.token("well").await;
        }
    }

    async fn end(self, mut call: PendingRequest) {
        let json = |body: &'static str| BackendResponse::bytes("application/json", body);
        match self {
            Failure::Reset => call.reset(),
            Failure::Silence => call.closed().await,
            Failure::Error => {
                let error = r#"{"error":{"message":"overloaded","type":"server_error"}}"#;
                call.event(error).await;
                call.finish().await;
            }
            Failure::NoTerminalEvent => call.finish().await,
            Failure::TruncatedJson => {
                let body = r#"{"object":"chat.completion","choices":[{"index":0,"#;
                call.respond(json(body).with_length()).await;
            }
            Failure::EmptyJson => call.respond(json("").with_length()).await,
        }
    }
}

async fn start(backend: &Backend, failure: Failure) -> Proxy {
    let idle_timeout = match failure {
        Failure::Silence => "idle_timeout: 1s",
        _ => "idle_timeout: 1m",
    };
    let route =
        "- {name: chat, path: /v1/*, backend: assistant, cache: {answers: true, scope: route}}";
    Setup::new(backend)
        .backend_options(&["retry: {attempts: 1}", idle_timeout])
        .routes(route)
        .start()
        .await
}

#[tokio::test]
async fn followers_record_the_failure_of_their_leader() {
    const CLIENTS: usize = 4;
    for (failure, code) in FAILURES {
        let backend = Backend::manual().await;
        let proxy = start(&backend, failure).await;
        let mut clients = JoinSet::new();
        let (begun, mut beginnings) = mpsc::channel(CLIENTS);
        for number in 0..CLIENTS {
            let mut client = match number % 2 {
                0 => Client::h1(proxy.address()).await,
                _ => Client::h2(proxy.address()).await,
            };
            let begun = begun.clone();
            clients.spawn(async move {
                let response = client.open(failure.request()).await;
                begun.send(()).await.expect("the test waits");
                // Some of the responses are truncated.
                response.rest().await.is_ok()
            });
        }
        let follow =
            |metrics: &Metrics| metrics.sum("weir_cache_followers", &[]) > CLIENTS as f64 - 1.5;
        proxy.metrics_when("the requests to follow", follow).await;
        let mut call = backend.next_request().await;
        failure.begin(&mut call).await;
        if failure.is_of_a_stream() {
            // A response that fails before its head is sent once more.
            for _ in 0..CLIENTS {
                let beginning = beginnings.recv();
                wait::within("a head", wait::PATIENCE, beginning).await;
            }
        }
        failure.end(call).await;
        let whole = wait::within("all responses", wait::PATIENCE, clients.join_all()).await;
        assert!(
            whole.iter().all(|is_whole| *is_whole == whole[0]),
            "{failure:?}"
        );
        let events = proxy.events_when(CLIENTS).await;
        let mut recorded: Vec<_> = events
            .iter()
            .map(|event| {
                let outcome = event["weir"]["cache"]["outcome"].as_str();
                (outcome, event["error_code"].as_str())
            })
            .collect();
        recorded.sort_unstable();
        let mut expected = [(Some("collapsed"), Some(code)); CLIENTS];
        expected[CLIENTS - 1].0 = Some("miss");
        assert_eq!(recorded, expected, "{failure:?}");
        let metrics = proxy.metrics().await;
        let failures = metrics.sum("weir_errors_total", &[("error_code", code)]);
        assert!(
            (failures - CLIENTS as f64).abs() < 0.5,
            "{failure:?}: {failures}"
        );
        assert_eq!(backend.requests().len(), 1, "{failure:?}");
    }
}

/// What the clients got of JSON responses that are cut, and how often the backend was asked.
#[tokio::test]
async fn a_json_response_that_is_cut_is_asked_for_again_by_one_follower_at_a_time() {
    const CLIENTS: usize = 100;
    const ATTEMPTS_MAX: usize = 3;
    for recovers in [false, true] {
        let backend = Backend::manual().await;
        let proxy = start(&backend, Failure::Reset).await;
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let mut client = match number % 2 {
                0 => Client::h1(proxy.address()).await,
                _ => Client::h2(proxy.address()).await,
            };
            clients.spawn(async move {
                let response = client.open(ClientRequest::chat("why?")).await;
                let status = response.status;
                (status, response.rest().await.is_ok())
            });
        }
        let follow =
            |metrics: &Metrics| metrics.sum("weir_cache_followers", &[]) > CLIENTS as f64 - 1.5;
        proxy.metrics_when("the requests to follow", follow).await;
        // The head and half of the body at once, and a close.
        let cut = BackendResponse::chat("because").with_length().truncated();
        let first = backend.next_request().await;
        first.respond(cut.clone()).await;
        let answering = async {
            loop {
                let next = backend.next_request().await;
                let response = match recovers {
                    true => BackendResponse::chat("because"),
                    false => cut.clone(),
                };
                next.respond(response).await;
            }
        };
        let got = wait::within("all responses", wait::PATIENCE, async {
            tokio::select! {
                got = clients.join_all() => got,
                () = answering => unreachable!("it has no end"),
            }
        })
        .await;
        let whole = got.iter().filter(|got| **got == (200, true)).count();
        let refused = got.iter().filter(|(status, _)| *status == 502).count();
        let cut = got.iter().filter(|got| **got == (200, false)).count();
        assert_eq!(whole + refused + cut, CLIENTS, "{got:?}");
        let asked = backend.requests().len();
        match recovers {
            true => {
                // Those that had received the head are cut; how many, depends on the scheduler.
                let attempts = 1 + usize::from(cut < CLIENTS);
                assert_eq!((asked, refused), (attempts, 0), "{cut} were cut");
            }
            false => {
                assert!(asked <= ATTEMPTS_MAX, "{asked}");
                assert_eq!(whole, 0);
            }
        }
    }
}
