//! What a request whose head did not come whole is told.

use super::head::Flaw;
use crate::http::Limits;
use crate::refusal::{ErrorCode, Refusal};

pub(crate) fn refusal_of(flaw: &Flaw, limits: &Limits) -> Refusal {
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
