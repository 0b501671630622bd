//! Swapping generations under requests: what is carried over, and what is not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::{App, PATIENCE};
use crate::clock;
use crate::config::{self, Config};
use crate::signature::sign::sign;

const SECRET: &str = "0123456789abcdef";
const QUESTION: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
const ANSWER: &str = r#"{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hi"}}]}"#;

/// A backend on keep-alive connections. A request for `/slow` is answered when `release` has been sent.
pub(super) struct Backend {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    release: mpsc::SyncSender<()>,
}

impl Backend {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (release, released) = mpsc::sync_channel(1);
        let backend = Backend {
            address: listener.local_addr().expect("its address"),
            connections: Arc::default(),
            requests: Arc::default(),
            release,
        };
        let (connections, requests) = (backend.connections.clone(), backend.requests.clone());
        let released = Arc::new(parking_lot::Mutex::new(released));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, released) = (requests.clone(), released.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
                    let mut stream = stream;
                    while let Some((path, _)) = super::request(&mut reader) {
                        requests.fetch_add(1, Ordering::SeqCst);
                        if path == "/slow" {
                            let _ = released.lock().recv_timeout(PATIENCE);
                        }
                        let length = ANSWER.len();
                        let head = format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
                        );
                        let _ = stream.write_all((head + ANSWER).as_bytes());
                    }
                });
            }
        });
        backend
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// The status and the whole text of a response.
pub(super) struct Response {
    pub(super) status: u16,
    text: String,
}

pub(super) fn send(
    address: SocketAddr,
    path: &str,
    fields: &[(String, String)],
    body: &str,
) -> Response {
    let mut stream = begin(address, path, fields, body);
    finish(&mut stream)
}

fn begin(address: SocketAddr, path: &str, fields: &[(String, String)], body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let sent = stream.write_all(format!("{head}\r\n{body}").as_bytes());
    sent.expect("sent");
    stream
}

fn finish(stream: &mut TcpStream) -> Response {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("a response");
    Response {
        status: status.expect("a status"),
        text,
    }
}

fn signed(id: &str) -> Vec<(String, String)> {
    let at_s = clock::unix_now().as_secs();
    sign("hmac", SECRET, at_s, id, QUESTION.as_bytes()).expect("signed")
}

fn config(backend: &Backend, routes: &str) -> Config {
    config_with(backend, routes, "{}", "{state: ''}")
}

/// With these settings of `events` and `alerts`. Nothing listens at the backend `closed`.
pub(super) fn config_with(backend: &Backend, routes: &str, events: &str, alerts: &str) -> Config {
    let text = format!(
        "
listen: [{{address: '127.0.0.1:0'}}]
admin: {{address: '127.0.0.1:0'}}
backends:
  - {{name: a, endpoints: ['http://{}']}}
  - {{name: closed, endpoints: ['http://127.0.0.1:1']}}
routes:
  - name: chat
    path: /v1/chat/completions
    backend: a
    signature: {{scheme: hmac, secrets: [{SECRET}]}}
    cache: {{answers: true}}
{routes}
events: {events}
alerts: {alerts}
shutdown: {{drain: 10s}}
",
        backend.address
    );
    let loaded = config::parse(&text, Path::new("weir.yaml"), &|_| None);
    loaded.expect("a valid configuration").config
}

/// A limit of one request an hour.
fn limited(burst: u32) -> String {
    format!(
        "  - {{name: limited, path: /limited, backend: a, rate_limits: [{{name: few, rate: 1/h, burst: {burst}, by: address}}]}}"
    )
}

