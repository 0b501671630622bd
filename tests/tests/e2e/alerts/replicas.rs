//! Replicas with the same rules share an Alertmanager: none resolves an alert of another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt, SeedableRng};
use weir_tests::alertmanager::Alertmanager;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

/// Two rules, one with labels by route; a window soon contains only one kind of requests.
const ALERTS: &str = "evaluate_every: 100ms, window: 300ms, minimum_requests: 5, \
    rules: [{name: ErrorRate, signal: error_rate, warning: 1%, critical: 90%, recovery: 0.5%, for: 0s}, \
    {name: PerRoute, signal: error_rate, per: route, warning: 1%, critical: 90%, recovery: 0.5%, for: 0s}]";
const CHANGES: usize = 50;
/// The deadline on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// An alert with its severity: the labels by which Alertmanager identifies alerts.
type Alert = Vec<(String, String)>;

/// One weir with its own backend.
struct Replica {
    proxy: Proxy,
    instance: String,
    /// How many of a hundred requests fail.
    failing_backend: Arc<AtomicU64>,
    tier: &'static str,
}

impl Replica {
    async fn start(alertmanager: &Alertmanager) -> Self {
        let failing_backend = Arc::new(AtomicU64::new(0));
        let (percent, count) = (failing_backend.clone(), AtomicU64::new(0));
        let backend = Backend::responding(move |_| {
            let count = count.fetch_add(1, Ordering::SeqCst);
            // Every second of fifty in a hundred, so that every window contains both kinds.
            let fails = match percent.load(Ordering::SeqCst) {
                50 => count % 2 == 0,
                percent => percent == 100,
            };
            BackendResponse::status(if fails { 500 } else { 200 })
        })
        .await;
        let proxy = Setup::open(&backend)
            .top(&format!(
                "alerts: {{{ALERTS}, alertmanager: {{urls: ['{}']}}}}",
                alertmanager.url()
            ))
            .start()
            .await;
        // The backend lives as long as the test.
        Box::leak(Box::new(backend));
        let page = proxy.admin_get("/api/alerts").await.json();
        let instance = page["instance"].as_str();
        let instance = instance.expect("an instance").to_owned();
        Replica {
            proxy,
            instance,
            failing_backend,
            tier: "none",
        }
    }

    async fn load(&self) {
        let mut client = Client::h1(self.proxy.address()).await;
        loop {
            client.send(ClientRequest::get("/")).await;
            wait::tick().await;
        }
    }

    /// The active alerts of its own engine, as Alertmanager should show them: critical alerts also as warnings.
    async fn active_alerts(&self) -> BTreeSet<Alert> {
        let page = self.proxy.admin_get("/api/alerts").await.json();
        let alerts = page["alerts"].as_array().expect("alerts").iter();
        let alerts = alerts.flat_map(|alert| {
            let severities: &[&str] = match alert["tier"].as_str() {
                Some("critical") => &["critical", "warning"],
                Some("warning") => &["warning"],
                _ => &[],
            };
            severities.iter().map(|severity| {
                let mut labels = labels(&alert["labels"]);
                labels.push(("alertname".to_owned(), text(&alert["rule"])));
                labels.push(("severity".to_owned(), (*severity).to_owned()));
                labels.sort();
                labels
            })
        });
        alerts.collect()
    }

    /// Whether both alerts have reached their tiers.
    async fn has_reached_tier(&self) -> bool {
        let page = self.proxy.admin_get("/api/alerts").await.json();
        let alerts = page["alerts"].as_array().expect("alerts").iter();
        // There is no traffic without a route here.
        let alerts = alerts.filter(|alert| alert["labels"]["route"] != "none");
        let tiers: Vec<_> = alerts.map(|alert| &alert["tier"]).collect();
        tiers == [self.tier, self.tier]
    }
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn labels(value: &serde_json::Value) -> Alert {
    let labels = value.as_object().expect("labels").iter();
    labels
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// The alerts of a replica in Alertmanager.
async fn alerts_of(alertmanager: &Alertmanager, instance: &str) -> BTreeSet<Alert> {
    let alerts = alertmanager.alerts().await;
    let alerts = alerts
        .iter()
        .filter(|alert| alert["labels"]["instance"] == instance);
    alerts.map(|alert| labels(&alert["labels"])).collect()
}

/// One change of a replica, and everything that Alertmanager shows until it shows the change.
async fn change(alertmanager: &Alertmanager, changing: &Replica, other: &Replica, what: &str) {
    let before = alerts_of(alertmanager, &other.instance).await;
    assert_eq!(
        before,
        other.active_alerts().await,
        "{what}: the other's, before"
    );
    let started_at = tokio::time::Instant::now();
    {
        loop {
            assert!(
                started_at.elapsed() < PATIENCE,
                "{what}: {:?} and {:?}",
                alerts_of(alertmanager, &changing.instance).await,
                changing.active_alerts().await
            );
            let now = alerts_of(alertmanager, &other.instance).await;
            assert_eq!(now, before, "{what}: the other's alerts have not changed");
            if changing.has_reached_tier().await
                && alerts_of(alertmanager, &changing.instance).await
                    == changing.active_alerts().await
            {
                return;
            }
            wait::tick().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_do_not_resolve_each_others_alerts() {
    let test = "replicas_do_not_resolve_each_others_alerts";
    let hook = Backend::responding(|_| BackendResponse::status(200)).await;
    let Some(alertmanager) = Alertmanager::start(test, &hook.url()).await else {
        return;
    };
    let seed = std::env::var("WEIR_TEST_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| rand::rng().random());
    eprintln!("{test}: WEIR_TEST_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let first = Replica::start(&alertmanager).await;
    let mut replicas = [first, Replica::start(&alertmanager).await];
    assert_ne!(replicas[0].instance, replicas[1].instance);
    let mut left = [CHANGES; 2];
    let mut round = 0;
    while left.iter().any(|left| *left > 0) {
        let place = match left {
            [0, _] => 1,
            [_, 0] => 0,
            _ => random.random_range(0..2),
        };
        left[place] -= 1;
        round += 1;
        let replica = &mut replicas[place];
        let other_tiers = ["none", "warning", "critical"]
            .into_iter()
            .zip([0, 50, 100])
            // A critical alert does not become a warning before it has ended.
            .filter(|(tier, _)| {
                *tier != replica.tier && (replica.tier, *tier) != ("critical", "warning")
            });
        let choices: Vec<_> = other_tiers.collect();
        let (tier, percent) = *choices.choose(&mut random).expect("a tier");
        let what = format!(
            "seed {seed}, round {round}: {place} from {} to {tier}",
            replica.tier
        );
        replica.tier = tier;
        replica.failing_backend.store(percent, Ordering::SeqCst);
        let [one, two] = &replicas;
        let (changing, other) = if place == 0 { (one, two) } else { (two, one) };
        tokio::select! {
            () = change(&alertmanager, changing, other, &what) => {}
            () = one.load() => {}
            () = two.load() => {}
        }
    }
    let wait_for_messages = hook.requests();
    assert!(!wait_for_messages.is_empty(), "a notification");
}
