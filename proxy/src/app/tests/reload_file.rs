//! Reloading from a file: outcomes, reports and metrics.

use std::path::PathBuf;
use std::time::Duration;

use super::{App, ask};
use crate::admin::reload::{ReloadOutcome, ReloadReport};
use crate::clock::eventually;
use crate::config::file;
use crate::metrics::ExpositionFormat;

const FILE: &str = "
listen: [{address: '127.0.0.1:0'}]
admin: {address: '127.0.0.1:0'}
backends: [{name: a, endpoints: ['http://127.0.0.1:1']}]
routes: [{name: one, path: /one, backend: a, body_timeout: 30s}]
limits: {header_bytes: 32KiB}
alerts: {state: ''}
shutdown: {drain: 10s, upgrade_socket: ''}
";

struct Running {
    folder: tempfile::TempDir,
    app: App,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weir.yaml");
        std::fs::write(&path, FILE).expect("written");
        let opened = file::open(path).expect("a configuration");
        let app = App::start_from(opened).expect("weir starts");
        Running { folder, app }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("weir.yaml")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).expect("written");
    }

    fn reload(&self) -> ReloadReport {
        self.app.reload().blocking_recv().expect("a report")
    }

    fn reload_with(&self, text: &str) -> ReloadReport {
        self.write(text);
        self.reload()
    }

    fn status(&self, path: &str) -> String {
        ask(self.app.addresses[0].0, path).expect("a response")
    }

    /// How often each outcome was counted: applied, unchanged, rejected.
    fn counts(&self) -> [u64; 3] {
        let text = self.app.metrics.render(ExpositionFormat::Text);
        let text = String::from_utf8(text).expect("UTF-8");
        ["applied", "unchanged", "rejected"].map(|outcome| {
            let series = format!("weir_config_reloads_total{{outcome=\"{outcome}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&series));
            line.and_then(|count| count.parse().ok()).expect("a series")
        })
    }

    fn stop(self) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(self.app.stop());
    }
}

#[test]
fn a_reload_reports_what_it_changed_and_what_waits_for_a_restart() {
    let running = Running::start();
    assert_eq!(running.reload().outcome, ReloadOutcome::Unchanged);

    let moved = FILE.replace("path: /one", "path: /two");
    let report = running.reload_with(&moved);
    assert_eq!(report.outcome, ReloadOutcome::Applied);
    assert_eq!(report.changed, ["routes[one].path"]);
    assert!(report.needs_restart.is_empty(), "{report:?}");
    assert_eq!(running.status("/one"), "404");
    assert_eq!(running.status("/two"), "502");

    // A key that needs a restart alone: nothing is applied, and every reload reports it until it is as at the start.
    let larger = moved
        .replace("32KiB", "64KiB")
        .replace("drain: 10s", "drain: 9s");
    for _ in 0..2 {
        let report = running.reload_with(&larger);
        assert_eq!(report.outcome, ReloadOutcome::Unchanged);
        assert!(report.changed.is_empty(), "{report:?}");
        let waiting = ["limits.header_bytes", "shutdown.drain"];
        assert_eq!(report.needs_restart, waiting);
    }
    let both = larger
        .replace("drain: 9s", "drain: 10s")
        .replace("30s", "31s");
    let report = running.reload_with(&both);
    assert_eq!(report.outcome, ReloadOutcome::Applied);
    assert_eq!(report.changed, ["routes[one].body_timeout"]);
    assert_eq!(report.needs_restart, ["limits.header_bytes"]);
    let generation = running.app.installer.gateway.generation().clone();
    assert_eq!(generation.header_bytes, 32 * 1024, "as at the start");
    assert_eq!(
        generation.pipelines[0].config.body_timeout,
        Duration::from_secs(31)
    );
    let report = running.reload_with(FILE);
    assert_eq!(
        report.changed,
        ["routes[one].path", "routes[one].body_timeout"]
    );
    assert!(report.needs_restart.is_empty(), "{report:?}");
    assert_eq!(running.counts(), [3, 3, 0]);
    running.stop();
}

#[test]
fn an_invalid_file_changes_nothing_and_is_reported_with_all_its_errors() {
    let running = Running::start();
    let invalid = FILE.replace("body_timeout: 30s", "body_timeout: soon, bakend: b");
    let report = running.reload_with(&invalid);
    assert_eq!(report.outcome, ReloadOutcome::Rejected);
    let places: Vec<_> = report
        .errors
        .iter()
        .map(|error| (error.line, error.column, error.file.ends_with("weir.yaml")))
        .collect();
    assert_eq!(places, [(5, 60, true), (5, 66, true)]);
    assert_eq!(running.status("/one"), "502");
    std::fs::remove_file(running.path()).expect("removed");
    assert_eq!(running.reload().outcome, ReloadOutcome::Rejected);
    assert_eq!(running.status("/one"), "502");
    assert_eq!(running.reload_with(FILE).outcome, ReloadOutcome::Unchanged);
    assert_eq!(running.counts(), [0, 1, 2]);
    running.stop();
}

#[test]
fn a_changed_file_is_loaded_by_itself_and_an_invalid_one_once() {
    let running = Running::start();
    running.write(&FILE.replace("path: /one", "path: /two"));
    eventually("the change", || running.status("/two") == "502");
    assert_eq!(running.counts(), [1, 0, 0]);
    running.write("routes: [");
    eventually("the rejection", || running.counts()[2] > 0);
    std::fs::remove_file(running.path()).expect("removed");
    eventually("the second rejection", || running.counts()[2] > 1);
    running.write(&FILE.replace("path: /one", "path: /two"));
    eventually("the file to be back", || running.counts()[1] > 0);
    assert_eq!(running.counts(), [1, 1, 2]);
    assert_eq!(running.status("/two"), "502");
    running.stop();
}

#[test]
fn without_a_file_a_reload_is_unchanged() {
    let loaded = crate::config::parse(FILE, "weir.yaml".as_ref(), &|_| None);
    let config = loaded.expect("a configuration").config;
    let app = App::start(&config).expect("weir starts");
    let report = app.reload().blocking_recv().expect("a report");
    assert_eq!(report.outcome, ReloadOutcome::Unchanged);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(app.stop());
}
