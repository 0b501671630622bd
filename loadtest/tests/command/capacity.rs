//! The capacity search, against a server with a known capacity.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::output_text;
use crate::server::{Behaviour, TestServer};

fn capacity(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .arg("capacity")
        .args(arguments)
        .args(["--json", "out.json", "--report", "out.html"])
        .current_dir(directory)
        .output()
        .expect("weir-load starts")
}

/// On a busy machine the load generator is the bottleneck, and a search rightly reports that. Such a search is repeated;
/// `None` if every attempt was limited by the load generator.
#[expect(clippy::print_stderr, reason = "an untested case is reported")]
fn limited_by_target(run: impl Fn() -> Output) -> Option<Output> {
    let limited = "the load generator was the bottleneck";
    let mut outputs = (0..ATTEMPTS).map(|_| run());
    let found = outputs.find(|output| !output_text(output).contains(limited));
    if found.is_none() {
        eprintln!("not tested: {limited} in each of {ATTEMPTS} attempts");
    }
    found
}

const ATTEMPTS: usize = 5;

/// 220 prompts in a run of 2.2 s: the capacity is 100 per second on any machine. A busy machine may find less.
#[test]
fn the_highest_rate_that_passes_is_found_and_confirmed() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = TestServer::start(Behaviour::FirstRequests(220));
    let target = ["--target", &server.url, "--repeats", "0%"];
    let asked = ["--slo", "error_rate<1%", "--from", "15/s", "--to", "400/s"];
    let runs = [
        "--duration",
        "2s",
        "--warm-up",
        "200ms",
        "--precision",
        "25%",
    ];
    let result = ["--confirmations", "1", "--replicas-for", "500/s"];
    let all = [&target[..], &asked, &runs, &result].concat();
    let Some(output) = limited_by_target(|| capacity(&all, directory.path())) else {
        return;
    };
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    let text = std::fs::read_to_string(directory.path().join("out.json")).expect("a report");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    let rate = found["capacity_rps"].as_f64().expect("a rate");
    assert!((15.0..102.0).contains(&rate), "{}", output_text(&output));
    // Each rate once, sorted; those up to the result passed, the others failed.
    let curve = found["curve"].as_array().expect("a curve");
    let rates: Vec<f64> = curve
        .iter()
        .map(|point| point["rate"].as_f64().expect("a rate"))
        .collect();
    assert!(rates.is_sorted_by(|one, other| one < other), "{rates:?}");
    for point in curve {
        let is_within = point["rate"].as_f64() <= Some(rate);
        assert_eq!(point["held"], is_within, "{curve:#?}");
        let reason = point["why"].as_array().expect("reasons");
        assert_eq!(reason.is_empty(), is_within, "{curve:#?}");
    }
    let of = |name: &str| {
        curve
            .iter()
            .filter_map(|point| point[name].as_u64())
            .sum::<u64>()
    };
    assert!(
        of("runs") as usize > curve.len(),
        "failed rates are repeated: {curve:#?}"
    );
    let beyond = curve
        .iter()
        .filter(|point| point["rate"].as_f64() >= Some(102.0));
    for point in beyond {
        let reason = point["why"].to_string();
        let is_so = ["error_rate<1% is", "unsent<1% is"].map(|why_not| reason.contains(why_not));
        assert!(is_so.contains(&true), "{point:#}");
    }
    let needed = (500.0 / (rate * 0.8)).ceil();
    assert_eq!(found["replicas"][0]["count"].as_f64(), Some(needed));
    let bound = match found["limited_by"] == "objectives" {
        true => "",
        false => "at most ",
    };
    let text = output_text(&output);
    assert!(
        text.contains(&format!("500.0/s needs {bound}{needed:.0} replicas")),
        "{text}"
    );
    let html = std::fs::read_to_string(directory.path().join("out.html")).expect("a report");
    assert!(html.contains("Latency by rate") && html.contains("Replicas for 500/s"));
}