#[test]
fn a_swap_carries_over_what_has_the_same_settings_and_disturbs_no_request() {
    let backend = Backend::start();
    let slow = "  - {name: slow, path: /slow, backend: a}";
    let first = config(&backend, &format!("{slow}\n{}", limited(1)));
    let app = App::start(&first).expect("weir starts");
    let address = app.addresses[0].0;
    let chat = "/v1/chat/completions";

    assert_eq!(send(address, chat, &signed("first"), QUESTION).status, 200);
    let once = signed("once");
    assert_eq!(send(address, chat, &once, QUESTION).status, 200);
    assert_eq!(send(address, "/limited", &[], "").status, 200);
    let asked = backend.requests();
    let mut in_flight = begin(address, "/slow", &[], "");
    let deadline = clock::now() + PATIENCE;
    while backend.requests() == asked {
        assert!(clock::now() < deadline, "the slow request arrives");
        std::thread::park_timeout(Duration::from_millis(5));
    }

    // The slow route goes, another one comes, the others stay as they are.
    let other = "  - {name: other, path: /other, backend: a}";
    app.install(&config(&backend, &format!("{other}\n{}", limited(1))));

    // Replay protection, stored responses, keys of limits and connections have been carried over.
    let replayed = send(address, chat, &once, QUESTION);
    assert_eq!(replayed.status, 401);
    assert!(
        replayed.text.contains("signature_replayed"),
        "{}",
        replayed.text
    );
    let asked = backend.requests();
    let stored = send(address, chat, &signed("second"), QUESTION);
    assert_eq!(stored.status, 200);
    assert!(stored.text.contains("weir; hit"), "{}", stored.text);
    assert_eq!(backend.requests(), asked, "the cache responded");
    assert_eq!(send(address, "/limited", &[], "").status, 429);
    let connections = backend.connections.load(Ordering::SeqCst);
    assert_eq!(send(address, "/other", &[], "").status, 200);
    assert_eq!(send(address, "/slow", &[], "").status, 404);
    assert!(
        connections <= 2,
        "{connections} connections: one is busy with the slow request"
    );

    // A request in flight ends in the generation that it began in.
    backend.release.send(()).expect("it waits");
    assert_eq!(finish(&mut in_flight).status, 200);

    // A limit with other settings begins anew.
    app.install(&config(&backend, &limited(2)));
    assert_eq!(send(address, "/limited", &[], "").status, 200);
    assert_eq!(send(address, chat, &once, QUESTION).status, 401);

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(app.stop());
}

#[test]
fn requests_succeed_while_generations_are_swapped() {
    let backend = Backend::start();
    let routes = [
        "  - {name: one, path: /one, backend: a}",
        "  - {name: one, path: /one, backend: a, concurrency: 64}",
    ];
    let configs = routes.map(|routes| config(&backend, routes));
    let app = App::start(&configs[0]).expect("weir starts");
    let address = app.addresses[0].0;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let statuses = (0..50).map(|_| send(address, "/one", &[], "").status);
                statuses.filter(|status| *status != 200).count()
            })
        })
        .collect();
    let mut swaps = 0;
    while clients.iter().any(|client| !client.is_finished()) {
        swaps += 1;
        app.install(&configs[swaps % 2]);
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let failed: Vec<_> = clients
        .into_iter()
        .map(|client| client.join().expect("no panic"))
        .collect();
    assert_eq!(failed, [0; 4], "after {swaps} swaps");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(app.stop());
}

#[test]
fn a_swap_changes_event_sampling_for_the_next_request() {
    let backend = Backend::start();
    let routes =
        "  - {name: slow, path: /slow, backend: a}\n  - {name: quick, path: /quick, backend: a}";
    let sampled = |share: &str| {
        let events = format!("{{sample: {share}, slow: 1h}}");
        config_with(&backend, routes, &events, "{state: ''}")
    };
    let app = App::start(&sampled("0%")).expect("weir starts");
    let address = app.addresses[0].0;
    let mut in_flight = begin(address, "/slow", &[], "");
    let deadline = clock::now() + PATIENCE;
    while backend.requests() == 0 {
        assert!(clock::now() < deadline, "the slow request arrives");
        std::thread::park_timeout(Duration::from_millis(5));
    }

    app.install(&sampled("100%"));
    assert_eq!(send(address, "/quick", &[], "").status, 200);
    // A request in flight is sampled by the generation that it met.
    backend.release.send(()).expect("it waits");
    assert_eq!(finish(&mut in_flight).status, 200);
    app.install(&sampled("0%"));
    assert_eq!(send(address, "/quick", &[], "").status, 200);

    let counted = |outcome: &str, count: u64| {
        let text = app.metrics.render(crate::metrics::ExpositionFormat::Text);
        let text = String::from_utf8(text).expect("UTF-8");
        text.contains(&format!(
            "weir_events_total{{outcome=\"{outcome}\"}} {count}\n"
        ))
    };
    while !(counted("recorded", 1) && counted("sampled_out", 2)) {
        assert!(clock::now() < deadline, "all three are counted");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let events = app.recording.events.recent(10);
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].contains(r#""path":"/quick""#), "{}", events[0]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(app.stop());
}
