use std::time::Duration;

use super::*;
use crate::pacer::Counts;
use crate::request::Judged;
use crate::stats::{Cache, Measured, Tallies, Towards};

fn tally() -> Tally {
    let tallies = Tallies::new(Duration::from_secs(1));
    for ms in 1..=1000_u64 {
        for (name, offset) in [("chat", 10), ("direct", 0)] {
            tallies.record(
                &Measured {
                    name: name.into(),
                    towards: match name {
                        "chat" => Towards::Target,
                        _ => Towards::Direct,
                    },
                    due: Duration::ZERO,
                    sent: Duration::ZERO,
                    first: Some(Duration::from_millis(5)),
                    last: Some(Duration::from_millis(5)),
                    done: Duration::from_millis(ms + offset),
                    pieces: 0,
                    judged: if ms % 200 == 0 && name == "chat" {
                        Judged::Error
                    } else {
                        Judged::Success
                    },
                    status: Some(200),
                    cache: Cache::NoHit,
                    error: None,
                },
                Counts::InTheTest,
            );
        }
    }
    tallies.sum()
}

#[test]
fn objectives_are_held_or_not() {
    let achieved = Achieved {
        seconds: 20.8,
        unsent: 20,
    };
    for (text, ok) in [
        ("p99<1010ms", true),
        ("p99<800ms", false),
        ("p50<=520ms", true),
        ("mean<520ms", true),
        ("max<1s", false),
        ("error_rate<0.5%", false),
        ("error_rate<=0.5%", true),
        ("chat:p99<2s", true),
        ("nobody:p99<2s", false),
        ("added_p99<15ms", true),
        ("added_p99<5ms", false),
        ("first_token_p95<6ms", true),
        ("rps>=45", true),
        ("rps>=50/s", false),
        ("unsent<21", true),
        ("unsent<1%", false),
        ("direct:p50<=501ms", true),
        ("chat:rps>=51", false),
    ] {
        let held = Slo::parse(text).expect(text).judge(&tally(), &achieved);
        assert_eq!(held.ok, ok, "{held:?}");
    }
}

#[test]
fn what_nobody_asked_for_has_to_hold_all_the_same() {
    let implied = |given: &[&str]| -> Vec<String> {
        let given: Vec<_> = given
            .iter()
            .map(|text| Slo::parse(text).expect(text))
            .collect();
        Slo::implied(&given)
            .into_iter()
            .map(|slo| slo.text)
            .collect()
    };
    assert_eq!(implied(&["p99<1s"]), ["error_rate<1%", "unsent<1%"]);
    assert_eq!(implied(&["chat:error_rate<50%", "unsent<9"]), [""; 0]);
}

#[test]
fn few_requests_are_said_to_be_few() {
    let held = |text: &str| {
        Slo::parse(text)
            .expect("one")
            .judge(&tally(), &Achieved::default())
    };
    assert_eq!(held("p99<2s").note, None);
    assert!(held("p999<2s").note.expect("a note").contains("10000"));
    assert!(
        held("nobody:p50<2s")
            .note
            .expect("a note")
            .contains("no request")
    );
}

#[test]
fn what_is_no_objective_is_told_with_an_example() {
    for text in [
        "",
        "p99",
        "p99=1s",
        "p9<1s",
        "p99<1",
        "error_rate<1",
        "rps<fast",
        "latency<1s",
        "p00<1s",
        "rps>=nan",
        "unsent<inf",
        "chat:unsent<1",
        "a\u{1b}[31m:p99<1s",
    ] {
        let why = Slo::parse(text).expect_err(text);
        assert!(why.contains("such as p99<800ms"), "{why}");
    }
}
