//! What a request whose head did not come whole is told.

use std::time::Duration;

use super::head::Flaw;
use crate::config::Limits;
use crate::refusal::{ErrorCode, Refusal};

/// How long, and how much, what a client sends after it was refused is read on where pingora proxies;
/// everywhere else see `linger.rs`.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
pub(crate) const LINGER_BYTES: usize = 1 << 20;

pub(super) fn refusal_of(flaw: &Flaw, limits: &Limits) -> Refusal {
    match flaw {
        Flaw::TimedOut => {
            let detail = format!(
                "the whole head must arrive within {} ms",
                limits.header_timeout.as_millis()
            );
            Refusal::new(ErrorCode::HeaderTimeout, detail)
        }
        Flaw::TooLarge => {
            let detail = format!("a head may have {} bytes", limits.header_bytes);
            Refusal::new(ErrorCode::HeaderTooLarge, detail)
        }
        Flaw::Malformed(what) => Refusal::new(ErrorCode::BadRequest, *what),
    }
}
