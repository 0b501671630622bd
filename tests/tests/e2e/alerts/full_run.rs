//! A full run: errors come and go; weir's own engine and the Prometheus rules evaluate them, and notify a real
//! Alertmanager and a fake Feishu.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use weir_tests::alertmanager::Alertmanager;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::prometheus::Prometheus;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

/// Windows and intervals are short for both.
const ALERTS: &str = "evaluate_every: 500ms, window: 4s, minimum_requests: 20, \
    rules: [{name: ErrorRate, signal: error_rate, warning: 1%, critical: 3%, recovery: 0.5%, for: 1s}]";
const WINDOW_S: f64 = 4.0;
/// A scrape, an evaluation, `for`, plus the delay of a busy machine and of windows aligned to a grid.
const DELAY_MAX_S: f64 = 0.5 + 0.5 + 1.0 + 1.5;
/// The window, `for`, and two evaluations: longer than any change takes to be noticed.
const SETTLED: Duration = Duration::from_secs(7);
/// The deadline on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// Fails a share of requests evenly, in thousandths, and records each.
struct FailingBackend {
    per_mille: AtomicU64,
    count: AtomicU64,
    /// Unix time of the response in seconds, and whether it failed.
    answered: Mutex<Vec<(f64, bool)>>,
}

impl FailingBackend {
    fn response(&self) -> BackendResponse {
        let per_mille = self.per_mille.load(Ordering::SeqCst);
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        let fails = (count + 1) * per_mille / 1000 > count * per_mille / 1000;
        let now = weir::clock::unix_now().as_secs_f64();
        self.answered.lock().expect("the list").push((now, fails));
        BackendResponse::status(if fails { 500 } else { 200 })
    }

    /// The share of errors within the window that ended at a time.
    fn error_share(&self, at: f64) -> f64 {
        let answered = self.answered.lock().expect("the list");
        let wait_for_tier = answered.partition_point(|(when, _)| *when <= at);
        let from = answered.partition_point(|(when, _)| *when <= at - WINDOW_S);
        let window = &answered[from..wait_for_tier];
        let failed = window.iter().filter(|(_, failed)| *failed).count();
        failed as f64 / window.len().max(1) as f64
    }

    /// How long the value in the window had crossed a threshold when the tier changed.
    fn crossing_delay(&self, changed_at: f64, is_beyond: impl Fn(f64) -> bool) -> f64 {
        let step = 0.05;
        let steps = (0..400).map(|steps| f64::from(steps) * step);
        let beyond = steps.take_while(|back| is_beyond(self.error_share(changed_at - back)));
        beyond.last().unwrap_or(0.0)
    }

    fn set(&self, per_mille: u64) {
        self.count.store(0, Ordering::SeqCst);
        self.per_mille.store(per_mille, Ordering::SeqCst);
    }
}

async fn load(proxy: &Proxy) {
    let mut client = Client::h1(proxy.address()).await;
    loop {
        client.send(ClientRequest::get("/")).await;
        wait::tick().await;
    }
}

/// The tiers of weir's engine, from `/api/alerts`.
async fn transitions(proxy: &Proxy) -> Vec<String> {
    let page = proxy.admin_get("/api/alerts").await.json();
    let transitions = page["transitions"].as_array().expect("transitions").iter();
    transitions
        .map(|one| one["to"].as_str().expect("a tier").to_owned())
        .collect()
}

/// The current tier of the rules.
async fn tier_in_prometheus(prometheus: &Prometheus, start: u64) -> Option<f64> {
    let tiers = prometheus.range("weir:tier", start).await;
    tiers.last().map(|(_, tier)| *tier)
}

struct Run {
    proxy: Proxy,
    prometheus: Prometheus,
    failing_backend: Arc<FailingBackend>,
    start: u64,
}

impl Run {
    /// Sets the share of errors and waits until both reach this tier.
    async fn wait_for_tier(&self, per_mille: u64, tier: f64) {
        self.failing_backend.set(per_mille);
        let both = async {
            loop {
                let metrics = self.proxy.metrics().await;
                let own = metrics.sum("weir_alert_tier", &[("rule", "ErrorRate")]);
                let theirs = tier_in_prometheus(&self.prometheus, self.start).await;
                if own == tier && theirs == Some(tier) {
                    return;
                }
                wait::tick().await;
            }
        };
        wait::within(
            &format!("tier {tier} at {per_mille} of 1000"),
            PATIENCE,
            both,
        )
        .await;
    }

