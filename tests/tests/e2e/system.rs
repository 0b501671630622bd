//! System metrics of the machine that weir runs on.

use std::process::Command;

use weir_tests::backend::Backend;
use weir_tests::metrics::Metrics;
use weir_tests::setup::Setup;

/// The used share of `/`, as reported by df(1).
fn used_share_of_root() -> f64 {
    let df = Command::new("df")
        .args(["-B1", "--output=used,avail", "/"])
        .output()
        .expect("df");
    let text = String::from_utf8(df.stdout).expect("text");
    let line = text.lines().nth(1).expect("a line");
    let mut numbers = line.split_ascii_whitespace();
    let mut next = || -> f64 {
        let number = numbers.next().expect("a number");
        number.parse().expect("a number")
    };
    let (used, available) = (next(), next());
    used / (used + available)
}

#[tokio::test]
async fn system_metrics_match_the_system() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    // CPU utilisation is a difference, so it is known after the second sample.
    let cpu = "weir_cpu_usage_ratio";
    let metrics = proxy
        .metrics_when(cpu, |metrics| {
            metrics.samples.iter().any(|sample| sample.name == cpu)
        })
        .await;
    assert!((0.0..=1.5).contains(&metrics.sum(cpu, &[])));
    let memory = metrics.sum("weir_memory_usage_ratio", &[]);
    assert!(memory > 0.0 && memory <= 1.0, "{memory}");
    let root = metrics.sum("weir_disk_usage_ratio", &[("mount", "/")]);
    assert!((root - used_share_of_root()).abs() < 0.02, "{root}");
    assert!(metrics.sum("process_resident_memory_bytes", &[]) > 1e6);
    let lag = "weir_runtime_lag_seconds_count";
    let workers = std::thread::available_parallelism().expect("processors");
    // Each worker reports once a second.
    let all = |metrics: &Metrics| metrics.sum(lag, &[]) >= workers.get() as f64;
    proxy.metrics_when("the lag of every worker", all).await;
}
