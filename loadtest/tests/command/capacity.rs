//! The search for a capacity, against an assistant whose capacity is known.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::said;
use crate::server::{Assistant, Manner};

fn capacity(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .arg("capacity")
        .args(arguments)
        .args(["--json", "out.json", "--report", "out.html"])
        .current_dir(folder)
        .output()
        .expect("weir-load starts")
}

/// On a machine with other things to do the sender is late, and a search rightly says that it measured the sender: tried
/// again, some times. `None`: it was so at every time, and nothing is known of the target.
#[expect(clippy::print_stderr, reason = "what was not tested is told")]
fn of_the_target(run: impl Fn() -> Output) -> Option<Output> {
    let limited = "the sender was the bottleneck";
    let mut outputs = (0..TRIES).map(|_| run());
    let found = outputs.find(|output| !said(output).contains(limited));
    if found.is_none() {
        eprintln!("not tested: {limited} in each of {TRIES} tries");
    }
    found
}

const TRIES: usize = 5;

/// Two hundred and twenty questions in a run of 2.2 s: a hundred a second is all that it can do, on any machine. How
/// close to it a busy machine comes is its own matter.
#[test]
fn the_highest_rate_that_holds_is_found_and_confirmed() {
    let folder = tempfile::tempdir().expect("a folder");
    let assistant = Assistant::start(Manner::UpTo(220));
    let target = ["--target", &assistant.url, "--repeats", "0%"];
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
    let Some(output) = of_the_target(|| capacity(&all, folder.path())) else {
        return;
    };
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = std::fs::read_to_string(folder.path().join("out.json")).expect("a report");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    let rate = found["capacity_rps"].as_f64().expect("a rate");
    assert!((15.0..102.0).contains(&rate), "{}", said(&output));
    // Each rate once, in order; those up to the result held, and the others did not.
    let curve = found["curve"].as_array().expect("a curve");
    let rates: Vec<f64> = curve
        .iter()
        .map(|point| point["rate"].as_f64().expect("a rate"))
        .collect();
    assert!(rates.is_sorted_by(|one, other| one < other), "{rates:?}");
    for point in curve {
        let is_within = point["rate"].as_f64() <= Some(rate);
        assert_eq!(point["held"], is_within, "{curve:#?}");
        let why = point["why"].as_array().expect("reasons");
        assert_eq!(why.is_empty(), is_within, "{curve:#?}");
    }
    let of = |name: &str| {
        curve
            .iter()
            .filter_map(|point| point[name].as_u64())
            .sum::<u64>()
    };
    assert!(
        of("runs") as usize > curve.len(),
        "what failed was tried again: {curve:#?}"
    );
    let beyond = curve
        .iter()
        .filter(|point| point["rate"].as_f64() >= Some(102.0));
    for point in beyond {
        let why = point["why"].to_string();
        let is_so = ["error_rate<1% is", "unsent<1% is"].map(|why_not| why.contains(why_not));
        assert!(is_so.contains(&true), "{point:#}");
    }
    let wanted = (500.0 / (rate * 0.8)).ceil();
    assert_eq!(found["replicas"][0]["count"].as_f64(), Some(wanted));
    let bound = match found["limited_by"] == "objectives" {
        true => "",
        false => "at most ",
    };
    let told = said(&output);
    assert!(
        told.contains(&format!("500.0/s want {bound}{wanted:.0} replicas")),
        "{told}"
    );
    let html = std::fs::read_to_string(folder.path().join("out.html")).expect("a report");
    assert!(html.contains("Latency by rate") && html.contains("Replicas for 500/s"));
}

#[test]
fn a_target_that_holds_at_no_rate_or_cannot_be_asked_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let Assistant { url, .. } = Assistant::start(Manner::OneAtATime(Duration::from_millis(10)));
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
        folder.path(),
    );
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("they hold at no rate that was tried"));
    // Refusals are fast, and no capacity.
    let refusing = Assistant::start(Manner::Refusing);
    let output = capacity(
        &[&["--target", &refusing.url, "--slo", "p99<1h"][..], &short].concat(),
        folder.path(),
    );
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("error_rate<1% is 100.000 %"));
    for (arguments, why) in [
        (
            &["--target", "http://127.0.0.1:1", "--slo", "p99<1s"][..],
            "nobody answers",
        ),
        (&["--target", &url], "--slo"),
        (
            &["--target", &url, "--slo", "p99<1s", "--scenario", "abuse"],
            "needs --config",
        ),
    ] {
        let output = capacity(arguments, folder.path());
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(why), "{}", said(&output));
    }
}

/// An assistant takes its time; as long as it keeps up, that alone is no reason to call a rate too high.
#[test]
fn a_slow_assistant_keeps_up_as_well_as_a_fast_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let slow = Assistant::start(Manner::Slow(Duration::from_millis(700)));
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
    let ask = |url: &str| {
        let target = ["--target", url, "--slo", "error_rate<1%"];
        capacity(&[&target[..], &one_rate].concat(), folder.path())
    };
    // A machine that is later in the second half than in the first looks as if the assistant were.
    let mut outputs = (0..TRIES).map(|_| ask(&slow.url));
    let Some(output) = outputs.find(|output| output.status.code() == Some(0)) else {
        let last = said(&ask(&slow.url));
        assert!(last.contains("the sender was the bottleneck"), "{last}");
        return;
    };
    assert!(
        said(&output).contains("no higher rate was tried"),
        "{}",
        said(&output)
    );
    // It held at the highest rate that was tried, and may do more.
    assert!(
        said(&output).contains("capacity: at least 30.0/s")
            && said(&output).contains("300.0/s want at most 13 replicas"),
        "{}",
        said(&output)
    );
    // Half of what comes, so that answers only pile up, which no error tells.
    let piling = Assistant::start(Manner::OneAtATime(Duration::from_millis(66)));
    let output = ask(&piling.url);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("in its second half"),
        "{}",
        said(&output)
    );
}

#[test]
fn an_interrupted_search_ends_its_run_and_tells_its_curve() {
    let folder = tempfile::tempdir().expect("a folder");
    let Assistant { url, .. } = Assistant::start(Manner::AtOnce);
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
        .current_dir(folder.path())
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
    // The pipe is at its end: nobody whom the search has started has it any more.
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).expect("the end");
    assert!(rest.contains("the search was interrupted"), "{rest}");
    let text = std::fs::read_to_string(folder.path().join("out.json")).expect("a report");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&found["verdict"], &found["capacity_rps"]),
        (&"fail".into(), &Value::Null)
    );
    assert_eq!(found["curve"][0]["rate"], 5.0);
    // Whoever asked last was ended, too: nobody is left who asks.
    let pattern = format!("run --target {url}");
    let left = Command::new("pgrep").args(["-f", &pattern]).status();
    assert_eq!(left.expect("pgrep").code(), Some(1), "a run goes on");
}
