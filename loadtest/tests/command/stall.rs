//! A stall is seen by all who had to wait for it.
//!
//! What cannot be otherwise is held exactly: nobody whose request was due within the stall has its answer before the
//! stall's end. How much later than that an answer is seen is the machine's: how late it is at that time is measured
//! by the same run, with the requests that were not due within the stall.

use std::time::Duration;

use serde_json::Value;

use super::{json, said, weir_load};
use crate::server::{Assistant, Manner};

const FROM_S: f64 = 10.0;
const LENGTH_S: f64 = 2.0;
/// Requests and their distance.
const COUNT: u32 = 6000;
const APART_MS: f64 = 5.0;

/// 200 requests a second for 30 s, against an assistant that stalls for 2 s after 10; and, in
/// milliseconds, what a perfect sender would see of it: whatever was due within the stall waits for its end.
struct Stalled {
    report: Value,
    said: String,
    waits: Vec<f64>,
}

fn stalled(more: &[&str]) -> Stalled {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, length) = (
        Duration::from_secs_f64(FROM_S),
        Duration::from_secs_f64(LENGTH_S),
    );
    let assistant = Assistant::start(Manner::Stall { from, length });
    let arguments = [
        "run",
        "--target",
        &assistant.url,
        "--rate",
        "200/s",
        "--duration",
        "30s",
        "--slo",
        "p99<800ms",
        "--json",
        "out.json",
    ];
    let output = weir_load(&[&arguments[..], more].concat(), folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let end_ms = (FROM_S + LENGTH_S) * 1000.0;
    let mut waits: Vec<f64> = (0..COUNT)
        .map(|number| f64::from(number) * APART_MS)
        .map(|due_ms| match (FROM_S * 1000.0..end_ms).contains(&due_ms) {
            true => end_ms - due_ms,
            false => 0.0,
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    Stalled {
        report: json(folder.path()),
        said: said(&output),
        waits,
    }
}

impl Stalled {
    fn figure(&self, pointer: &str) -> f64 {
        let found = self.report.pointer(pointer).and_then(Value::as_f64);
        found.unwrap_or_else(|| panic!("no {pointer}: {}", self.said))
    }

    /// How late the machine is without any stall, at its worst: some two seconds after its end all is as before.
    fn lag_ms(&self) -> f64 {
        let parts = self.report["timeline"].as_array().expect("a timeline");
        let calm = parts.iter().filter(|part| {
            let at_s = part["at_s"].as_f64().expect("a time");
            !(FROM_S - 1.0..=FROM_S + LENGTH_S + 2.0).contains(&at_s)
        });
        let worst = calm.map(|part| part["max_ms"].as_f64().expect("a time"));
        worst.fold(0.0, f64::max)
    }

    fn assert_truth(&self) {
        assert_eq!(
            (&self.report["requests"], &self.report["unsent"]),
            (&COUNT.into(), &0.into())
        );
        assert!(self.said.contains("FAIL p99<800ms is"), "{}", self.said);
        let lag_ms = self.lag_ms();
        for (figure, truth) in [("p99", self.waits[5939]), ("max", self.waits[5999])] {
            let found = self.figure(&format!("/latency_ms/{figure}"));
            // The first request, with which the stall's time begins, is sent a little after it is due.
            assert!(found >= truth * 0.99, "{figure}: {found} for {truth}");
            let late = truth * 1.05 + 10.0 * lag_ms;
            assert!(
                found <= late,
                "{figure}: {found} for {truth}, on a machine that is up to {lag_ms} ms late"
            );
        }
    }
}

#[test]
fn a_stall_is_seen_by_all_who_had_to_wait() {
    stalled(&[]).assert_truth();
}

/// With few users what is due waits for one of them, and its waiting counts; a tester that waits for its
/// answers before it asks again, and counts from when it sent, sees hardly anything of the stall.
#[test]
fn few_users_see_a_stall_as_many_do_and_a_closed_loop_a_tenth_of_it() {
    let stalled = stalled(&["--users", "20"]);
    stalled.assert_truth();
    let closed = stalled.figure("/service_ms/p99");
    let most = stalled.waits[5939] / 10.0 + stalled.lag_ms();
    assert!(closed <= most, "{closed}");
    assert!(
        stalled
            .said
            .contains("all 20 users were waiting for answers when"),
        "{}",
        stalled.said
    );
}
