//! Rejections of requests whose head is incomplete or invalid.

use super::head::HeadError;
use crate::http::Limits;
use crate::refusal::{ErrorCode, Refusal};
use crate::units;

pub(crate) fn refusal_of(error: &HeadError, limits: &Limits) -> Refusal {
    match error {
        HeadError::TimedOut => {
            let detail = format!(
                "the whole head must arrive within {}",
                units::shown(limits.header_timeout)
            );
            Refusal::new(ErrorCode::HeaderTimeout, detail)
        }
        HeadError::TooLarge => {
            let detail = format!("a head may have at most {} bytes", limits.header_bytes);
            Refusal::new(ErrorCode::HeaderTooLarge, detail)
        }
        HeadError::Malformed(what) => Refusal::new(ErrorCode::BadRequest, *what),
    }
}
