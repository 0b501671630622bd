//! What the program says. A disk that is full under a redirected output, or a reader that has left, is no
//! reason to end: `println!` and `eprintln!` would panic.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};

/// A line on the standard output. Whoever closed the pipe has read enough.
///
/// # Errors
/// It could not be written, for want of room say.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    match write_line(&mut stdout(), text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("cannot write to the standard output"))
        }
        _ => Ok(()),
    }
}

/// A line on the standard error. There is nobody to report to that it could not be written.
pub(crate) fn note(text: impl Display) {
    drop(write_line(&mut stderr(), &text.to_string()));
}

/// In one piece, so that lines of several processes do not mix.
fn write_line(output: &mut dyn Write, text: &str) -> std::io::Result<()> {
    output.write_all(format!("{text}\n").as_bytes())?;
    output.flush()
}

/// Starts the log on the standard error; `RUST_LOG` chooses what goes there.
pub(crate) fn start_log() {
    const DEFAULT: &str = "info,pingora=warn,pingora_core=off,pingora_proxy=off";
    let asked = std::env::var("RUST_LOG").ok();
    let (known, unknown): (Vec<&str>, Vec<&str>) = asked
        .as_deref()
        .unwrap_or(DEFAULT)
        .split(',')
        .partition(|part| is_directive(part));
    env_logger::Builder::new()
        .parse_filters(&known.join(","))
        .init();
    for part in unknown {
        log::warn!("RUST_LOG: {part:?} is no TARGET=LEVEL and is left out");
    }
}

/// Whether the logger takes it: of what it does not it would tell in its own way, which may panic.
fn is_directive(part: &str) -> bool {
    let (part, pattern) = part.split_once('/').unwrap_or((part, ""));
    let level = part.split_once('=').map_or("", |(_, level)| level.trim());
    !pattern.contains('/')
        && regex::Regex::new(pattern).is_ok()
        && (level.is_empty() || level.parse::<log::LevelFilter>().is_ok())
}
