use std::time::Duration;

use super::*;
use crate::pacer::TestPhase;
use crate::request::Outcome;
use crate::stats::{CacheStatus, Destination, Sample, StatsRecorder};

fn stats() -> RunStats {
    let recorder = StatsRecorder::new(Duration::from_secs(1));
    for ms in 1..=1000_u64 {
        for (name, offset) in [("chat", 10), ("direct", 0)] {
            recorder.record(
                &Sample {
                    name: name.into(),
                    destination: match name {
                        "chat" => Destination::Target,
                        _ => Destination::Direct,
                    },
                    due: Duration::ZERO,
                    sent: Duration::ZERO,
                    first_event: Some(Duration::from_millis(5)),
                    last_event: Some(Duration::from_millis(5)),
                    done: Duration::from_millis(ms + offset),
                    stream_events: 0,
                    outcome: if ms % 200 == 0 && name == "chat" {
                        Outcome::Error
                    } else {
                        Outcome::Success
                    },
                    status: Some(200),
                    cache: CacheStatus::NoHit,
                    error: None,
                },
                TestPhase::Measured,
            );
        }
    }
    recorder.snapshot()
}

#[test]
fn thresholds_pass_or_fail() {
    let totals = RunTotals {
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
        ("unknown:p99<2s", false),
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
        let result = Slo::parse(text).expect(text).evaluate(&stats(), &totals);
        assert_eq!(result.ok, ok, "{result:?}");
    }
}

#[test]
fn errors_and_unsent_requests_have_default_thresholds() {
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
fn percentiles_of_few_requests_have_a_note() {
    let result = |text: &str| {
        Slo::parse(text)
            .expect("one")
            .evaluate(&stats(), &RunTotals::default())
    };
    assert_eq!(result("p99<2s").note, None);
    assert!(result("p999<2s").note.expect("a note").contains("10000"));
    assert!(
        result("unknown:p50<2s")
            .note
            .expect("a note")
            .contains("no requests")
    );
}

#[test]
fn invalid_thresholds_are_rejected_with_examples() {
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
        let error = Slo::parse(text).expect_err(text).to_string();
        assert!(error.contains("examples: p99<800ms"), "{error}");
    }
}
