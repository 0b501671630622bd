//! A real search node: OpenSearch in its own process, started once for all tests that need it.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Client, ClientRequest};
use crate::wait;

pub mod events;

/// The start may be slow on a cold machine.
const START: Duration = Duration::from_secs(120);

/// Keeps the node alive: it ends when its stdin is closed, with the process of the tests.
struct NodeProcess {
    address: SocketAddr,
    _child: Child,
    _directory: TempDir,
}

/// A running node.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    address: SocketAddr,
}

impl Node {
    /// The node; `None` if it is not installed (by `build/setup.sh test`), with a message, or a failure with `CI=true`.
    ///
    /// # Panics
    /// It does not start.
    pub async fn get() -> Option<Self> {
        static NODE: OnceLock<Option<NodeProcess>> = OnceLock::new();
        let started = tokio::task::spawn_blocking(|| NODE.get_or_init(start).as_ref());
        let running = started.await.expect("the start of the node")?;
        Some(Node {
            address: running.address,
        })
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a request with a JSON body, or none; returns the status and the body of the response.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = match body {
            Value::Null => ClientRequest::new(method, path),
            body => ClientRequest::json(path, body).with_method(method),
        };
        let response = Client::h1(self.address).await.send(request).await;
        (
            response.status,
            serde_json::from_slice(&response.body).unwrap_or_default(),
        )
    }

    /// Creates a data stream with weir's mapping, and adds documents with these ids.
    ///
    /// # Panics
    /// The node rejects a request.
    pub async fn fill(&self, stream: &str, documents: &[(String, Value)]) {
        let mappings = serde_json::from_str(events::MAPPINGS).expect("JSON");
        let template = serde_json::json!({
            "index_patterns": [stream], "data_stream": {}, "priority": 900, "composed_of": [stream]
        });
        for (path, body) in [
            (format!("/_component_template/{stream}"), mappings),
            (format!("/_index_template/{stream}"), template),
        ] {
            let (status, backend_response) = self.send("PUT", &path, &body).await;
            assert_eq!(status, 200, "{path}: {backend_response}");
        }
        for (id, document) in documents {
            let path = format!("/{stream}/_create/{id}");
            let (status, backend_response) = self.send("PUT", &path, document).await;
            assert_eq!(status, 201, "{id}: {backend_response}");
        }
    }

    /// Searches the current documents.
    ///
    /// # Panics
    /// The node rejects the query.
    pub async fn search(&self, stream: &str, query: &Value) -> Value {
        let _ = self
            .send("POST", &format!("/{stream}/_refresh"), &Value::Null)
            .await;
        let (status, found) = self
            .send("POST", &format!("/{stream}/_search"), query)
            .await;
        assert_eq!(status, 200, "{found}");
        found
    }

    /// Waits until a stream contains this many documents.
    pub async fn holds(&self, stream: &str, count: u64) {
        let started = tokio::time::Instant::now();
        loop {
            let all = serde_json::json!({"size": 0, "track_total_hits": true});
            let _ = self
                .send("POST", &format!("/{stream}/_refresh"), &Value::Null)
                .await;
            let (status, found) = self.send("POST", &format!("/{stream}/_search"), &all).await;
            let held = found["hits"]["total"]["value"].as_u64();
            if status == 200 && held == Some(count) {
                return;
            }
            assert!(
                started.elapsed() < wait::PATIENCE,
                "{stream} contains {held:?} documents, not {count}"
            );
            wait::tick().await;
        }
    }
}

/// A node for a single test, which changes settings of the whole node; stopped when dropped.
pub struct OwnNode {
    node: Node,
    _running: NodeProcess,
}

impl std::fmt::Debug for OwnNode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.node.fmt(formatter)
    }
}

impl OwnNode {
    /// As [`Node::get`], with its own process.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start() -> Option<Self> {
        let running = tokio::task::spawn_blocking(start)
            .await
            .expect("the start of the node")?;
        let node = Node {
            address: running.address,
        };
        Some(OwnNode {
            node,
            _running: running,
        })
    }
}

impl std::ops::Deref for OwnNode {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// Reports that tests are skipped, and why; fails them with `CI=true`.
///
/// # Panics
/// With `CI=true`.
#[expect(clippy::print_stderr, reason = "a skipped test must be visible")]
pub fn skip(what: &str, reason: &str) {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "{what} cannot run: {reason}");
    eprintln!("SKIPPED {what}: {reason}");
}

fn start() -> Option<NodeProcess> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    let jars = root.join(".tools/opensearch");
    let java = Command::new("java")
        .arg("-version")
        .stderr(Stdio::null())
        .status();
    if !jars.is_dir() || !java.is_ok_and(|status| status.success()) {
        let reason = "OpenSearch or Java is not installed: run `build/setup.sh test`";
        skip("tests that need a search node", reason);
        return None;
    }
    let directory = TempDir::new().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("its number");
    drop(free);
    let mut child = Command::new("java")
        .args(["-Xms400m", "-Xmx400m", "-cp"])
        .arg(format!("{}/*", jars.display()))
        .arg(root.join("build/opensearch/Node.java"))
        .arg(directory.path())
        .arg(address.port().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("java starts");
    let output = child.stdout.take().expect("its output");
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    let (tell, reported) = std::sync::mpsc::sync_channel(1);
    // Read to the end: a full pipe would block the node.
    std::thread::spawn(move || {
        for line in lines {
            // The node logs what is written to stdout, including this word.
            if line.ends_with("] ready") {
                let _ = tell.try_send(());
            }
        }
    });
    let ready = reported.recv_timeout(START);
    assert!(ready.is_ok(), "the node does not start within {START:?}");
    Some(NodeProcess {
        address,
        _child: child,
        _directory: directory,
    })
}
