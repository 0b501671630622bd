//! A stall of the target affects every request that had to wait for it: no coordinated omission.
//!
//! The lower bound is exact: no request that was due during the stall has its response before the end of the stall. The
//! upper bound depends on the machine: its delay is measured in the same run, with the requests that were not due during
//! the stall.

use std::time::Duration;

use serde_json::Value;

use super::{json, output_text, weir_load};
use crate::server::{Behaviour, TestServer};

const FROM_S: f64 = 10.0;
const LENGTH_S: f64 = 2.0;
/// The number of requests and the time between them.
const COUNT: u32 = 6000;
const APART_MS: f64 = 5.0;

/// A run with 200 requests per second for 30 s, against a server that stalls for 2 s after 10 s; and the waiting times in
/// milliseconds of a perfect load generator: requests that are due during the stall wait for its end.
struct StalledRun {
    report: Value,
    output: String,
    waits: Vec<f64>,
}

fn stalled(more: &[&str]) -> StalledRun {
    let directory = tempfile::tempdir().expect("a directory");
    let (from, length) = (
        Duration::from_secs_f64(FROM_S),
        Duration::from_secs_f64(LENGTH_S),
    );
    let server = TestServer::start(Behaviour::Stall { from, length });
    let arguments = [
        "run",
        "--target",
        &server.url,
        "--rate",
        "200/s",
        "--duration",
        "30s",
        "--slo",
        "p99<800ms",
        "--json",
        "out.json",
    ];
    let output = weir_load(&[&arguments[..], more].concat(), directory.path());
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    let end_ms = (FROM_S + LENGTH_S) * 1000.0;
    let mut waits: Vec<f64> = (0..COUNT)
        .map(|number| f64::from(number) * APART_MS)
        .map(|due_ms| match (FROM_S * 1000.0..end_ms).contains(&due_ms) {
            true => end_ms - due_ms,
            false => 0.0,
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    StalledRun {
        report: json(directory.path()),
        output: output_text(&output),
        waits,
    }
}

impl StalledRun {
    fn value(&self, pointer: &str) -> f64 {
        let found = self.report.pointer(pointer).and_then(Value::as_f64);
        found.unwrap_or_else(|| panic!("no {pointer}: {}", self.output))
    }

    /// The largest delay of the machine outside the stall and the two seconds after it.
    fn lag_ms(&self) -> f64 {
        let intervals = self.report["timeline"].as_array().expect("a timeline");
        let calm = intervals.iter().filter(|interval| {
            let at_s = interval["at_s"].as_f64().expect("a time");
            !(FROM_S - 1.0..=FROM_S + LENGTH_S + 2.0).contains(&at_s)
        });
        let worst = calm.map(|interval| interval["max_ms"].as_f64().expect("a time"));
        worst.fold(0.0, f64::max)
    }

    fn assert_latencies(&self) {
        assert_eq!(
            (&self.report["requests"], &self.report["unsent"]),
            (&COUNT.into(), &0.into())
        );
        assert!(self.output.contains("FAIL p99<800ms is"), "{}", self.output);
        let lag_ms = self.lag_ms();
        for (name, expected) in [("p99", self.waits[5939]), ("max", self.waits[5999])] {
            let found = self.value(&format!("/latency_ms/{name}"));
            // The stall is timed from the first request, which is sent slightly after it is due.
            assert!(found >= expected * 0.99, "{name}: {found} for {expected}");
            let late = expected * 1.05 + 10.0 * lag_ms;
            assert!(
                found <= late,
                "{name}: {found} for {expected}, on a machine with a delay of up to {lag_ms} ms"
            );
        }
    }
}

#[test]
fn a_stall_affects_every_request_that_had_to_wait() {
    stalled(&[]).assert_latencies();
}

/// With few users, requests wait for a free user, and the waiting time counts. A closed-model load generator, which
/// waits for responses and measures from when it sent, hardly notices the stall.
#[test]
fn a_stall_affects_few_users_equally_and_a_closed_model_hardly() {
    let stalled = stalled(&["--users", "20"]);
    stalled.assert_latencies();
    let closed = stalled.value("/service_ms/p99");
    let most = stalled.waits[5939] / 10.0 + stalled.lag_ms();
    assert!(closed <= most, "{closed}");
    assert!(
        stalled
            .output
            .contains("all 20 users were waiting for responses when"),
        "{}",
        stalled.output
    );
}
