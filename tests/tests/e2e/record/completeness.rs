//! Promise 2: over any run, requests answered or aborted = events recorded = requests counted.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use weir_tests::backend::{Backend, BackendResponse, ReceivedRequest};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::metrics::Metrics;
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

fn answer(received: &ReceivedRequest) -> BackendResponse {
    match received.target.as_str() {
        "/cut" => BackendResponse::events(&["{}"]).truncated(),
        "/reset" => BackendResponse::reset_immediately(),
        "/error" => BackendResponse::status(500),
        "/stream" => BackendResponse::chat_stream(&["a", "b"]),
        _ => BackendResponse::echo(received),
    }
}

const ROUTES: &str = "
- {name: signed, path: /signed, backend: assistant, signature: {scheme: hmac, secrets: [secret-0123456789]}}
- {name: limited, path: /limited, backend: assistant, rate_limits: [{name: few, rate: 1/h, burst: 5, by: route}]}
- {name: post, path: /post, methods: [POST], backend: assistant}
- {name: cached, path: /cached, backend: assistant, cache: {answers: true, memory: 1MiB, ttl: 1h, scope: route}}
- {name: ok, path: /ok, backend: assistant}
- {name: cut, path: /cut, backend: assistant}
- {name: reset, path: /reset, backend: assistant}
- {name: error, path: /error, backend: assistant}
- {name: stream, path: /stream, backend: assistant}
- {name: left, path: /left, backend: slow}
";

/// The share of a client: this many rounds of every possible outcome of a request. Returns the number of requests.
async fn client(proxy: &Proxy, rounds: usize) -> usize {
    let mut made = 0;
    for round in 0..rounds {
        let mut one = Client::h1(proxy.address()).await;
        let mut two = Client::h2(proxy.address()).await;
        for path in [
            "/ok", "/none", "/signed", "/limited", "/post", "/error", "/reset", "/stream",
        ] {
            one.send(ClientRequest::get(path)).await;
            two.send(ClientRequest::get(path)).await;
            made += 2;
        }
        two.send(ClientRequest::post("/cached", "{\"a\":1}")).await;
        one.send(ClientRequest::post("/ok", vec![b'x'; 100_000]))
            .await;
        made += 2;
        // The cut may arrive before the head.
        if let Ok(streaming) = two.try_open(ClientRequest::get("/cut")).await {
            let _ = streaming.rest().await;
        }
        made += 1;
        // A client that disconnects within its body, and one that aborts its response.
        let path = if round % 2 == 0 { "/ok" } else { "/left" };
        let length = if round % 2 == 0 { 10 } else { 2 };
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(format!(
            "POST {path} HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {length}\r\n\r\nhi"
        ))
        .await;
        let waits =
            wait::still_waiting_after(Duration::from_millis(50), raw.closes_within(wait::PATIENCE));
        assert!(waits.await);
        drop(raw);
        made += 1;
    }
    made
}

/// The requests in `/metrics`, by status.
async fn counted_requests(proxy: &Proxy) -> HashMap<String, f64> {
    let mut by_code = HashMap::new();
    for sample in proxy.metrics().await.samples {
        if sample.name == "weir_requests_total" {
            *by_code.entry(sample.labels["code"].clone()).or_default() += sample.value;
        }
    }
    by_code
}

fn recorded_events(events: &[Value]) -> HashMap<String, f64> {
    let mut by_code = HashMap::new();
    for event in events {
        let code = event["http"]["response"]["status_code"].to_string();
        *by_code.entry(code).or_default() += 1.0;
    }
    by_code
}

#[tokio::test]
async fn every_request_of_a_mixed_run_is_recorded_and_counted_once() {
    let backend = Backend::responding(answer).await;
    let slow = Backend::manual().await;
    let proxy = Setup::new(&backend)
        .backend("slow", &[slow.url()], &[])
        .routes(ROUTES)
        .start()
        .await;
    let clients = (0..4).map(|_| client(&proxy, 6));
    let made: usize = futures_util::future::join_all(clients).await.iter().sum();
    assert!(made > 450, "{made}");
    let events = proxy.events_when(made).await;
    let codes = recorded_events(&events);
    // Statuses as numbers or as classes: only the sums must match.
    let total: f64 = wait::within("the counts", wait::PATIENCE, async {
        loop {
            let total: f64 = counted_requests(&proxy).await.values().sum();
            if (total - made as f64).abs() < 0.5 {
                return total;
            }
            wait::tick().await;
        }
    })
    .await;
    assert!((total - made as f64).abs() < 0.5);
    for code in ["200", "401", "404", "405", "429", "499", "500", "502"] {
        assert!(codes.contains_key(code), "no {code} in {codes:?}");
    }
    // A request is in flight until it is counted, and its event is counted when it is written.
    let is_over = |metrics: &Metrics| {
        let written = metrics.sum("weir_events_total", &[("outcome", "recorded")]);
        assert!(written < made as f64 + 0.5, "{written} recorded");
        metrics.sum("weir_requests_in_flight", &[]).abs() < 0.5 && written > made as f64 - 0.5
    };
    proxy.metrics_when("the end of all", is_over).await;
}

#[tokio::test]
async fn requests_during_shutdown_are_recorded() {
    let backend = Backend::responding(answer).await;
    let proxy = Setup::new(&backend)
        .backend("slow", &[backend.url()], &[])
        .routes(ROUTES)
        .start()
        .await;
    let address = proxy.address();
    let working = (0..8).map(|_| async move {
        let mut answered = Vec::new();
        while let Some(mut raw) = Raw::try_connect(address).await {
            let request = "GET /ok HTTP/1.1\r\nHost: weir.test\r\n\r\n";
            while raw.try_write(request).await.is_ok() {
                let Some(answer) = raw.try_response().await else {
                    break;
                };
                let id = answer.header("x-request-id").expect("an id");
                answered.push(id.to_owned());
            }
        }
        answered
    });
    let stopping = async {
        wait::eventually("work under way", wait::PATIENCE, || {
            proxy.events().len() > 100
        })
        .await;
        proxy.sigterm();
    };
    let (answered, ()) = tokio::join!(futures_util::future::join_all(working), stopping);
    let exit = proxy.wait_exit(wait::PATIENCE).await;
    assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
    let answered: Vec<String> = answered.into_iter().flatten().collect();
    let events = proxy.events();
    let recorded_events: std::collections::HashSet<&str> = events
        .iter()
        .filter_map(|event| event["http"]["request"]["id"].as_str())
        .collect();
    assert_eq!(
        recorded_events.len(),
        events.len(),
        "two events of one request"
    );
    for id in &answered {
        assert!(
            recorded_events.contains(id.as_str()),
            "{id} was answered but not recorded"
        );
    }
    let unanswered = events.iter().filter(|event| {
        !answered
            .iter()
            .any(|id| event["event"]["id"] == id.as_str())
    });
    for event in unanswered {
        assert_eq!(event["error_code"], "client_closed", "{event}");
    }
    let text = std::fs::read(proxy.event_file()).expect("events");
    assert!(
        text.ends_with(b"\n"),
        "a part of a line is left in the file"
    );
}
