//! What counts as a failure.

use super::Exchange;
use crate::refusal::{Blame, ErrorCode};

impl Exchange {
    /// Whether `error_rate` counts this exchange as a failure: a response of 500 or more, or one that failed
    /// after its head (truncated, incomplete, or with an error inside). Rejections below 500, clients that left, and
    /// those that accept a stored response only (504) are not failures.
    #[must_use]
    pub fn failed(&self) -> bool {
        let is_not_client_fault = |code: ErrorCode| code.blame() != Blame::Client;
        let is_by_request = self.error_code == Some(ErrorCode::NotCached);
        self.status >= 500 && !is_by_request || self.error_code.is_some_and(is_not_client_fault)
    }
}
