use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::super::fixture::{NOW, alert, rule};
use super::super::identity::AlertIdentity;
use super::super::per::Per;
use super::super::persistence::PersistedState;
use super::super::state::AlertState;
use super::super::store::AlertStore;
use super::*;
use crate::alert::metrics::AlertMetrics;
use crate::metrics::Metrics;
use crate::worker::Worker;

const LONG: Duration = Duration::from_secs(60);

fn links() -> ConsoleLinks {
    ConsoleLinks {
        console: "http://127.0.0.1:8081".into(),
    }
}

fn change(name: &str, notified: Tier, tier: Tier) -> Change {
    let mut state = alert(name, Tier::Warning);
    if tier != Tier::Warning {
        state.change(Tier::Warning, tier, NOW + LONG);
    }
    Change { notified, state }
}

#[test]
fn the_signature_for_feishu_is_keyed_with_the_secret() {
    // Computed with Python's hmac: base64(hmac_sha256(key="1599360473\ndemo", msg="")).
    assert_eq!(
        feishu::sign("1599360473", "demo"),
        "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="
    );
}

#[test]
fn the_outcome_of_a_feishu_message_is_its_code() {
    assert_eq!(
        feishu::outcome(br#"{"code":0,"msg":"success","data":{}}"#),
        Ok(())
    );
    assert_eq!(
        feishu::outcome(br#"{"StatusCode":0,"StatusMessage":"success"}"#),
        Ok(())
    );
    let of = |response: &[u8]| feishu::outcome(response).expect_err("a failure");
    assert!(matches!(
        of(br#"{"code":11232,"msg":"x"}"#),
        NotifyFailure::Retryable(_, Some(_))
    ));
    let rejected = of(br#"{"code":19021,"msg":"sign match fail"}"#);
    assert!(
        matches!(&rejected, NotifyFailure::Permanent(why) if why.contains("19021: sign match fail"))
    );
    for response in [&b""[..], b"{}", b"<html>", b"[]"] {
        assert!(matches!(of(response), NotifyFailure::Permanent(_)));
    }
}

fn feishu() -> feishu::FeishuClient {
    feishu::FeishuClient {
        target: post::PostTarget::new(&"http://127.0.0.1:1".into(), None),
        secret: Some("s3cret".into()),
        links: links(),
    }
}

#[test]
fn a_card_has_the_colour_of_the_worst_tier_and_all_details() {
    let colour = |changes: &[Change]| {
        let message = feishu().message(changes, NOW);
        assert_eq!(message["timestamp"], NOW.as_secs().to_string());
        assert!(message["sign"].is_string());
        message["card"]["header"]["template"]
            .as_str()
            .expect("a colour")
            .to_owned()
    };
    let warning = change("ErrorRate", Tier::None, Tier::Warning);
    let critical = change("Slow", Tier::Warning, Tier::Critical);
    let over = change("Disk", Tier::Critical, Tier::None);
    assert_eq!(colour(std::slice::from_ref(&over)), "green");
    assert_eq!(colour(&[over.clone(), warning.clone()]), "orange");
    assert_eq!(colour(&[warning.clone(), critical, over]), "red");
    let text = feishu().message(&[warning], NOW)["card"].to_string();
    for needed in [
        "ErrorRate",
        "Warning",
        "5 %",
        "1 %",
        "2026-11-22 08:00:00 UTC",
        "http://127.0.0.1:8081/runbooks/ErrorRate",
        "\"url\":\"http://127.0.0.1:8081\"",
    ] {
        assert!(text.contains(needed), "{needed}: {text}");
    }
}

#[test]
fn an_alert_storm_is_one_card_within_the_size_limit_and_its_text_is_escaped() {
    let changes: Vec<Change> = (0..500)
        .map(|place| {
            let value = format!(
                "[x](http://evil.example)<at id=all></at>*{place}{}",
                "é".repeat(300)
            );
            let mut state = AlertState::new(
                rule("R", Some(Per::Model)),
                Some(value.into()),
                Arc::default(),
                NOW,
            );
            state.change(Tier::None, Tier::Warning, NOW);
            Change {
                notified: Tier::None,
                state,
            }
        })
        .collect();
    let text = feishu().message(&changes, NOW).to_string();
    assert!(text.len() < 20_000, "{}", text.len());
    assert!(text.contains("480 more"));
    assert!(!text.contains("<at") && !text.contains("[x]("), "{text}");
}

#[test]
fn a_webhook_resolves_the_severity_that_it_fired() {
    let body = |notified, tier| {
        webhook::body(&[change("ErrorRate", notified, tier)], &links(), NOW + LONG)
    };
    let notified = |body: &serde_json::Value| {
        let alerts = body["alerts"].as_array().expect("alerts").iter();
        let notified = alerts.map(|alert| {
            let of = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
            (of(&alert["status"]), of(&alert["labels"]["severity"]))
        });
        notified.collect::<Vec<_>>()
    };
    let pair = |status: &str, severity: &str| (status.to_owned(), severity.to_owned());
    let mut here = change("ErrorRate", Tier::None, Tier::Warning);
    let labels = [("team".to_owned(), "x".to_owned())];
    here.state.identity = Arc::new(AlertIdentity::new(&labels.into(), "a:1"));
    let named = webhook::body(std::slice::from_ref(&here), &links(), NOW);
    assert_eq!(
        named["commonLabels"],
        serde_json::json!({"alertname": "ErrorRate", "instance": "a:1", "severity": "warning", "team": "x"})
    );
    let card = feishu().message(&[here], NOW).to_string();
    assert!(card.contains("Instance 实例: a:1 (team=x)"), "{card}");
    let raised = body(Tier::None, Tier::Warning);
    assert_eq!(notified(&raised), [pair("firing", "warning")]);
    assert_eq!(raised["status"], "firing");
    assert_eq!(raised["version"], "4");
    assert_eq!(raised["commonLabels"]["alertname"], "ErrorRate");
    assert_eq!(raised["alerts"][0]["startsAt"], "2026-11-22T08:00:00Z");
    assert_eq!(raised["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    // As Prometheus' model.LabelSet{alertname="ErrorRate", severity="warning"}.Fingerprint().
    assert_eq!(raised["alerts"][0]["fingerprint"], "f77560c107f93ddb");
    let worse = body(Tier::Warning, Tier::Critical);
    assert_eq!(
        notified(&worse),
        [pair("resolved", "warning"), pair("firing", "critical")]
    );
    let over = body(Tier::Critical, Tier::None);
    assert_eq!(notified(&over), [pair("resolved", "critical")]);
    assert_eq!(over["status"], "resolved");
    assert_eq!(over["alerts"][0]["endsAt"], "2026-11-22T08:01:00Z");
}

#[test]
fn the_backoff_grows_to_a_bound_with_jitter() {
    let again = |after| NotifyFailure::Retryable(String::new(), after);
    for failures in 1..100 {
        let wait = again(None).wait(failures);
        assert!(wait >= BACKOFF && wait <= BACKOFF_MAX * 5 / 4, "{wait:?}");
    }
    assert!(again(None).wait(9) >= BACKOFF_MAX);
    assert!(again(Some(LONG * 60)).wait(1) <= BACKOFF_MAX * 5 / 4);
}

fn store(state: &PersistedState, alerts: Vec<AlertState>) -> AlertStore {
    AlertStore::new(
        state,
        alerts,
        vec!["test".to_owned()],
        None,
        (Arc::default(), NOW),
    )
}

#[test]
fn a_stale_alert_is_notified_as_resolved() {
    let store = store(
        &PersistedState::default(),
        vec![alert("Gone", Tier::Critical)],
    );
    let key = store.alerts()[0].key.clone();
    store.set_notified("test", std::iter::once((&key, Tier::Critical)));
    // The rule was removed, and the engine has forgotten the resolved alert.
    store.publish(Vec::new(), &[], NOW + LONG * 20);
    let changes = store.changes("test", NOW + LONG * 20);
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (changes[0].notified, changes[0].state.tier),
        (Tier::Critical, Tier::None)
    );
    assert!(summary(&changes[0]).contains("no rule evaluates it"));
    store.set_notified("test", std::iter::once((&key, Tier::None)));
    store.publish(Vec::new(), &[], NOW + LONG * 21);
    assert!(store.alerts().is_empty());
}

#[test]
fn a_silence_on_a_severity_also_holds_back_the_resolution() {
    let mut over = alert("ErrorRate", Tier::Critical);
    over.change(Tier::Critical, Tier::None, NOW + LONG);
    over.expire_resolved(NOW + LONG * 60);
    let store = store(&PersistedState::default(), vec![over.clone()]);
    store.set_notified("test", std::iter::once((&over.key, Tier::Critical)));
    let request = r#"{"matchers":[{"name":"severity","value":"critical"}],"duration":"2h"}"#;
    let request: super::super::silence::SilenceRequest =
        serde_json::from_str(request).expect("a request");
    let silence = request.check("1".to_owned(), super::super::store::timestamp(NOW + LONG));
    store.silence(silence.expect("a silence"));
    assert!(store.changes("test", NOW + LONG * 61).is_empty());
    assert_eq!(store.changes("test", NOW + LONG * 130).len(), 1);
}

fn alertmanager(name: &str) -> alertmanager::AlertmanagerClient {
    alertmanager::AlertmanagerClient {
        name: name.to_owned(),
        target: post::PostTarget::new(&"http://127.0.0.1:1".into(), None),
        links: links(),
    }
}

/// Severity, start and end of each alert, in the order of sending.
fn sent(state: &AlertState, now: Duration) -> Vec<(String, String, String)> {
    let store = store(&PersistedState::default(), vec![state.clone()]);
    let alerts = alertmanager("test").alerts(&store, now).into_iter();
    let sent = alerts.map(|alert| {
        let of = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        (
            of(&alert["labels"]["severity"]),
            of(&alert["startsAt"]),
            of(&alert["endsAt"]),
        )
    });
    sent.collect()
}

#[test]
fn no_alert_starts_in_the_future_or_ends_before_it_starts() {
    // Raised while the clock was an hour ahead.
    let hour = Duration::from_secs(3600);
    let mut raised = alert("ErrorRate", Tier::Critical);
    raised.change(Tier::Warning, Tier::Critical, NOW + hour);
    for (severity, starts_at, ends_at) in sent(&raised, NOW - LONG) {
        assert!(starts_at < ends_at, "{severity}: {starts_at} to {ends_at}");
        assert_eq!(starts_at, "2026-11-22T07:59:00Z");
        assert_eq!(ends_at, "2026-11-22T08:03:00Z");
    }
    raised.change(Tier::Critical, Tier::None, NOW + hour);
    for (severity, starts_at, ends_at) in sent(&raised, NOW) {
        assert!(starts_at < ends_at, "{severity}: {starts_at} to {ends_at}");
        assert_eq!(
            ends_at, "2026-11-22T08:00:00Z",
            "{severity}: it is resolved"
        );
    }
}

#[test]
fn a_critical_alert_that_was_resolved_unsent_is_resolved_when_a_warning_follows() {
    let mut state = alert("ErrorRate", Tier::Critical);
    state.change(Tier::Critical, Tier::None, NOW + LONG);
    state.change(Tier::None, Tier::Warning, NOW + LONG * 2);
    let sent = sent(&state, NOW + LONG * 3);
    let ends: Vec<_> = sent
        .iter()
        .map(|one| (one.0.as_str(), one.2.as_str()))
        .collect();
    assert_eq!(
        ends,
        [
            ("critical", "2026-11-22T08:01:00Z"),
            ("warning", "2026-11-22T08:07:00Z")
        ]
    );
}

fn context(store: &Arc<AlertStore>, counts: &NotifierCounts) -> NotifierContext {
    NotifierContext {
        worker: Worker::unexposed("test"),
        store: store.clone(),
        counts: counts.clone(),
        retry_max: RETRY_MAX,
    }
}

/// Passes on what is sent, or rejects it when told so by the test.
struct Scripted {
    reject: Receiver<()>,
    notified: SyncSender<Vec<(String, Tier)>>,
}

impl Channel for Scripted {
    fn send(&mut self, changes: &[Change], _now: Duration) -> Result<(), NotifyFailure> {
        if self.reject.try_recv().is_ok() {
            return Err(NotifyFailure::Retryable(
                "rejected".to_owned(),
                Some(Duration::ZERO),
            ));
        }
        let notified = changes.iter();
        let notified = notified.map(|change| (change.state.key.to_string(), change.state.tier));
        self.notified.send(notified.collect()).expect("a listener");
        Ok(())
    }
}

#[test]
fn the_current_state_is_sent_once() {
    let store = Arc::new(store(&PersistedState::default(), Vec::new()));
    let metrics = Metrics::new().expect("metrics");
    let counts = AlertMetrics::register(&metrics)
        .and_then(|alerts| alerts.notifier("test"))
        .expect("counts");
    let ((rejected, reject), (notified, listen)) = (sync_channel(9), sync_channel(9));
    let scripted = Scripted { reject, notified };
    rejected.send(()).expect("a channel");
    let notifier = start(scripted, context(&store, &counts)).expect("a thread");
    let publish = |alerts: &[AlertState]| {
        store.publish(alerts.to_vec(), &[], NOW);
        wake(&notifier);
    };
    let one = alert("One", Tier::Warning);
    let mut two = alert("Two", Tier::Warning);
    publish(&[one.clone(), two.clone()]);
    let heard = listen.recv_timeout(LONG).expect("a message");
    let pair = |name: &str, tier| (name.to_owned(), tier);
    assert_eq!(
        heard,
        [pair("One", Tier::Warning), pair("Two", Tier::Warning)]
    );
    // It is counted after it has been sent.
    clock::eventually("it to be counted", || counts.up.get() == 1);
    assert_eq!(counts.failed.get(), 1);
    two.change(Tier::Warning, Tier::Critical, NOW + LONG);
    publish(&[one.clone(), two.clone()]);
    let heard = listen.recv_timeout(LONG).expect("a message");
    assert_eq!(heard, [pair("Two", Tier::Critical)]);
    publish(&[one, two]);
    assert_eq!(notifier.stop(clock::now() + LONG), Ok(()));
    assert!(listen.try_recv().is_err(), "nothing is sent twice");
}

/// Passes on when something was sent.
struct Timed(SyncSender<(Instant, usize)>);

impl Channel for Timed {
    fn send(&mut self, changes: &[Change], _now: Duration) -> Result<(), NotifyFailure> {
        let notified = (clock::now(), changes.len());
        self.0.send(notified).expect("a listener");
        Ok(())
    }
}

#[test]
fn a_storm_of_changes_is_grouped_into_few_messages() {
    let store = Arc::new(store(&PersistedState::default(), Vec::new()));
    let metrics = Metrics::new().expect("metrics");
    let counts = AlertMetrics::register(&metrics)
        .and_then(|alerts| alerts.notifier("test"))
        .expect("counts");
    let (notified, listen) = sync_channel(1000);
    let notifier = start(Timed(notified), context(&store, &counts)).expect("a thread");
    let mut alerts = Vec::new();
    let mut heard: Vec<(Instant, usize)> = Vec::new();
    // One alert after the other, until two messages have been sent.
    while heard.len() < 2 {
        alerts.push(alert(&format!("R{}", alerts.len()), Tier::Warning));
        store.publish(alerts.clone(), &[], NOW);
        wake(&notifier);
        heard.extend(listen.recv_timeout(Duration::from_millis(20)));
    }
    assert_eq!(notifier.stop(clock::now() + LONG), Ok(()));
    heard.extend(listen.try_iter());
    let sum: usize = heard.iter().map(|(_, changes)| changes).sum();
    assert_eq!(sum, alerts.len(), "each once");
    let (first, second) = (heard[0].0, heard[1].0);
    assert!(second.saturating_duration_since(first) >= GAP);
}
