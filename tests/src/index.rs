//! A scripted index: as strict with a bulk request as Elasticsearch, and as unwilling as a test wants.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::backend::{Answer, Backend, Seen};

/// What the index does with one bulk request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The whole request is answered with this status.
    Whole(u16),
    /// Every `n`-th event gets this status, the others are taken.
    Items(u16, usize),
    /// The connection is reset before an answer, and nothing is taken.
    Reset,
    /// All is taken, and the connection is reset instead of an answer.
    TakenAndReset,
    /// Answered with this status when there are more events than this.
    MoreThan(u16, usize),
}

/// What has arrived.
#[derive(Debug, Default)]
struct Store {
    documents: BTreeMap<String, Value>,
    /// One for each bulk request, the first ones first.
    script: VecDeque<Fault>,
    /// For every bulk request behind the script.
    always: Option<Fault>,
    set_up: Vec<(String, Value)>,
    server: Server,
    /// Policies of index state management with how often each was written.
    policies: BTreeMap<String, (u64, Value)>,
    bulks: usize,
    largest: usize,
    /// Of the last request.
    authorization: Option<String>,
}

/// What it says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Server {
    #[default]
    Elasticsearch,
    OpenSearch,
}

/// An index that listens until it is dropped.
#[derive(Debug)]
pub struct Index {
    backend: Backend,
    store: Arc<Mutex<Store>>,
}

impl Index {
    /// One that takes everything, and says it is Elasticsearch.
    pub async fn start() -> Self {
        let store = Arc::new(Mutex::new(Store::default()));
        let theirs = store.clone();
        let answer = move |seen: &Seen| theirs.lock().expect("the store").answer(seen);
        Index {
            backend: Backend::answering(answer).await,
            store,
        }
    }

    /// One that says it is OpenSearch, with index state management.
    pub async fn open_search() -> Self {
        let index = Self::start().await;
        index.store().server = Server::OpenSearch;
        index
    }

    /// The policy of this path, and how often it was written.
    #[must_use]
    pub fn policy(&self, path: &str) -> Option<(u64, Value)> {
        self.store().policies.get(path).cloned()
    }

    /// The next bulk requests go wrong in these ways.
    pub fn script(&self, faults: &[Fault]) {
        self.store().script.extend(faults);
    }

    /// Every bulk request goes wrong in this way, or none any more.
    pub fn always(&self, fault: Option<Fault>) {
        self.store().always = fault;
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
        self.store().documents.keys().cloned().collect()
    }

    #[must_use]
    pub fn document(&self, id: &str) -> Option<Value> {
        self.store().documents.get(id).cloned()
    }

    /// How many bulk requests came, and how many events the largest had.
    #[must_use]
    pub fn bulks(&self) -> (usize, usize) {
        let store = self.store();
        (store.bulks, store.largest)
    }

    /// How the last request said who it is.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        self.store().authorization.clone()
    }

    /// Path and body of what set the index up, in order.
    #[must_use]
    pub fn set_up(&self) -> Vec<(String, Value)> {
        self.store().set_up.clone()
    }

    fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        self.store.lock().expect("the store")
    }
}

impl Store {
    fn answer(&mut self, seen: &Seen) -> Answer {
        self.authorization = seen.header("authorization").map(str::to_owned);
        let path = seen.target.split('?').next().unwrap_or_default();
        if seen.method == "GET" && path == "/" {
            return Answer::json(&match self.server {
                Server::Elasticsearch => json!({"version": {"number": "8.17.0"}}),
                Server::OpenSearch => {
                    json!({"version": {"number": "2.19.1", "distribution": "opensearch"}})
                }
            });
        }
        if path.starts_with("/_plugins/_ism/policies/") {
            return self.policy(seen, path);
        }
        if seen.method == "PUT" {
            let body = serde_json::from_slice(&seen.body).expect("JSON");
            self.set_up.push((path.to_owned(), body));
            return Answer::json(&json!({"acknowledged": true}));
        }
        assert_eq!(path, "/logs-weir.access-default/_bulk");
        self.bulk(seen)
    }

    /// As OpenSearch keeps policies: one that is there is only changed by who names its numbers.
    fn policy(&mut self, seen: &Seen, path: &str) -> Answer {
        let there = self.policies.get(path).cloned();
        if seen.method == "GET" {
            let Some((written, body)) = there else {
                return Answer::status(404);
            };
            return Answer::json(&json!({
                "_id": "weir.access", "_version": written, "_seq_no": written + 6,
                "_primary_term": 1, "policy": body["policy"],
            }));
        }
        let query = seen.target.split_once('?').map(|(_, query)| query);
        let written = there.map_or(0, |(written, _)| written);
        let expected = format!("if_seq_no={}&if_primary_term=1", written + 6);
        let is_right = match query {
            None => written == 0,
            Some(query) => written > 0 && query == expected,
        };
        if !is_right {
            return Answer::status(409);
        }
        let body = serde_json::from_slice(&seen.body).expect("JSON");
        self.policies.insert(path.to_owned(), (written + 1, body));
        Answer::json(&json!({"_id": "weir.access"}))
    }

    fn bulk(&mut self, seen: &Seen) -> Answer {
        assert_eq!(seen.header("content-encoding"), Some("gzip"));
        assert_eq!(seen.header("content-type"), Some("application/x-ndjson"));
        let mut text = String::new();
        GzDecoder::new(&seen.body[..])
            .read_to_string(&mut text)
            .expect("gzip");
        assert!(text.ends_with('\n'), "the last line has no end");
        let lines: Vec<&str> = text.lines().collect();
        let events: Vec<(String, Value)> = lines
            .chunks(2)
            .map(|pair| {
                let action: Value = serde_json::from_str(pair[0]).expect("an action");
                let event: Value = serde_json::from_str(pair[1]).expect("an event");
                let id = action["create"]["_id"].as_str().expect("create with an id");
                assert!(event["@timestamp"].is_string());
                (id.to_owned(), event)
            })
            .collect();
        self.bulks += 1;
        self.largest = self.largest.max(events.len());
        match self.script.pop_front().or(self.always) {
            Some(Fault::Whole(status)) => error(status),
            Some(Fault::MoreThan(status, most)) if events.len() > most => error(status),
            Some(Fault::Reset) => Answer::reset_at_once(),
            Some(Fault::TakenAndReset) => {
                self.take(events, None);
                Answer::reset_at_once()
            }
            Some(Fault::Items(status, every)) => self.take(events, Some((status, every))),
            Some(Fault::MoreThan(..)) | None => self.take(events, None),
        }
    }

    fn take(&mut self, events: Vec<(String, Value)>, fault: Option<(u16, usize)>) -> Answer {
        let mut items = Vec::new();
        for (place, (id, event)) in events.into_iter().enumerate() {
            let failed = fault.filter(|(_, every)| place % every == 0);
            let outcome = match failed {
                Some((status, _)) => {
                    json!({"status": status, "error": {"type": "scripted", "reason": "as the test wants"}})
                }
                None if self.documents.contains_key(&id) => {
                    json!({"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "exists"}})
                }
                None => {
                    self.documents.insert(id, event);
                    json!({"status": 201})
                }
            };
            items.push(json!({"create": outcome}));
        }
        Answer::json(&json!({"took": 1, "errors": fault.is_some(), "items": items}))
    }
}

fn error(status: u16) -> Answer {
    Answer::json(&json!({"error": {"type": "scripted"}, "status": status})).with_status(status)
}
