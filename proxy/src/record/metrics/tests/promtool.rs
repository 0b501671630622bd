//! `promtool check metrics` on a scrape.

use super::*;

/// `PROMTOOL` is the path of the tool.
#[test]
fn promtool_accepts_the_scrape() {
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
    std::io::Write::write_all(&mut stdin, &metrics.all.render(ExpositionFormat::Text))
        .expect("all of it read");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success() && printed.is_empty(), "{printed}");
}
