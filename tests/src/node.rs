//! A real search node: OpenSearch in a process of its own, started once for all tests that need it.

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

/// A cold machine may take its time.
const START: Duration = Duration::from_secs(120);

/// What keeps the node alive: it ends when its standard input does, with the tests' process.
struct NodeProcess {
    address: SocketAddr,
    _child: Child,
    _directory: TempDir,
}

/// A node that answers.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    address: SocketAddr,
}

impl Node {
    /// The node; `None`, said aloud, where what it needs is not there: `build/setup.sh test` fetches
    /// it. With CI=true that is a failure.
    ///
    /// # Panics
    /// When it is there and does not start.
    pub async fn get() -> Option<Self> {
        static NODE: OnceLock<Option<NodeProcess>> = OnceLock::new();
        let started = tokio::task::spawn_blocking(|| NODE.get_or_init(start).as_ref());
        let running = started.await.expect("the node's start")?;
        Some(Node {
            address: running.address,
        })
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One request with a body of JSON, or none; the answer's status and body.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = match body {
            Value::Null => ClientRequest::new(method, path),
            body => ClientRequest::json(path, body).with_method(method),
        };
        let reply = Client::h1(self.address).await.send(request).await;
        (
            reply.status,
            serde_json::from_slice(&reply.body).unwrap_or_default(),
        )
    }

    /// Makes a data stream with the fields of weir's, and documents in it under their ids.
    ///
    /// # Panics
    /// When the node does not take it.
    pub async fn fill(&self, stream: &str, documents: &[(String, Value)]) {
        let mappings = serde_json::from_str(events::MAPPINGS).expect("JSON");
        let template = serde_json::json!({
            "index_patterns": [stream], "data_stream": {}, "priority": 900, "composed_of": [stream]
        });
        for (path, body) in [
            (format!("/_component_template/{stream}"), mappings),
            (format!("/_index_template/{stream}"), template),
        ] {
            let (status, answer) = self.send("PUT", &path, &body).await;
            assert_eq!(status, 200, "{path}: {answer}");
        }
        for (id, document) in documents {
            let path = format!("/{stream}/_create/{id}");
            let (status, answer) = self.send("PUT", &path, document).await;
            assert_eq!(status, 201, "{id}: {answer}");
        }
    }

    /// Searches what can be found now.
    ///
    /// # Panics
    /// When the node does not take the query.
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

    /// Waits until a stream holds so many documents.
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
                "{stream} holds {held:?}, not {count}"
            );
            wait::tick().await;
        }
    }
}

/// A node of one test's own, for settings that hold for all who use it; it ends when dropped.
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
    /// As [`Node::get`], with a process of its own.
    ///
    /// # Panics
    /// When it is there and does not start.
    pub async fn start() -> Option<Self> {
        let running = tokio::task::spawn_blocking(start)
            .await
            .expect("the node's start")?;
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

/// Says aloud that tests are skipped, and why; with CI=true it fails them instead.
///
/// # Panics
/// With CI=true.
#[expect(clippy::print_stderr, reason = "a skipped test has to be heard of")]
pub fn skip(what: &str, why: &str) {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "{what} cannot run: {why}");
    eprintln!("SKIPPED {what}: {why}");
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
        let why = "no OpenSearch or no Java here: run `build/setup.sh test`";
        skip("what needs a search node", why);
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
    let said = child.stdout.take().expect("its output");
    let lines = BufReader::new(said).lines().map_while(Result::ok);
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    // To its end: a pipe that nobody reads would hold the node up some day.
    std::thread::spawn(move || {
        for line in lines {
            // The node logs what is written to the standard output, and so this word too.
            if line.ends_with("] ready") {
                let _ = tell.try_send(());
            }
        }
    });
    let ready = told.recv_timeout(START);
    assert!(ready.is_ok(), "the node does not start within {START:?}");
    Some(NodeProcess {
        address,
        _child: child,
        _directory: directory,
    })
}
