//! The command line of the load tester.

#![expect(clippy::print_stderr, reason = "a command line talks")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use weir_load::capacity::Capacity;
use weir_load::run::{COULD_NOT_RUN, Run};

#[derive(Parser)]
#[command(
    name = "weir-load",
    version,
    about = "A load test that tells the truth, and a gate for CI"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send what is due, and say whether the objectives held: exit code 0, 1, or 2 when it could not run.
    Run(Box<Run>),
    /// Find the highest rate at which the objectives hold: exit code 0, 1 when there is none, or 2.
    Capacity(Box<Capacity>),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(run) => run.execute(),
        Command::Capacity(capacity) => capacity.execute(),
    };
    let code = outcome.unwrap_or_else(|error| {
        eprintln!("weir-load: it could not run: {error:#}");
        COULD_NOT_RUN
    });
    ExitCode::from(code)
}
