//! A ready proxy: its addresses, its events, its metrics.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{self, ClientRequest, ClientResponse};
use crate::metrics::Metrics;
use crate::process::Process;
use crate::wait;

/// How late an event may be in the file. The promise is 200 ms; the rest is for a busy machine.
const EVENT_DEADLINE: Duration = wait::PATIENCE;

/// The real `weir`, listening on ports of the system's choice.
///
/// It says on stderr, one line each and the last one last: `weir: listening on ADDRESS (http)` or
/// `(https)` in the order of `listen`, `weir: admin on ADDRESS`, `weir: ready`.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    directory: TempDir,
    plain: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    admin: SocketAddr,
}

impl Proxy {
    /// Waits until a started process is ready.
    ///
    /// # Panics
    /// When it ends or does not become ready; with what it said.
    pub async fn ready(process: Process, directory: TempDir) -> Self {
        let said = wait::found("`weir: ready` on stderr", wait::PATIENCE, || {
            let said = process.stderr();
            if said.lines().any(|line| line.ends_with("weir: ready")) {
                return Some(said);
            }
            let exit = process.exit();
            assert!(exit.is_none(), "weir ended with {exit:?}:\n{said}");
            None
        })
        .await;
        let listening = |scheme: &str| -> Vec<SocketAddr> {
            said.lines()
                .filter_map(|line| line.split_once("weir: listening on ")?.1.split_once(' '))
                .filter(|(_, rest)| *rest == scheme)
                .map(|(address, _)| address.parse().expect("an address in the ready line"))
                .collect()
        };
        let admin = said
            .lines()
            .find_map(|line| line.split_once("weir: admin on "))
            .expect("the line `weir: admin on ADDRESS`")
            .1
            .parse()
            .expect("the address of admin");
        Proxy {
            plain: listening("(http)"),
            tls: listening("(https)"),
            admin,
            process,
            directory,
        }
    }

    /// The first address without TLS.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        *self.plain.first().expect("an address without TLS")
    }

    /// The first address with TLS.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        *self.tls.first().expect("an address with TLS")
    }

    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The directory of a proxy that has ended, for the next one.
    #[must_use]
    pub fn into_directory(self) -> TempDir {
        self.directory
    }

    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Everything on stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    pub fn sigterm(&self) {
        self.process.sigterm();
    }

    pub fn kill(&self) {
        self.process.kill();
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// When it does not come within `deadline`.
    pub async fn wait_exit(&self, deadline: Duration) -> ExitStatus {
        self.process.wait_exit(deadline).await
    }

    /// Asks once, on a connection of its own.
    ///
    /// # Panics
    /// When there is no whole answer.
    pub async fn send(&self, request: ClientRequest) -> ClientResponse {
        client::send(self.address(), request).await
    }

    /// GET on the admin address.
    ///
    /// # Panics
    /// When there is no whole answer.
    pub async fn admin_get(&self, path: &str) -> ClientResponse {
        client::send(
            self.admin,
            ClientRequest::get(path).header("host", &self.admin.to_string()),
        )
        .await
    }

    /// What `/metrics` says now.
    ///
    /// # Panics
    /// When it does not answer with metrics.
    pub async fn metrics(&self) -> Metrics {
        Metrics::scrape(self.admin).await
    }

    /// Reads the metrics again and again until they are as they should be; `look` may check on every
    /// reading what must always hold.
    ///
    /// # Panics
    /// When they do not become so in good time; with what they were.
    pub async fn metrics_when(&self, what: &str, look: impl Fn(&Metrics) -> bool) -> Metrics {
        let mut last = String::new();
        let polling = async {
            loop {
                let metrics = self.metrics().await;
                if look(&metrics) {
                    return metrics;
                }
                last = metrics.text;
                wait::tick().await;
            }
        };
        let found = tokio::time::timeout(wait::PATIENCE, polling).await;
        found.unwrap_or_else(|_| panic!("waited in vain for {what}:\n{last}"))
    }

    /// The file that events go to unless the setup names another.
    #[must_use]
    pub fn event_file(&self) -> PathBuf {
        self.directory.path().join("data/events.ndjson")
    }

    /// Every event so far, in the order of the file.
    ///
    /// # Panics
    /// When the file holds a line that is no JSON object.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let bytes = std::fs::read(self.event_file()).unwrap_or_default();
        // A reader may meet one large write half way; the kernel makes no promise there.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        let text =
            std::str::from_utf8(&bytes[..whole.map_or(0, |at| at + 1)]).expect("events are UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line of the event file is JSON"))
            .collect()
    }

    /// The event of the request with this id.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn event(&self, request_id: &str) -> Value {
        self.event_where(&format!("the event of {request_id}"), |event| {
            event["http"]["request"]["id"] == request_id
        })
        .await
    }

    /// The event of an answer, by its `X-Request-Id`.
    ///
    /// # Panics
    /// When the answer has no id or the event does not come.
    pub async fn event_of(&self, reply: &ClientResponse) -> Value {
        self.event(reply.header("x-request-id").expect("an X-Request-Id"))
            .await
    }

    /// The first event with this `error_code`.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn event_with_code(&self, code: &str) -> Value {
        self.event_where(&format!("an event with {code}"), |event| {
            event["error_code"] == code
        })
        .await
    }

    /// The first event that fits.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn event_where(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        wait::found(what, EVENT_DEADLINE, || {
            self.events().into_iter().find(|event| fits(event))
        })
        .await
    }

    /// All events, once there are `count` of them; and their ids are distinct.
    ///
    /// # Panics
    /// When they do not come, or there are more.
    pub async fn events_when(&self, count: usize) -> Vec<Value> {
        let events = wait::found(&format!("{count} events"), EVENT_DEADLINE, || {
            let events = self.events();
            (events.len() >= count).then_some(events)
        })
        .await;
        assert_eq!(events.len(), count, "more events than requests");
        let ids: HashSet<_> = events
            .iter()
            .map(|event| event["event"]["id"].to_string())
            .collect();
        assert_eq!(ids.len(), count, "two events share an id");
        events
    }
}
