use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::super::board::Board;
use super::super::fixture::{NOW, rule, standing};
use super::super::identity::Identity;
use super::super::per::Per;
use super::super::standing::Standing;
use super::super::state::State as Kept;
use super::kind::Settings;
use super::*;
use crate::alert::metrics::AlertMetrics;
use crate::metrics::Metrics;
use crate::worker::Worker;

const LONG: Duration = Duration::from_secs(60);

fn links() -> Links {
    Links {
        console: "http://127.0.0.1:8081".into(),
    }
}

fn change(name: &str, told: Tier, tier: Tier) -> Change {
    let mut standing = standing(name, Tier::Warning);
    if tier != Tier::Warning {
        standing.change(Tier::Warning, tier, NOW + LONG);
    }
    Change { told, standing }
}

#[test]
fn feishus_signature_has_the_secret_in_its_key() {
    // Computed with Python's hmac: base64(hmac_sha256(key="1599360473\ndemo", msg="")).
    assert_eq!(
        feishu::sign("1599360473", "demo"),
        "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="
    );
}

#[test]
fn an_answer_of_feishus_is_what_its_code_says() {
    assert_eq!(
        feishu::judge(br#"{"code":0,"msg":"success","data":{}}"#),
        Ok(())
    );
    assert_eq!(
        feishu::judge(br#"{"StatusCode":0,"StatusMessage":"success"}"#),
        Ok(())
    );
    let of = |answer: &[u8]| feishu::judge(answer).expect_err("not taken");
    assert!(matches!(
        of(br#"{"code":11232,"msg":"x"}"#),
        Failure::NotNow(_, Some(_))
    ));
    let refused = of(br#"{"code":19021,"msg":"sign match fail"}"#);
    assert!(matches!(&refused, Failure::Refused(why) if why.contains("19021: sign match fail")));
    for answer in [&b""[..], b"{}", b"<html>", b"[]"] {
        assert!(matches!(of(answer), Failure::Refused(_)));
    }
}

fn feishu() -> feishu::Feishu {
    feishu::Feishu {
        target: post::Target::new("http://127.0.0.1:1", None),
        secret: Some("s3cret".to_owned()),
        links: links(),
    }
}

#[test]
fn a_card_has_the_colour_of_the_worst_and_all_that_people_need() {
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
fn a_storm_is_one_message_within_feishus_bound_and_no_text_of_it_is_markdown() {
    let changes: Vec<Change> = (0..500)
        .map(|place| {
            let value = format!(
                "[x](http://evil.example)<at id=all></at>*{place}{}",
                "é".repeat(300)
            );
            let mut standing = Standing::new(
                rule("R", Some(Per::Model)),
                Some(value.into()),
                Arc::default(),
                NOW,
            );
            standing.change(Tier::None, Tier::Warning, NOW);
            Change {
                told: Tier::None,
                standing,
            }
        })
        .collect();
    let text = feishu().message(&changes, NOW).to_string();
    assert!(text.len() < 20_000, "{}", text.len());
    assert!(text.contains("480 more"));
    assert!(!text.contains("<at") && !text.contains("[x]("), "{text}");
}

#[test]
fn a_webhook_closes_what_it_opened() {
    let body = |told, tier| webhook::body(&[change("ErrorRate", told, tier)], &links(), NOW + LONG);
    let told = |body: &serde_json::Value| {
        let alerts = body["alerts"].as_array().expect("alerts").iter();
        let told = alerts.map(|alert| {
            let of = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
            (of(&alert["status"]), of(&alert["labels"]["severity"]))
        });
        told.collect::<Vec<_>>()
    };
    let pair = |status: &str, severity: &str| (status.to_owned(), severity.to_owned());
    let mut here = change("ErrorRate", Tier::None, Tier::Warning);
    let labels = [("team".to_owned(), "x".to_owned())];
    here.standing.identity = Arc::new(Identity::new(&labels.into(), "a:1"));
    let named = webhook::body(std::slice::from_ref(&here), &links(), NOW);
    assert_eq!(
        named["commonLabels"],
        serde_json::json!({"alertname": "ErrorRate", "instance": "a:1", "severity": "warning", "team": "x"})
    );
    let card = feishu().message(&[here], NOW).to_string();
    assert!(card.contains("Instance 实例: a:1 (team=x)"), "{card}");
    let raised = body(Tier::None, Tier::Warning);
    assert_eq!(told(&raised), [pair("firing", "warning")]);
    assert_eq!(raised["status"], "firing");
    assert_eq!(raised["version"], "4");
    assert_eq!(raised["commonLabels"]["alertname"], "ErrorRate");
    assert_eq!(raised["alerts"][0]["startsAt"], "2026-11-22T08:00:00Z");
    assert_eq!(raised["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    // As Prometheus' model.LabelSet{alertname="ErrorRate", severity="warning"}.Fingerprint().
    assert_eq!(raised["alerts"][0]["fingerprint"], "f77560c107f93ddb");
    let worse = body(Tier::Warning, Tier::Critical);
    assert_eq!(
        told(&worse),
        [pair("resolved", "warning"), pair("firing", "critical")]
    );
    let over = body(Tier::Critical, Tier::None);
    assert_eq!(told(&over), [pair("resolved", "critical")]);
    assert_eq!(over["status"], "resolved");
    assert_eq!(over["alerts"][0]["endsAt"], "2026-11-22T08:01:00Z");
}

#[test]
fn waits_grow_to_a_bound_and_come_apart() {
    let again = |after| Failure::NotNow(String::new(), after);
    for failures in 1..100 {
        let wait = again(None).wait(failures);
        assert!(wait >= BACKOFF && wait <= BACKOFF_MAX * 5 / 4, "{wait:?}");
    }
    assert!(again(None).wait(9) >= BACKOFF_MAX);
    assert!(again(Some(LONG * 60)).wait(1) <= BACKOFF_MAX * 5 / 4);
}

fn board(state: &Kept, standings: Vec<Standing>) -> Board {
    Board::new(
        state,
        standings,
        vec!["test".to_owned()],
        None,
        (Arc::default(), NOW),
    )
}

#[test]
fn whoever_was_told_of_an_alert_is_told_of_its_end_also_when_nobody_watches_it_any_more() {
    let board = board(&Kept::default(), vec![standing("Gone", Tier::Critical)]);
    let key = board.standings()[0].key.clone();
    board.note_told("test", std::iter::once((&key, Tier::Critical)));
    // The rule was taken out; its end is forgotten by the engine after a while.
    board.publish(Vec::new(), &[], NOW + LONG * 20);
    let changes = board.changes("test", NOW + LONG * 20);
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (changes[0].told, changes[0].standing.tier),
        (Tier::Critical, Tier::None)
    );
    assert!(summary(&changes[0]).contains("no longer watched"));
    board.note_told("test", std::iter::once((&key, Tier::None)));
    board.publish(Vec::new(), &[], NOW + LONG * 21);
    assert!(board.standings().is_empty());
}

#[test]
fn a_silence_on_a_severity_holds_until_the_end_is_told() {
    let mut over = standing("ErrorRate", Tier::Critical);
    over.change(Tier::Critical, Tier::None, NOW + LONG);
    over.forget_end(NOW + LONG * 60);
    let board = board(&Kept::default(), vec![over.clone()]);
    board.note_told("test", std::iter::once((&over.key, Tier::Critical)));
    let wish = r#"{"matchers":[{"name":"severity","value":"critical"}],"duration":"2h"}"#;
    let wish: super::super::silence::Wish = serde_json::from_str(wish).expect("a wish");
    let silence = wish.check("1".to_owned(), super::super::board::timestamp(NOW + LONG));
    board.silence(silence.expect("a silence"));
    assert!(board.changes("test", NOW + LONG * 61).is_empty());
    assert_eq!(board.changes("test", NOW + LONG * 130).len(), 1);
}

fn alertmanager(name: &str) -> alertmanager::Alertmanager {
    alertmanager::Alertmanager {
        name: name.to_owned(),
        target: post::Target::new("http://127.0.0.1:1", None),
        links: links(),
    }
}

/// Severity, start and end of each alert, in the order in which they are sent.
fn sent(standing: &Standing, now: Duration) -> Vec<(String, String, String)> {
    let board = board(&Kept::default(), vec![standing.clone()]);
    let alerts = alertmanager("test").alerts(&board, now).into_iter();
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
fn no_alert_begins_in_the_future_or_ends_before_it_began() {
    // Raised by a clock that was an hour ahead, and has been set right.
    let hour = Duration::from_secs(3600);
    let mut raised = standing("ErrorRate", Tier::Critical);
    raised.change(Tier::Warning, Tier::Critical, NOW + hour);
    for (severity, starts_at, ends_at) in sent(&raised, NOW - LONG) {
        assert!(starts_at < ends_at, "{severity}: {starts_at} to {ends_at}");
        assert_eq!(starts_at, "2026-11-22T07:59:00Z");
        assert_eq!(ends_at, "2026-11-22T08:03:00Z");
    }
    raised.change(Tier::Critical, Tier::None, NOW + hour);
    for (severity, starts_at, ends_at) in sent(&raised, NOW) {
        assert!(starts_at < ends_at, "{severity}: {starts_at} to {ends_at}");
        assert_eq!(ends_at, "2026-11-22T08:00:00Z", "{severity}: it is over");
    }
}

#[test]
fn a_critical_alert_that_ended_unheard_is_ended_when_a_warning_follows() {
    let mut standing = standing("ErrorRate", Tier::Critical);
    standing.change(Tier::Critical, Tier::None, NOW + LONG);
    standing.change(Tier::None, Tier::Warning, NOW + LONG * 2);
    let sent = sent(&standing, NOW + LONG * 3);
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

fn context(board: &Arc<Board>, counts: &NotifierCounts) -> Context {
    Context {
        worker: Worker::unseen("test"),
        board: board.clone(),
        counts: counts.clone(),
        retry_max: RETRY_MAX,
    }
}

/// Hands on what it is told, or refuses it as long as it is to.
struct Scripted {
    refuse: Receiver<()>,
    told: SyncSender<Vec<(String, Tier)>>,
}

impl Channel for Scripted {
    fn tell(&mut self, changes: &[Change], _now: Duration) -> Result<(), Failure> {
        if self.refuse.try_recv().is_ok() {
            return Err(Failure::NotNow("refused".to_owned(), Some(Duration::ZERO)));
        }
        let told = changes.iter();
        let told = told.map(|change| (change.standing.key.to_string(), change.standing.tier));
        self.told.send(told.collect()).expect("a listener");
        Ok(())
    }
}

#[test]
fn what_is_told_is_how_things_are_and_once() {
    let board = Arc::new(board(&Kept::default(), Vec::new()));
    let metrics = Metrics::new().expect("metrics");
    let counts = AlertMetrics::register(&metrics)
        .and_then(|alerts| alerts.notifier("test"))
        .expect("counts");
    let ((refused, refuse), (told, listen)) = (sync_channel(9), sync_channel(9));
    let scripted = Scripted { refuse, told };
    refused.send(()).expect("a channel");
    let notifier = start(scripted, context(&board, &counts)).expect("a thread");
    let publish = |standings: &[Standing]| {
        board.publish(standings.to_vec(), &[], NOW);
        wake(&notifier);
    };
    let one = standing("One", Tier::Warning);
    let mut two = standing("Two", Tier::Warning);
    publish(&[one.clone(), two.clone()]);
    let heard = listen.recv_timeout(LONG).expect("told");
    let pair = |name: &str, tier| (name.to_owned(), tier);
    assert_eq!(
        heard,
        [pair("One", Tier::Warning), pair("Two", Tier::Warning)]
    );
    // It is counted once it has been told.
    clock::eventually("it to be counted", || counts.up.get() == 1);
    assert_eq!(counts.failed.get(), 1);
    two.change(Tier::Warning, Tier::Critical, NOW + LONG);
    publish(&[one.clone(), two.clone()]);
    let heard = listen.recv_timeout(LONG).expect("told");
    assert_eq!(heard, [pair("Two", Tier::Critical)]);
    publish(&[one, two]);
    assert_eq!(notifier.stop(clock::now() + LONG), Ok(()));
    assert!(listen.try_recv().is_err(), "nothing is told twice");
}

/// Tells when it was told.
struct Timed(SyncSender<(Instant, usize)>);

impl Channel for Timed {
    fn tell(&mut self, changes: &[Change], _now: Duration) -> Result<(), Failure> {
        let told = (clock::now(), changes.len());
        self.0.send(told).expect("a listener");
        Ok(())
    }
}

#[test]
fn a_storm_of_changes_is_few_messages() {
    let board = Arc::new(board(&Kept::default(), Vec::new()));
    let metrics = Metrics::new().expect("metrics");
    let counts = AlertMetrics::register(&metrics)
        .and_then(|alerts| alerts.notifier("test"))
        .expect("counts");
    let (told, listen) = sync_channel(1000);
    let notifier = start(Timed(told), context(&board, &counts)).expect("a thread");
    let mut standings = Vec::new();
    let mut heard: Vec<(Instant, usize)> = Vec::new();
    // Alerts one after the other, for as long as it takes to tell twice.
    while heard.len() < 2 {
        standings.push(standing(&format!("R{}", standings.len()), Tier::Warning));
        board.publish(standings.clone(), &[], NOW);
        wake(&notifier);
        heard.extend(listen.recv_timeout(Duration::from_millis(20)));
    }
    assert_eq!(notifier.stop(clock::now() + LONG), Ok(()));
    heard.extend(listen.try_iter());
    let sum: usize = heard.iter().map(|(_, changes)| changes).sum();
    assert_eq!(sum, standings.len(), "each once");
    let (first, second) = (heard[0].0, heard[1].0);
    assert!(second.saturating_duration_since(first) >= GAP);
}

#[test]
fn every_kind_has_a_name_of_its_own_and_is_nowhere_without_settings() {
    for (place, kind) in ALL.iter().enumerate() {
        assert!(ALL[..place].iter().all(|other| other.key != kind.key));
        assert!(kind.retry_max <= RETRY_MAX, "{}", kind.key);
        let configured = kind.configured(&Settings::default());
        assert_eq!(configured, Ok(Vec::new()), "{}", kind.key);
    }
}
