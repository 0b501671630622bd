//! The command line of the load tester.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use weir_load::capacity::Capacity;
use weir_load::run::{COULD_NOT_RUN, PASSED, Run};
use weir_load::scenario;

/// After the flags of `run`, as people paste them.
const RUN_EXAMPLES: &str = "\
Examples:
  # 50 requests per second for a minute, with two thresholds and a report
  weir-load run --target http://127.0.0.1:8080 --config weir.yaml -r 50/s -d 60s \\
    --slo 'p99<800ms' --slo 'error_rate<0.5%' --report report.html

  # Ramp up from 10/s to 100/s over 5 minutes, with a scenario of your own
  weir-load run --target http://127.0.0.1:8080 --scenario own.yaml -r 10/s..100/s -d 5m

  # Send again what an hour of production sent
  weir-load run --target http://127.0.0.1:8080 --config weir.yaml --scenario replay --events data/events.ndjson

Exit code: 0 when every threshold held, 1 when one did not, 2 when the test could not run.";

const CAPACITY_EXAMPLES: &str = "\
Example:
  weir-load capacity --target http://127.0.0.1:8080 --config weir.yaml --slo 'p99<800ms' --replicas-for 500/s

Exit code: 0 when there is a rate at which the thresholds hold, 1 when there is none, 2 when it could not run.";

#[derive(Parser)]
#[command(
    name = "weir-load",
    version,
    about = "HTTP load generator for weir: an open model, free of coordinated omission, and a gate for CI"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a load test and check its thresholds
    ///
    /// Requests are sent at a given rate whatever the answers do, and latencies count from when each request was due:
    /// a stall is seen by all requests that had to wait for it (no coordinated omission).
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<Run>),
    /// Find the highest rate at which the thresholds hold
    ///
    /// Runs one test after the other: at twice the rate until one fails, then between the last two, then again at the
    /// result.
    #[command(after_help = CAPACITY_EXAMPLES)]
    Capacity(Box<Capacity>),
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
        // Whoever closed the pipe is told by the exit code.
        let _ = writeln!(std::io::stderr(), "weir-load: it could not run: {error:#}");
        COULD_NOT_RUN
    });
    ExitCode::from(code)
}

fn schema() -> anyhow::Result<u8> {
    let text = serde_json::to_string_pretty(&scenario::schema())?;
    // Whoever closed the pipe has read enough.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(PASSED)
}
