//! The load tester. It has no part of its work yet, and says so instead of reporting a pass.

use std::io::Write as _;
use std::process::ExitCode;

/// The exit code of a load test that could not run.
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    // Nobody may read it: the exit code says the same.
    let _ = writeln!(
        std::io::stderr(),
        "weir-load is not in this version yet: nothing was sent and nothing was measured"
    );
    ExitCode::from(COULD_NOT_RUN)
}
