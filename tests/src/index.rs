//! A scripted index: validates bulk requests like Elasticsearch, and fails as a test requires.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::backend::{Backend, BackendResponse, ReceivedRequest};

/// How the index handles a bulk request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers the whole request with this status.
    Whole(u16),
    /// Answers every `n`-th event with this status, and stores the others.
    Items(u16, usize),
    /// Answers every `n`-th event with this status and error, and stores the others.
    Errors(u16, &'static str, &'static str, usize),
    /// Answers the whole request with this status and error.
    WholeError(u16, &'static str, &'static str),
    /// Puts every `n`-th event into the failure store, as Elasticsearch 8.19 and newer.
    FailureStore(usize),
    /// Resets the connection without storing anything.
    Reset,
    /// Stores everything, and resets the connection instead of a response.
    TakenAndReset,
    /// Answers with this status if there are more events than this.
    MoreThan(u16, usize),
}

/// What the index has received.
#[derive(Debug, Default)]
struct Store {
    documents: Documents,
    /// The data stream of alerts.
    alerts: Documents,
    /// The status of every item for that data stream.
    alert_fault: Option<u16>,
    /// One for each bulk request, in order.
    script: VecDeque<Fault>,
    /// For every bulk request after the script.
    always: Option<Fault>,
    set_up: Vec<(String, Value)>,
    server: Product,
    /// Policies of index state management, and how often each was written.
    policies: BTreeMap<String, (u64, Value)>,
    bulks: usize,
    largest: usize,
    /// The header of the last request.
    authorization: Option<String>,
}

/// What is stored of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stored {
    #[default]
    Documents,
    Ids,
}

/// The product that it claims to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Product {
    #[default]
    Elasticsearch,
    OpenSearch,
}

/// An index that listens until dropped.
#[derive(Debug)]
pub struct Index {
    backend: Backend,
    store: Arc<Mutex<Store>>,
}

impl Index {
    /// An index that stores everything, and claims to be Elasticsearch.
    pub async fn start() -> Self {
        let store = Arc::new(Mutex::new(Store::default()));
        let theirs = store.clone();
        let response =
            move |request: &ReceivedRequest| theirs.lock().expect("the store").respond(request);
        Index {
            backend: Backend::responding(response).await,
            store,
        }
    }

    /// An index that claims to be OpenSearch, with index state management.
    pub async fn open_search() -> Self {
        let index = Self::start().await;
        index.store().server = Product::OpenSearch;
        index
    }

    /// An index that stores only the ids of events, for load tests.
    pub async fn of_ids() -> Self {
        let index = Self::start().await;
        index.store().documents.stored = Stored::Ids;
        index
    }

    /// The policy at this path, and how often it was written.
    #[must_use]
    pub fn policy(&self, path: &str) -> Option<(u64, Value)> {
        self.store().policies.get(path).cloned()
    }

    /// The next bulk requests fail in these ways.
    pub fn script(&self, faults: &[Fault]) {
        self.store().script.extend(faults);
    }

    /// Every bulk request fails in this way; `None`: no longer.
    pub fn always(&self, fault: Option<Fault>) {
        self.store().always = fault;
    }

    /// Every item for the data stream of alerts gets this status, or is taken again.
    pub fn always_for_alerts(&self, status: Option<u16>) {
        self.store().alert_fault = status;
    }

    #[must_use]
    pub fn url(&self) -> String {
        self.backend.url()
    }

    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.backend.address()
    }

    /// The ids of all documents.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.store().documents.by_id.keys().cloned().collect()
    }

    /// The number of documents.
    #[must_use]
    pub fn count(&self) -> usize {
        self.store().documents.by_id.len()
    }

    /// How many events are in the failure store.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.store().documents.failures.len()
    }

    /// The events of the data stream of alerts.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        self.store().alerts.by_id.values().cloned().collect()
    }

    #[must_use]
    pub fn document(&self, id: &str) -> Option<Value> {
        self.store().documents.by_id.get(id).cloned()
    }

    /// How many bulk requests there were, and how many events the largest had.
    #[must_use]
    pub fn bulks(&self) -> (usize, usize) {
        let store = self.store();
        (store.bulks, store.largest)
    }

    /// The `Authorization` of the last request.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        self.store().authorization.clone()
    }

    /// Path and body of the requests that set up the index, in order.
    #[must_use]
    pub fn set_up(&self) -> Vec<(String, Value)> {
        self.store().set_up.clone()
    }

    fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        self.store.lock().expect("the store")
    }
}

impl Store {
    fn respond(&mut self, request: &ReceivedRequest) -> BackendResponse {
        self.authorization = request.header("authorization").map(str::to_owned);
        let path = request.target.split('?').next().unwrap_or_default();
        if request.method == "GET" && path == "/" {
            return BackendResponse::json(&match self.server {
                Product::Elasticsearch => json!({"version": {"number": "8.17.0"}}),
                Product::OpenSearch => {
                    json!({"version": {"number": "2.19.1", "distribution": "opensearch"}})
                }
            });
        }
        if path.starts_with("/_plugins/_ism/policies/") {
            return self.policy(request, path);
        }
        if request.method == "PUT" {
            let body = serde_json::from_slice(&request.body).expect("JSON");
            self.set_up.push((path.to_owned(), body));
            return BackendResponse::json(&json!({"acknowledged": true}));
        }
        assert_eq!(path, "/logs-weir.access-default/_bulk");
        let (events, alerts): (Vec<_>, Vec<_>) = events_of(request)
            .into_iter()
            .partition(|event| event.index.is_none());
        if alerts.is_empty() {
            return self.bulk(events);
        }
        // weir sends them apart: what is wrong with one data stream does not hold up the other.
        assert!(events.is_empty(), "two data streams in one request");
        for event in &alerts {
            assert_eq!(event.index.as_deref(), Some("logs-weir.alert-default"));
        }
        match self.alert_fault {
            Some(status) => {
                BackendResponse::json(&self.alerts.take(alerts, Some(Fault::Items(status, 1))))
            }
            None => BackendResponse::json(&self.alerts.take(alerts, None)),
        }
    }

