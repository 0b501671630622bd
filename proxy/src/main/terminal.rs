//! Output of the program. A full disk under a redirected output, or a closed pipe, must not end it: `println!` and
//! `eprintln!` would panic.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};

/// Prints a line to the standard output. A closed pipe is not an error.
///
/// # Errors
/// The line could not be written, for example to a full disk.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    match write_line(&mut stdout(), text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("cannot write to the standard output"))
        }
        _ => Ok(()),
    }
}

/// Prints a line to the standard error. A failure cannot be reported anywhere.
pub(crate) fn note(text: impl Display) {
    drop(write_line(&mut stderr(), &text.to_string()));
}

/// Writes the line in one piece, so that lines of several processes do not mix.
fn write_line(output: &mut dyn Write, text: &str) -> std::io::Result<()> {
    output.write_all(format!("{text}\n").as_bytes())?;
    output.flush()
}

/// Starts the log on the standard error; `RUST_LOG` chooses what goes there.
pub(crate) fn start_log() {
    const DEFAULT: &str = "info,pingora=warn,pingora_core=off,pingora_proxy=off";
    let given = std::env::var("RUST_LOG").ok();
    let (known, unknown): (Vec<&str>, Vec<&str>) = given
        .as_deref()
        .unwrap_or(DEFAULT)
        .split(',')
        .partition(|part| is_directive(part));
    env_logger::Builder::new()
        .parse_filters(&known.join(","))
        .init();
    for part in unknown {
        log::warn!("RUST_LOG: {part:?} is not TARGET=LEVEL and is ignored");
    }
}

/// Whether the logger accepts it. Its own report of an invalid directive may panic.
fn is_directive(part: &str) -> bool {
    let (part, pattern) = part.split_once('/').unwrap_or((part, ""));
    let level = part.split_once('=').map_or("", |(_, level)| level.trim());
    !pattern.contains('/')
        && regex::Regex::new(pattern).is_ok()
        && (level.is_empty() || level.parse::<log::LevelFilter>().is_ok())
}
