//! The command line of weir-load.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use weir_load::capacity::CapacityArgs;
use weir_load::exit_code::{COULD_NOT_RUN, ERROR_PREFIX, PASSED};
use weir_load::run::RunArgs;
use weir_load::scenario;

/// Shown after the flags in `run --help`.
const RUN_EXAMPLES: &str = "\
Examples:
  # 50 requests per second for a minute, with two thresholds and a report
  weir-load run --target http://127.0.0.1:8080 --config weir.yaml -r 50/s -d 60s \\
    --slo 'p99<800ms' --slo 'error_rate<0.5%' --report report.html

  # Ramp up from 10/s to 100/s over 5 minutes, with a scenario file
  weir-load run --target http://127.0.0.1:8080 --scenario own.yaml -r 10/s..100/s -d 5m

  # Replay recorded production traffic
  weir-load run --target http://127.0.0.1:8080 --config weir.yaml --scenario replay --events data/events.ndjson

Exit code: 0 if every threshold passed, 1 if one failed, 2 if the test could not run or was interrupted.";

const CAPACITY_EXAMPLES: &str = "\
Example:
  weir-load capacity --target http://127.0.0.1:8080 --config weir.yaml --slo 'p99<800ms' --replicas-for 500/s

Exit code: 0 if the thresholds pass at some rate, 1 if they pass at none, 2 if the search could not run or was interrupted.";

#[derive(Parser)]
#[command(
    name = "weir-load",
    version,
    about = "Open-model HTTP load generator for weir, with thresholds for CI"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a load test and check its thresholds
    ///
    /// Requests are sent at a given arrival rate, independent of responses (an open model). Latency is measured from when
    /// each request was due, so that a stall affects every request that had to wait for it (no coordinated omission).
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Find the highest rate at which the thresholds pass
    ///
    /// Runs a series of tests: doubles the rate until a test fails, bisects between the last two rates, and confirms the
    /// result.
    #[command(after_help = CAPACITY_EXAMPLES)]
    Capacity(Box<CapacityArgs>),
    /// Print the JSON Schema of scenario files
    Schema,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(run) => run.execute(),
        Command::Capacity(capacity) => capacity.execute(),
        Command::Schema => schema(),
    };
    let code = outcome.unwrap_or_else(|error| {
        // If stderr is closed, the exit code still reports the failure.
        let _ = writeln!(std::io::stderr(), "{ERROR_PREFIX}{error:#}");
        COULD_NOT_RUN
    });
    ExitCode::from(code)
}

fn schema() -> anyhow::Result<u8> {
    let text = serde_json::to_string_pretty(&scenario::schema())?;
    // A closed pipe is not an error.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(PASSED)
}
