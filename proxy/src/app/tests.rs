use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use flate2::read::GzDecoder;

use super::reload::ReloadCounts;
use super::*;
use crate::clock;

#[path = "tests/alert_rules.rs"]
mod alert_rules;
#[path = "tests/catalog.rs"]
mod catalog;
#[path = "tests/generations.rs"]
mod generations;
#[path = "tests/reload_file.rs"]
mod reload_file;
#[path = "tests/reload_keys.rs"]
mod reload_keys;

const PATIENCE: Duration = Duration::from_secs(120);

/// The names of all workers.
const WORKERS: [&str; 17] = [
    "admin",
    "alert",
    "alert-journal",
    "alert-state",
    "alertmanager",
    "audit",
    "events",
    "events-spool",
    "feishu",
    "health-checks",
    "housekeeping",
    "otlp",
    "redis",
    "reload",
    "ship",
    "system",
    "webhook",
];

/// Accepts every request, and keeps the ids of the events that are sent to the index.
#[derive(Clone, Default)]
struct Outside(Arc<parking_lot::Mutex<BTreeSet<String>>>);

impl Outside {
    fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let outside = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let outside = outside.clone();
                std::thread::spawn(move || outside.serve(stream));
            }
        });
        address
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
        let mut stream = stream;
        while let Some((path, body)) = request(&mut reader) {
            let answer = match path.contains("/_bulk") {
                true => self.bulk(&body),
                false => r#"{"code":0,"msg":"success","version":{"number":"8.17.0"}}"#.to_owned(),
            };
            let length = answer.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            );
            if stream.write_all((head + &answer).as_bytes()).is_err() {
                return;
            }
        }
    }

    fn bulk(&self, body: &[u8]) -> String {
        let mut text = String::new();
        let read = GzDecoder::new(body).read_to_string(&mut text);
        read.expect("gzip");
        let mut ids = self.0.lock();
        let actions = text.lines().step_by(2);
        let items = actions.map(|action| {
            let action: serde_json::Value = serde_json::from_str(action).expect("an action");
            let id = action["create"]["_id"].as_str().expect("an id").to_owned();
            let is_alert = action["create"]["_index"] == "logs-weir.alert-default";
            let is_new = is_alert || ids.insert(id);
            let status = if is_new { 201 } else { 409 };
            format!(r#"{{"create":{{"status":{status}}}}}"#)
        });
        let items: Vec<String> = items.collect();
        format!(r#"{{"items":[{}]}}"#, items.join(","))
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|bytes| *bytes > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|bytes| *bytes > 0)?;
        let field = line.to_ascii_lowercase();
        if let Some(value) = field.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

/// Sends one request on a connection of its own; returns the status of the response.
fn ask(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split(' ').nth(1)?.to_owned())
}

fn configuration(folder: &Path, outside: SocketAddr) -> String {
    let data = folder.display();
    format!(
        "
listen: [{{address: '127.0.0.1:0'}}]
admin: {{address: '127.0.0.1:0'}}
redis: {{url: 'redis://127.0.0.1:1'}}
backends: [{{name: a, endpoints: ['http://127.0.0.1:1']}}]
routes:
  - {{name: signed, path: /signed, backend: a, signature: {{scheme: hmac, secrets: [0123456789abcdef]}}}}
  - {{name: open, path: /open, backend: a}}
events:
  file: {{path: {data}/events.ndjson}}
  audit: {{path: {data}/audit.ndjson}}
  spool: {{path: {data}/spool, sync: 100ms}}
  elasticsearch: {{urls: ['http://{outside}'], batch: {{wait: 20ms}}}}
traces: {{otlp: 'http://{outside}', sample: 100%}}
alerts:
  evaluate_every: 100ms
  window: 1s
  minimum_requests: 1
  state: {data}/alerts.json
  rules: [{{name: ErrorRate, signal: error_rate, warning: 1%, critical: 90%, recovery: 0.5%, for: 0s}}]
  alertmanager: {{urls: ['http://{outside}']}}
  feishu: {{webhook: 'http://{outside}/bot'}}
  webhook: {{url: 'http://{outside}/hook'}}
shutdown: {{drain: 10s}}
"
    )
}

/// The number of indexed events. Fails if any event was dropped: waiting for it would only end at the deadline.
fn indexed_without_drops(ship: &crate::ship::Ship) -> u64 {
    let counts = ship.ledgers.access.counts();
    assert!(counts.is_balanced(), "{counts:?}");
    assert_eq!(counts.dropped, 0, "is the disk full? {counts:?}");
    counts.indexed + counts.duplicate
}

#[test]
fn every_worker_that_panics_is_started_again_and_no_event_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let outside = Outside::default();
    let text = configuration(folder.path(), outside.start());
    let loaded = crate::config::parse(&text, Path::new("weir.yaml"), &|_| None);
    let config = loaded.expect("a configuration").config;
    let app = App::start(&config).expect("weir starts");
    let workers = app.metrics.workers();
    let names: Vec<_> = workers.keys().map(String::as_str).collect();
    assert_eq!(names, WORKERS);
    workers.values().for_each(|worker| worker.fail(2));
    let (address, deadline) = (app.addresses[0].0, clock::now() + PATIENCE);
    let ship = app.recording.ship.clone().expect("shipping");
    let mut asked = 0;
    while workers.values().any(|worker| worker.seen() != (2, 1)) {
        let seen: Vec<_> = workers
            .iter()
            .map(|(name, worker)| (name, worker.seen()))
            .collect();
        assert!(clock::now() < deadline, "{seen:?}");
        assert_eq!(ask(address, "/signed").as_deref(), Some("401"));
        assert_eq!(ask(address, "/open").as_deref(), Some("502"));
        asked += 2;
        std::thread::park_timeout(Duration::from_millis(5));
        // The listener survives the panics of its worker: requests wait in the meantime.
        let _ = ask(app.admin, "/healthz");
        indexed_without_drops(&ship);
    }
    while indexed_without_drops(&ship) < asked {
        let counts = ship.ledgers.access.counts();
        assert!(clock::now() < deadline, "{counts:?}");
        std::thread::yield_now();
    }
    assert_eq!(ship.ledgers.access.counts().recorded, asked);
    assert_eq!(ask(app.admin, "/healthz").as_deref(), Some("200"));
    let text = app.metrics.render(crate::metrics::ExpositionFormat::Text);
    let text = String::from_utf8(text).expect("UTF-8");
    for name in WORKERS {
        let shown = format!("weir_worker_restarts_total{{name=\"{name}\"}} 2\n");
        assert!(text.contains(&shown), "{name}");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(app.stop());
    let events = std::fs::read_to_string(folder.path().join("events.ndjson")).expect("events");
    assert_eq!(events.lines().count() as u64, asked, "each event once");
    assert_eq!(outside.0.lock().len() as u64, asked);
    let audit = folder.path().join("audit.ndjson");
    let audit = std::fs::read_to_string(&audit).expect("the audit log");
    let refused: u64 = audit
        .lines()
        .filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            line["refused"]["count"].as_u64()
        })
        .sum();
    assert_eq!(refused, asked / 2, "{audit}");
}
