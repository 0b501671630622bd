//! No request fails, and no event is lost or doubled, while a busy process is reloaded and upgraded.

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir_tests::backend::Backend;
use weir_tests::index::Index;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::reload::{reload, write};
use clients::{Connections, Quota, Results};

mod clients;

/// How long a run may take on a busy machine.
const RUN_MAX: Duration = Duration::from_secs(600);
/// How long a process that has handed over may drain: the default of `shutdown.drain`, and some time to end.
const DRAIN_MAX: Duration = Duration::from_secs(45);

/// What happens to the process in the middle of its requests.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// A new configuration, by `POST /api/reload`.
    Requested,
    /// By SIGHUP.
    Signalled,
    /// Found by its content.
    Noticed,
    /// An invalid configuration, which is rejected.
    Rejected,
    /// A new process takes over, with a new configuration.
    Upgraded,
}

/// A configuration that differs from that of another number in the endpoints of the backend, the route of all requests,
/// and a marker.
fn numbered(backends: &[Backend; 2], index: &Index, number: usize) -> Setup {
    let [one, two] = backends.each_ref().map(Backend::url);
    let endpoints = match number % 3 {
        0 => vec![one, two],
        1 => vec![two],
        _ => vec![one],
    };
    let timeout = format!("first_byte_timeout: {}s", 30 + number);
    let limits = format!("concurrency: {}", 100 + number);
    Setup::without_backend()
        .backend("assistant", &endpoints, &[&timeout])
        .routes(&format!(
            "- {{name: marker{number}, path: /marker, backend: assistant}}\n\
             - {{name: all, path: /*, backend: assistant, platform: p{}, {limits}}}",
            number % 2
        ))
        .events("spool: {path: data/spool, sync: 100ms}")
        .events(&format!(
            "elasticsearch: {{urls: [{}], batch: {{events: 1000, wait: 200ms}}}}",
            index.url()
        ))
}

async fn wait_for_marker(proxy: &Proxy, number: usize) {
    let name = format!("marker{number}");
    let applied = async {
        while proxy.admin_get("/api/status").await.json()["routes"][0]["name"] != *name {
            wait::tick().await;
        }
    };
    wait::within(&name, wait::PATIENCE, applied).await;
}

/// The ids of all events in the event file and those that were rotated; each line must be whole.
fn event_ids(proxy_directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(proxy_directory.join("data")).expect("the data");
    let mut ids = Vec::new();
    for file in files {
        let path = file.expect("an entry").path();
        if path
            .extension()
            .is_none_or(|extension| extension != "ndjson")
        {
            continue;
        }
        let file = std::fs::File::open(&path).expect("an event file");
        for line in std::io::BufReader::new(file).lines() {
            let line = line.expect("UTF-8");
            let event: Value = serde_json::from_str(&line).expect("a whole line");
            ids.push(event["event"]["id"].as_str().expect("an id").to_owned());
        }
    }
    ids
}

/// A run: requests of all kinds of connections, and the changes in between, at equal distances.
struct Run {
    requests: usize,
    clients: Vec<Connections>,
    changes: Vec<Change>,
}

impl Run {
    async fn assert_nothing_is_lost(self) {
        let backends = [
            Backend::whole_responses().await,
            Backend::whole_responses().await,
        ];
        let index = Index::of_ids().await;
        let mut proxy = numbered(&backends, &index, 0).start().await;
        let mut drained = Vec::new();
        let quota = Quota::new(self.requests);
        let clients: Vec<_> = self
            .clients
            .iter()
            .map(|client| tokio::spawn(client.send(proxy.address(), quota.clone())))
            .collect();
        let mut number = 0;
        for (place, change) in self.changes.iter().enumerate() {
            let due = self.requests * (place + 1) / (self.changes.len() + 1);
            wait::within("the requests between", RUN_MAX, quota.begun(due)).await;
            if !matches!(change, Change::Rejected) {
                number += 1;
            }
            let setup = numbered(&backends, &index, number);
            let yaml = setup.yaml(proxy.directory());
            if !matches!(change, Change::Upgraded) {
                write(&proxy, &yaml);
            }
            match change {
                Change::Upgraded => drained.push(proxy.upgrade(&setup).await),
                Change::Requested => assert_eq!(reload(&proxy).await["outcome"], "applied"),
                Change::Signalled => proxy.process().sighup(),
                Change::Noticed => {}
                Change::Rejected => {
                    write(&proxy, "routes: none");
                    assert_eq!(reload(&proxy).await["outcome"], "rejected");
                    write(&proxy, &yaml);
                }
            }
            wait_for_marker(&proxy, number).await;
        }
        let mut results = Results::default();
        for client in clients {
            let ended = wait::within("the requests", RUN_MAX, client).await;
            results.append(ended.expect("no panic"));
        }
        self.assert_answered(&results);
        for process in drained {
            let exit = process.wait_exit(DRAIN_MAX).await;
            assert_eq!(exit.code(), Some(0), "{}", process.stderr());
        }
        let what = "all events in the index";
        wait::eventually(what, RUN_MAX, || index.count() >= self.requests).await;
        proxy.sigterm();
        let exit = proxy.wait_exit(wait::PATIENCE).await;
        assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
        let indexed: BTreeSet<String> = index.ids().into_iter().collect();
        assert_recorded_once(results.ids, event_ids(proxy.directory()), &indexed);
    }

    fn assert_answered(&self, results: &Results) {
        let first = &results.failures[..results.failures.len().min(10)];
        let (failed, sent) = (results.failures.len(), self.requests);
        assert!(failed == 0, "{failed} of {sent} failed: {first:#?}");
        assert_eq!(results.ids.len(), self.requests);
    }
}

/// Each request has one event, in the event file and in the index, and there are no others.
fn assert_recorded_once(answered: Vec<String>, recorded: Vec<String>, indexed: &BTreeSet<String>) {
    let count = recorded.len();
    let recorded: BTreeSet<String> = recorded.into_iter().collect();
    assert_eq!(count, recorded.len(), "events are doubled");
    let answered: BTreeSet<String> = answered.into_iter().collect();
    for (place, there) in [("the event file", &recorded), ("the index", indexed)] {
        let missing = answered.difference(there).count();
        let extra = there.difference(&answered).count();
        assert_eq!((missing, extra), (0, 0), "missing and extra in {place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_and_no_event_is_lost_through_reloads_and_upgrades() {
    let run = Run {
        requests: 4_000,
        clients: vec![
            Connections::KeptAlive,
            Connections::NewEach,
            Connections::Http2,
        ],
        changes: vec![
            Change::Requested,
            Change::Signalled,
            Change::Rejected,
            Change::Noticed,
            Change::Upgraded,
            Change::Requested,
            Change::Upgraded,
        ],
    };
    run.assert_nothing_is_lost().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; `cargo test -p weir-tests --test e2e -- --ignored two_hundred_thousand`"]
async fn two_hundred_thousand_requests_lose_nothing_through_six_reloads_and_three_upgrades() {
    let kinds = [
        Connections::KeptAlive,
        Connections::KeptAlive,
        Connections::NewEach,
        Connections::Http2,
    ];
    let run = Run {
        requests: 200_000,
        clients: kinds.repeat(2),
        changes: vec![
            Change::Requested,
            Change::Signalled,
            Change::Upgraded,
            Change::Noticed,
            Change::Requested,
            Change::Upgraded,
            Change::Signalled,
            Change::Upgraded,
            Change::Noticed,
        ],
    };
    run.assert_nothing_is_lost().await;
}