    /// Sets the share of errors, and checks that both stay at this tier for as long as a change would take.
    async fn assert_tier_stays(&self, per_mille: u64, tier: f64) {
        self.failing_backend.set(per_mille);
        let changes = transitions(&self.proxy).await;
        let changed = wait::still_waiting_after(SETTLED, async {
            loop {
                if transitions(&self.proxy).await != changes {
                    return;
                }
                wait::tick().await;
            }
        });
        assert!(changed.await, "{per_mille} of 1000 changed the tier");
        let theirs = tier_in_prometheus(&self.prometheus, self.start).await;
        assert_eq!(theirs, Some(tier), "at {per_mille} of 1000");
    }
}

/// The messages of a source to Alertmanager's receivers: status and severities of each.
fn wait_for_messages(hook: &Backend, path: &str, of_prometheus: bool) -> Vec<String> {
    let requests = hook.requests();
    let complete_messages = requests
        .iter()
        .filter(|request| request.target == path)
        // A message that is still arriving is incomplete.
        .filter_map(|request| serde_json::from_slice::<Value>(&request.body).ok());
    complete_messages
        .filter(|body| body["groupLabels"]["alertname"] == "ErrorRate")
        .filter(|body| body["groupLabels"]["job"].is_string() == of_prometheus)
        .map(|body| body["status"].as_str().expect("a status").to_owned())
        .collect()
}

/// The tiers that were sent to Feishu, in order.
fn cards(feishu: &Backend) -> Vec<String> {
    let requests = feishu.requests();
    // A message that is still arriving is incomplete.
    let whole = requests
        .iter()
        .filter_map(|request| serde_json::from_slice::<Value>(&request.body).ok());
    let titles = whole.map(|body| {
        assert_eq!(body["msg_type"], "interactive");
        assert!(body["sign"].is_string() && body["timestamp"].is_string());
        let title = &body["card"]["header"]["title"]["content"];
        title.as_str().expect("a title").to_owned()
    });
    titles
        .map(|title| title.split(' ').next().unwrap_or_default().to_owned())
        .collect()
}

