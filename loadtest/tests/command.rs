//! The command as a pipeline sees it.

use std::process::Command;

#[test]
fn a_load_test_that_cannot_run_is_no_pass() {
    let output = Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .args(["run", "--target", "http://127.0.0.1:1"])
        .output()
        .expect("weir-load starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not in this version yet"));
}
