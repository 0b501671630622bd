//! A running proxy: its addresses, events and metrics.

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
use crate::setup::Setup;
use crate::wait;

/// How long an event may take to be in the file. weir guarantees 200 ms; the rest is for a busy machine.
const EVENT_DEADLINE: Duration = wait::PATIENCE;

/// The real `weir`, listening on ports chosen by the system.
///
/// It logs to stderr, one line each: `weir: listening on ADDRESS (http)` or `(https)` in the order of `listen`,
/// `weir: admin on ADDRESS`, and finally `weir: ready`.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    directory: TempDir,
    plain: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    admin: SocketAddr,
}

impl Proxy {
    /// Waits until a process is ready.
    ///
    /// # Panics
    /// The process ends or does not become ready; with its output.
    pub async fn ready(process: Process, directory: TempDir) -> Self {
        let addresses = Addresses::of(&process).await;
        Proxy {
            process,
            directory,
            plain: addresses.plain,
            tls: addresses.tls,
            admin: addresses.admin,
        }
    }

    /// Starts a successor with these settings, and lets it take over. Returns the process that drains; from now on this
    /// is the successor, on the same addresses.
    ///
    /// # Panics
    /// The successor does not take over; with its output.
    pub async fn upgrade(&mut self, setup: &Setup) -> Process {
        let successor = setup.spawn_successor(self.directory());
        wait::eventually("a waiting successor", wait::PATIENCE, || {
            assert!(successor.exit().is_none(), "{}", successor.stderr());
            successor.stderr().contains("weir: waiting")
        })
        .await;
        self.process.sigquit();
        let addresses = Addresses::of(&successor).await;
        (self.plain, self.tls) = (addresses.plain, addresses.tls);
        self.admin = addresses.admin;
        std::mem::replace(&mut self.process, successor)
    }
}

/// What a process reports when it is ready.
struct Addresses {
    plain: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    admin: SocketAddr,
}

impl Addresses {
    async fn of(process: &Process) -> Self {
        let stderr = wait::found("`weir: ready` on stderr", wait::PATIENCE, || {
            let stderr = process.stderr();
            if stderr.lines().any(|line| line.ends_with("weir: ready")) {
                return Some(stderr);
            }
            let exit = process.exit();
            assert!(exit.is_none(), "weir ended with {exit:?}:\n{stderr}");
            None
        })
        .await;
        let listening = |scheme: &str| -> Vec<SocketAddr> {
            stderr
                .lines()
                .filter_map(|line| line.split_once("weir: listening on ")?.1.split_once(' '))
                .filter(|(_, rest)| *rest == scheme)
                .map(|(address, _)| address.parse().expect("an address in the ready line"))
                .collect()
        };
        let admin = stderr
            .lines()
            .find_map(|line| line.split_once("weir: admin on "))
            .expect("the line `weir: admin on ADDRESS`")
            .1
            .parse()
            .expect("the address of admin");
        Addresses {
            plain: listening("(http)"),
            tls: listening("(https)"),
            admin,
        }
    }
}

impl Proxy {
    /// The first address without TLS.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        *self.plain.first().expect("an address without TLS")
    }

    /// All addresses without TLS, in their order.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.plain
    }

    /// The first address with TLS.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        *self.tls.first().expect("an address with TLS")
    }

    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The directory of a proxy that has ended, to start another in it.
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

    /// Its stderr so far.
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
    /// It does not end within `deadline`.
    pub async fn wait_exit(&self, deadline: Duration) -> ExitStatus {
        self.process.wait_exit(deadline).await
    }

    /// Sends a request on a new connection.
    ///
    /// # Panics
    /// There is no complete response.
    pub async fn send(&self, request: ClientRequest) -> ClientResponse {
        client::send(self.address(), request).await
    }

    /// GET on the admin address.
    ///
    /// # Panics
    /// There is no complete response.
    pub async fn admin_get(&self, path: &str) -> ClientResponse {
        client::send(
            self.admin,
            ClientRequest::get(path).header("host", &self.admin.to_string()),
        )
        .await
    }

    /// The current metrics.
    ///
    /// # Panics
    /// The response does not contain metrics.
    pub async fn metrics(&self) -> Metrics {
        Metrics::scrape(self.admin).await
    }

    /// Polls the metrics until a condition is met; `is_met` may also check invariants on every scrape.
    ///
    /// # Panics
    /// The condition is not met in time; with the last metrics.
    pub async fn metrics_when(&self, what: &str, is_met: impl Fn(&Metrics) -> bool) -> Metrics {
        let mut last = String::new();
        let polling = async {
            loop {
                let metrics = self.metrics().await;
                if is_met(&metrics) {
                    return metrics;
                }
                last = metrics.text;
                wait::tick().await;
            }
        };
        let found = tokio::time::timeout(wait::PATIENCE, polling).await;
        found.unwrap_or_else(|_| panic!("timed out waiting for {what}:\n{last}"))
    }

    /// The default event file.
    #[must_use]
    pub fn event_file(&self) -> PathBuf {
        self.directory.path().join("data/events.ndjson")
    }

    /// All events so far, in the order of the file.
    ///
    /// # Panics
    /// A line is not JSON.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let bytes = std::fs::read(self.event_file()).unwrap_or_default();
        // A large write may be read partially.
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
    /// The event does not appear.
    pub async fn event(&self, request_id: &str) -> Value {
        self.event_where(&format!("the event of {request_id}"), |event| {
            event["http"]["request"]["id"] == request_id
        })
        .await
    }

    /// The event of a response, by its `X-Request-Id`.
    ///
    /// # Panics
    /// The response has no id, or the event does not appear.
    pub async fn event_of(&self, response: &ClientResponse) -> Value {
        self.event(response.header("x-request-id").expect("an X-Request-Id"))
            .await
    }

    /// The first event with this `error_code`.
    ///
    /// # Panics
    /// The event does not appear.
    pub async fn event_with_code(&self, code: &str) -> Value {
        self.event_where(&format!("an event with {code}"), |event| {
            event["error_code"] == code
        })
        .await
    }

    /// The first event that matches.
    ///
    /// # Panics
    /// The event does not appear.
    pub async fn event_where(&self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        wait::found(what, EVENT_DEADLINE, || {
            self.events().into_iter().find(|event| matches(event))
        })
        .await
    }

    /// Waits for `count` events, and checks that their ids are unique.
    ///
    /// # Panics
    /// There are fewer or more events.
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
