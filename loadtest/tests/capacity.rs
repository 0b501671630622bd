//! The search for a capacity, against an assistant whose capacity is known.

#![expect(
    clippy::expect_used,
    reason = "these are tests: what is missing ends them with a message"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// Takes one request after the other, each for so long.
fn one_at_a_time(each: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let turn: Arc<Mutex<()>> = Arc::default();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let turn = turn.clone();
            std::thread::spawn(move || serve(stream, &turn, each));
        }
    });
    url
}

fn serve(stream: TcpStream, turn: &Mutex<()>, each: Duration) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        {
            let _mine = turn.lock().ok()?;
            // Not a wait for something: this is how long its work takes.
            std::thread::park_timeout(each);
        }
        writer
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            .ok()?;
    }
}

fn capacity(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .arg("capacity")
        .args(arguments)
        .args(["--json", "out.json", "--report", "out.html"])
        .current_dir(folder)
        .output()
        .expect("weir-load starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_highest_rate_that_holds_is_found_and_confirmed() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = one_at_a_time(Duration::from_millis(10));
    let output = capacity(
        &[
            "--target",
            &url,
            "--slo",
            "p99<300ms",
            "--slo",
            "error_rate<1%",
            "--from",
            "15/s",
            "--to",
            "400/s",
            "--duration",
            "2s",
            "--warm-up",
            "200ms",
            "--precision",
            "25%",
            "--confirmations",
            "1",
            "--replicas-for",
            "500/s",
        ],
        folder.path(),
    );
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = std::fs::read_to_string(folder.path().join("out.json")).expect("a report");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    // A hundred a second is all that it can do; how close a busy machine comes is its own matter.
    let rate = found["capacity_rps"].as_f64().expect("a rate");
    assert!((40.0..=105.0).contains(&rate), "{}", said(&output));
    assert_eq!(found["limited_by"], "objectives", "{}", said(&output));
    let wanted = (500.0 / (rate * 0.8)).ceil();
    assert_eq!(found["replicas"][0]["count"].as_f64(), Some(wanted));
    let told = said(&output);
    assert!(
        told.contains(&format!("500.0/s want {wanted:.0} replicas")),
        "{told}"
    );
    let curve = found["curve"].as_array().expect("a curve");
    let failed = curve.iter().find(|point| point["held"] == false);
    let why = failed.expect("one that failed")["why"].to_string();
    assert!(
        why.contains("p99<300ms is") || why.contains("were achieved"),
        "{why}"
    );
    let held = curve
        .iter()
        .filter(|point| point["rate"].as_f64() == Some(rate));
    assert!(held.count() >= 2, "it was confirmed: {curve:#?}");
    let html = std::fs::read_to_string(folder.path().join("out.html")).expect("a report");
    assert!(html.contains("<svg") && html.contains("Latency by rate"));
}

#[test]
fn a_target_that_holds_at_no_rate_or_cannot_be_asked_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = one_at_a_time(Duration::from_millis(10));
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
    for (arguments, why) in [
        (
            &["--target", "http://127.0.0.1:1", "--slo", "p99<1s"][..],
            "nobody answers",
        ),
        (&["--target", &url], "--slo"),
        (
            &["--target", &url, "--slo", "added_p99<1ms"],
            "known only to run",
        ),
        (
            &["--target", &url, "--slo", "p99<1s", "--scenario", "abuse"],
            "needs --config",
        ),
        (
            &[
                "--target", &url, "--slo", "p99<1s", "--from", "9/s", "--to", "1/s",
            ],
            "more than --to",
        ),
    ] {
        let output = capacity(arguments, folder.path());
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(why), "{}", said(&output));
    }
}
