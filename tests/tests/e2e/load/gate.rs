//! The quality gate for CI: the documented script, with the real sidecar and the real weir-load.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use weir_tests::load::weir_load;
use weir_tests::process::weir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The first of three consecutive free ports.
fn port_base() -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = first.local_addr().expect("an address").port();
        let others = [1, 2].map(|more| TcpListener::bind(("127.0.0.1", base.saturating_add(more))));
        if others.iter().all(Result::is_ok) {
            return base;
        }
    }
    panic!("no three free ports in a row");
}

/// Exit code and output of the gate with a demo of this latency, and a threshold.
fn gate(latency: &str, objective: &str) -> (Option<i32>, String) {
    let directory = TempDir::new().expect("a directory");
    let base = port_base();
    let demo = ["demo", "--port-base", &base.to_string()].map(str::to_owned);
    let config = Command::new(weir())
        .args(&demo)
        .arg("--print-config")
        .output()
        .expect("weir starts");
    let file = directory.path().join("weir.yaml");
    std::fs::write(&file, config.stdout).expect("a file");
    let sidecar = format!(
        "exec {} {} --latency {latency}",
        weir().display(),
        demo.join(" ")
    );
    let admin = format!("http://127.0.0.1:{}", base + 1);
    let output = Command::new(
        root()
            .join("deploy/ci/gate.sh")
            .canonicalize()
            .expect("the gate"),
    )
    .args([
        "--target",
        &format!("http://127.0.0.1:{base}"),
        "--admin",
        &admin,
    ])
    .args(["--config", file.to_str().expect("a path")])
    .args(["--rate", "50/s", "--duration", "4s", "--repeats", "0%"])
    .args(["--slo", objective, "--slo", "error_rate<0.5%"])
    .env("SIDECAR", sidecar)
    .env("WEIR_LOAD", weir_load())
    .env("WEIR_ADMIN", admin)
    .current_dir(directory.path())
    .output()
    .expect("the gate starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

#[test]
fn the_gate_passes_or_names_the_failed_threshold() {
    // A threshold that passes on any machine, and one that fails on any machine.
    let (code, said) = gate("120ms", "p99<60s");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("verdict: pass"), "{said}");
    let (code, said) = gate("900ms", "p99<800ms");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("FAIL p99<800ms is "), "{said}");
    assert!(said.contains("ok   error_rate<0.5% is 0.000 %"), "{said}");
}