    /// As OpenSearch: updating a policy requires its sequence number and primary term.
    fn policy(&mut self, request: &ReceivedRequest, path: &str) -> BackendResponse {
        let there = self.policies.get(path).cloned();
        if request.method == "GET" {
            let Some((written, body)) = there else {
                return BackendResponse::status(404);
            };
            return BackendResponse::json(&json!({
                "_id": "weir.access", "_version": written, "_seq_no": written + 6,
                "_primary_term": 1, "policy": body["policy"],
            }));
        }
        let query = request.target.split_once('?').map(|(_, query)| query);
        let written = there.map_or(0, |(written, _)| written);
        let expected = format!("if_seq_no={}&if_primary_term=1", written + 6);
        let is_right = match query {
            None => written == 0,
            Some(query) => written > 0 && query == expected,
        };
        if !is_right {
            return BackendResponse::status(409);
        }
        let body = serde_json::from_slice(&request.body).expect("JSON");
        self.policies.insert(path.to_owned(), (written + 1, body));
        BackendResponse::json(&json!({"_id": "weir.access"}))
    }

    fn bulk(&mut self, events: Vec<Sent>) -> BackendResponse {
        self.bulks += 1;
        self.largest = self.largest.max(events.len());
        let fault = match self.script.pop_front().or(self.always) {
            Some(Fault::Whole(status)) => return error(status, "scripted", "scripted by the test"),
            Some(Fault::WholeError(status, kind, reason)) => return error(status, kind, reason),
            Some(Fault::MoreThan(status, most)) if events.len() > most => {
                return error(status, "scripted", "scripted by the test");
            }
            Some(Fault::Reset) => return BackendResponse::reset_immediately(),
            Some(Fault::TakenAndReset) => {
                self.documents.take(events, None);
                return BackendResponse::reset_immediately();
            }
            Some(Fault::MoreThan(..)) | None => None,
            fault => fault,
        };
        BackendResponse::json(&self.documents.take(events, fault))
    }
}

/// Documents by id.
#[derive(Debug, Default)]
struct Documents {
    stored: Stored,
    by_id: BTreeMap<String, Value>,
    /// The failure store: documents that could not be mapped.
    failures: BTreeMap<String, Value>,
}

impl Documents {
    fn take(&mut self, events: Vec<Sent>, fault: Option<Fault>) -> Value {
        let items = events.into_iter().enumerate().map(|(place, sent)| {
            let Sent { id, event, .. } = sent;
            let is_nth = |every: usize| place % every == 0;
            let outcome = match fault {
                Some(Fault::Items(status, every)) if is_nth(every) => {
                    item_error(status, "scripted", "scripted by the test")
                }
                Some(Fault::Errors(status, kind, reason, every)) if is_nth(every) => {
                    item_error(status, kind, reason)
                }
                Some(Fault::FailureStore(every)) if is_nth(every) => {
                    self.failures.insert(id, event);
                    json!({"status": 201, "failure_store": "used"})
                }
                _ if self.by_id.contains_key(&id) => {
                    item_error(409, "version_conflict_engine_exception", "exists")
                }
                _ => {
                    let event = match self.stored {
                        Stored::Documents => event,
                        Stored::Ids => Value::Null,
                    };
                    self.by_id.insert(id, event);
                    json!({"status": 201})
                }
            };
            json!({"create": outcome})
        });
        let items: Vec<Value> = items.collect();
        let has_errors = items.iter().any(|item| item["create"]["error"].is_object());
        json!({"took": 1, "errors": has_errors, "items": items})
    }
}

fn item_error(status: u16, kind: &str, reason: &str) -> Value {
    json!({"status": status, "error": {"type": kind, "reason": reason}})
}

/// One event of a bulk request.
struct Sent {
    /// Where it is not the one of the path.
    index: Option<String>,
    id: String,
    event: Value,
}

/// The events of a valid bulk request.
fn events_of(request: &ReceivedRequest) -> Vec<Sent> {
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
    let mut text = String::new();
    GzDecoder::new(&request.body[..])
        .read_to_string(&mut text)
        .expect("gzip");
    assert!(text.ends_with('\n'), "the last line is not terminated");
    let lines: Vec<&str> = text.lines().collect();
    let events = lines.chunks(2).map(|pair| {
        let action: Value = serde_json::from_str(pair[0]).expect("an action");
        let event: Value = serde_json::from_str(pair[1]).expect("an event");
        let create = &action["create"];
        let id = create["_id"].as_str().expect("create with an id");
        assert!(event["@timestamp"].is_string());
        Sent {
            index: create["_index"].as_str().map(str::to_owned),
            id: id.to_owned(),
            event,
        }
    });
    events.collect()
}

fn error(status: u16, kind: &str, reason: &str) -> BackendResponse {
    BackendResponse::json(&json!({"error": {"type": kind, "reason": reason}, "status": status}))
        .with_status(status)
}
