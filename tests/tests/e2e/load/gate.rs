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

/// The first of three consecutive free ports, below those that the system gives to outgoing connections.
fn port_base() -> u16 {
    const PORTS: std::ops::Range<u32> = 15_000..32_000;
    let begin = std::process::id();
    let bases = (0..PORTS.end - PORTS.start)
        .map(|more| PORTS.start + (begin + more) % (PORTS.end - PORTS.start));
    let is_free =
        |port: u32| TcpListener::bind(("127.0.0.1", u16::try_from(port).expect("a port"))).is_ok();
    let base = bases
        .into_iter()
        .find(|base| (*base..base + 3).all(is_free));
    u16::try_from(base.expect("three free ports in a row")).expect("a port")
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
