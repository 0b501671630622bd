//! What Prometheus's own tool says of a scrape.

use super::*;

/// Prometheus's own judgement of names and texts. `PROMTOOL` says where the tool is.
#[test]
fn promtool_finds_no_fault() {
    use std::process::{Command, Stdio};

    let promtool = std::env::var_os("PROMTOOL").unwrap_or_else(|| "promtool".into());
    let spawned = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        eprintln!("SKIPPED: there is no promtool; set PROMTOOL to its path");
        return;
    };
    let metrics = metrics();
    let mut exchange = filled();
    metrics.count(&exchange, Duration::from_millis(7));
    exchange.status = 200;
    exchange.error_code = None;
    metrics.count(&exchange, Duration::from_millis(7));
    let mut stdin = child.stdin.take().expect("its input");
    std::io::Write::write_all(&mut stdin, &metrics.all.render(Format::Text))
        .expect("all of it read");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