/// The output of `weir rules` for the configuration of a proxy.
fn rules(proxy: &Proxy) -> String {
    let rules = std::process::Command::new(weir_tests::process::weir())
        .args(["rules", "--config"])
        .arg(proxy.directory().join("weir.yaml"))
        .output()
        .expect("weir runs");
    String::from_utf8(rules.stdout).expect("rules")
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_notified_once_by_the_engine_and_by_prometheus() {
    let test = "errors_are_notified_once_by_the_engine_and_by_prometheus";
    let failing_backend = Arc::new(FailingBackend {
        per_mille: AtomicU64::new(2),
        count: AtomicU64::new(0),
        answered: Mutex::default(),
    });
    let responses = failing_backend.clone();
    let backend = Backend::responding(move |_| responses.response()).await;
    let hook = Backend::responding(|_| BackendResponse::status(200)).await;
    let feishu = Backend::responding(|_| {
        BackendResponse::json(&serde_json::json!({"code": 0, "msg": "success"}))
    })
    .await;
    let Some(alertmanager) = Alertmanager::start(test, &hook.url()).await else {
        return;
    };
    let setup = Setup::open(&backend).top(&format!(
        "alerts: {{{ALERTS}, alertmanager: {{urls: ['{}']}}, \
         feishu: {{webhook: '{}/bot', secret: s3cret}}}}",
        alertmanager.url(),
        feishu.url(),
    ));
    let proxy = setup.start().await;
    let rules = rules(&proxy);
    let reported = (&*rules, &*alertmanager.url());
    let Some(prometheus) = Prometheus::alerting(test, &[proxy.admin()], Some(reported)).await
    else {
        return;
    };
    let run = Run {
        proxy,
        prometheus,
        failing_backend,
        start: weir::clock::unix_now().as_secs(),
    };
    let steps = async {
        run.wait_for_tier(2, 0.0).await;
        run.assert_tier_stays(2, 0.0).await;
        run.wait_for_tier(20, 1.0).await;
        run.assert_tier_stays(20, 1.0).await;
        run.assert_tier_stays(8, 1.0).await;
        run.wait_for_tier(4, 0.0).await;
        run.wait_for_tier(50, 2.0).await;
        run.assert_tier_stays(20, 2.0).await;
        run.assert_tier_stays(8, 2.0).await;
        run.wait_for_tier(4, 0.0).await;
    };
    tokio::select! {
        () = steps => {}
        () = async { futures_util::join!(load(&run.proxy), load(&run.proxy), load(&run.proxy)); } => {}
    }
    // While rising to 5 % the value is above 1 % for a while: a warning may precede.
    let up = ["warning", "none", "warning", "critical", "none"];
    let at_once = ["warning", "none", "critical", "none"];
    let own = transitions(&run.proxy).await;
    assert!(own == up || own == at_once, "{own:?}");
    check_prometheus(&run).await;
    check_delays(&run).await;
    wait::found("the last card", PATIENCE, || {
        let cards = cards(&feishu);
        (cards.iter().filter(|card| *card == "Recovered").count() == 2).then_some(())
    })
    .await;
    let reported = cards(&feishu);
    let reported: Vec<_> = reported.iter().map(String::as_str).collect();
    let up = ["Warning", "Recovered", "Warning", "Critical", "Recovered"];
    let at_once = ["Warning", "Recovered", "Critical", "Recovered"];
    assert!(reported == up || reported == at_once, "{reported:?}");
    check_alertmanager(&alertmanager, &hook).await;
}

/// The rules reached the same tiers, with the same thresholds as the engine.
async fn check_prometheus(run: &Run) {
    let tiers = run.prometheus.range("weir:tier", run.start).await;
    let mut changes: Vec<f64> = tiers.iter().map(|(_, tier)| *tier).collect();
    changes.dedup();
    let up: &[f64] = &[0.0, 1.0, 0.0, 1.0, 2.0, 0.0];
    let at_once: &[f64] = &[0.0, 1.0, 0.0, 2.0, 0.0];
    assert!(changes == up || changes == at_once, "{changes:?}");
}

/// Each change came soon after the value in the window had crossed its threshold.
async fn check_delays(run: &Run) {
    let page = run.proxy.admin_get("/api/alerts").await.json();
    let own = page["transitions"].as_array().expect("transitions").iter();
    let own = own.map(|one| {
        let at: jiff::Timestamp = one["at"].as_str().expect("a time").parse().expect("a time");
        let tier = match one["to"].as_str() {
            Some("critical") => 2.0,
            Some("warning") => 1.0,
            _ => 0.0,
        };
        (at.as_microsecond() as f64 / 1e6, tier)
    });
    let theirs = run.prometheus.range("weir:tier", run.start).await;
    let changed = theirs.windows(2).filter(|pair| pair[0].1 != pair[1].1);
    let theirs = changed.map(|pair| pair[1]);
    for (who, changes) in [
        ("weir", own.collect::<Vec<_>>()),
        ("Prometheus", theirs.collect()),
    ] {
        for (at, tier) in changes {
            let crossing_delay = run
                .failing_backend
                .crossing_delay(at, |error_share| match tier {
                    2.0 => error_share > 0.03,
                    1.0 => error_share > 0.01,
                    _ => error_share <= 0.005,
                });
            assert!(
                crossing_delay <= DELAY_MAX_S,
                "{who}: tier {tier} after {crossing_delay} s"
            );
        }
    }
}

/// Every alert that fired was resolved exactly once.
async fn check_alertmanager(alertmanager: &Alertmanager, hook: &Backend) {
    wait::within("the end of all alerts", PATIENCE, async {
        while !alertmanager.alerts().await.is_empty() {
            wait::tick().await;
        }
    })
    .await;
    for of_prometheus in [false, true] {
        let source = if of_prometheus { "Prometheus" } else { "weir" };
        let closed = |path: &str| {
            let wait_for_messages = wait_for_messages(hook, path, of_prometheus);
            wait_for_messages
                .last()
                .is_none_or(|status| status == "resolved")
                .then_some(wait_for_messages)
        };
        let team = wait::found("the team's last message", PATIENCE, || closed("/team")).await;
        let on_call = wait::found("on call's last message", PATIENCE, || closed("/on-call")).await;
        assert_eq!(on_call, ["firing", "resolved"], "{source}: {on_call:?}");
        let twice = ["firing", "resolved", "firing", "resolved"];
        assert!(team == twice || team == twice[..2], "{source}: {team:?}");
    }
}