#[test]
fn a_target_that_passes_at_no_rate_has_no_capacity() {
    let directory = tempfile::tempdir().expect("a directory");
    let TestServer { url, .. } = TestServer::start(Behaviour::Serial(Duration::from_millis(10)));
    let short = [
        "--from",
        "5/s",
        "--to",
        "5/s",
        "--duration",
        "1s",
        "--warm-up",
        "0s",
    ];
    let output = capacity(
        &[&["--target", &url, "--slo", "p50<1ms"][..], &short].concat(),
        directory.path(),
    );
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(output_text(&output).contains("no rate passes"));
    // Fast errors are no capacity.
    let unavailable = TestServer::start(Behaviour::Unavailable);
    let output = capacity(
        &[
            &["--target", &unavailable.url, "--slo", "p99<1h"][..],
            &short,
        ]
        .concat(),
        directory.path(),
    );
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(output_text(&output).contains("error_rate<1% is 100.000 %"));
    for (arguments, reason) in [
        (
            &["--target", "http://127.0.0.1:1", "--slo", "p99<1s"][..],
            "cannot connect to",
        ),
        (&["--target", &url], "--slo"),
        (
            &["--target", &url, "--slo", "p99<1s", "--scenario", "abuse"],
            "needs --config",
        ),
    ] {
        let output = capacity(arguments, directory.path());
        assert_eq!(output.status.code(), Some(2), "{}", output_text(&output));
        assert!(
            output_text(&output).contains(reason),
            "{}",
            output_text(&output)
        );
    }
}

/// A constant latency does not make a rate too high, as long as the target keeps up.
#[test]
fn a_slow_target_keeps_up_as_well_as_a_fast_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let slow = TestServer::start(Behaviour::Slow(Duration::from_millis(700)));
    let one_rate = [
        "--from",
        "30/s",
        "--to",
        "30/s",
        "--duration",
        "4s",
        "--warm-up",
        "0s",
        "--confirmations",
        "0",
        "--replicas-for",
        "300/s",
    ];
    let search = |url: &str| {
        let target = ["--target", url, "--slo", "error_rate<1%"];
        capacity(&[&target[..], &one_rate].concat(), directory.path())
    };
    // On a machine that is slower in the second half of a run, the target seems to be.
    let mut outputs = (0..ATTEMPTS).map(|_| search(&slow.url));
    let Some(output) = outputs.find(|output| output.status.code() == Some(0)) else {
        let last = output_text(&search(&slow.url));
        assert!(
            last.contains("the load generator was the bottleneck"),
            "{last}"
        );
        return;
    };
    assert!(
        output_text(&output).contains("no higher rate was tried"),
        "{}",
        output_text(&output)
    );
    // It passed at the highest rate that was tried, and may sustain more.
    assert!(
        output_text(&output).contains("capacity: at least 30.0/s")
            && output_text(&output).contains("300.0/s needs at most 13 replicas"),
        "{}",
        output_text(&output)
    );
    // Half the arrival rate: requests queue up without any error.
    let overloaded = TestServer::start(Behaviour::Serial(Duration::from_millis(66)));
    let output = search(&overloaded.url);
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(
        output_text(&output).contains("in its second half"),
        "{}",
        output_text(&output)
    );
}

#[test]
fn an_interrupted_search_stops_its_run_and_reports_its_curve() {
    let directory = tempfile::tempdir().expect("a directory");
    let TestServer { url, .. } = TestServer::start(Behaviour::Immediate);
    let mut search = Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .args([
            "capacity",
            "--target",
            &url,
            "--slo",
            "p99<1h",
            "--duration",
            "1s",
            "--warm-up",
            "0s",
        ])
        .args(["--from", "5/s", "--to", "5000/s", "--json", "out.json"])
        .current_dir(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("weir-load starts");
    let mut stderr = BufReader::new(search.stderr.take().expect("a pipe"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line");
    assert!(line.starts_with("5.0/s: p99"), "{line}");
    let signal = Command::new("kill")
        .args(["-TERM", &search.id().to_string()])
        .status();
    assert!(signal.expect("kill").success());
    let output = search.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(2));
    // The end of the pipe: no process started by the search has it open.
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).expect("the end");
    assert!(rest.contains("the search was interrupted"), "{rest}");
    let text = std::fs::read_to_string(directory.path().join("out.json")).expect("a report");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&found["verdict"], &found["capacity_rps"]),
        (&"fail".into(), &Value::Null)
    );
    assert_eq!(found["curve"][0]["rate"], 5.0);
    // The last run was stopped as well.
    let pattern = format!("run --target {url}");
    let left = Command::new("pgrep").args(["-f", &pattern]).status();
    assert_eq!(
        left.expect("pgrep").code(),
        Some(1),
        "a run is still active"
    );
}
