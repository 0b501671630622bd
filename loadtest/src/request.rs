//! The specification of one request to send, and the classification of its response.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;

/// A request, and the response that is expected to it.
#[derive(Clone, Debug)]
pub struct RequestSpec {
    /// The name it is reported under.
    pub name: Arc<str>,
    pub method: Method,
    /// Path and query; begins with a slash.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// A successful response of another kind is an error.
    pub mode: ResponseMode,
    pub expected: Expectation,
}

/// Whether the response is a single document or a stream of server-sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    Whole,
    Stream,
}

/// Which responses are no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// 200 to 299.
    Success,
    /// 200 to 299, or 429, which is counted separately.
    SuccessOrRateLimited,
    /// As above, or, where the recorded request was rejected, any status from 400 to 499: bodies are not recorded, so
    /// a replayed request may be rejected by an earlier check than the original.
    SuccessOr(u16),
    /// One of these only; for requests that the target must reject, for example.
    Status(Vec<u16>),
}

/// How a response compares to what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// Rejected, as expected.
    Rejected,
    /// 429 where that is expected.
    RateLimited,
    /// Not what was expected.
    Error,
}

impl Expectation {
    /// Classifies a response by its status. A request without a response has no status and is always an error.
    #[must_use]
    pub fn classify(&self, status: u16) -> Outcome {
        let is_success = (200..300).contains(&status);
        match self {
            Expectation::Success
            | Expectation::SuccessOrRateLimited
            | Expectation::SuccessOr(_)
                if is_success =>
            {
                Outcome::Success
            }
            Expectation::SuccessOrRateLimited | Expectation::SuccessOr(_) if status == 429 => {
                Outcome::RateLimited
            }
            Expectation::SuccessOr(recorded) if is_rejection(*recorded) && is_rejection(status) => {
                Outcome::Rejected
            }
            Expectation::Status(all) if all.contains(&status) && is_success => Outcome::Success,
            Expectation::Status(all) if all.contains(&status) => Outcome::Rejected,
            _ => Outcome::Error,
        }
    }
}

fn is_rejection(status: u16) -> bool {
    (400..500).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_classified_by_what_is_expected() {
        assert_eq!(Expectation::Success.classify(204), Outcome::Success);
        assert_eq!(Expectation::Success.classify(429), Outcome::Error);
        let limited = Expectation::SuccessOrRateLimited;
        assert_eq!(limited.classify(429), Outcome::RateLimited);
        assert_eq!(limited.classify(500), Outcome::Error);
        let rejected = Expectation::Status(vec![401]);
        assert_eq!(rejected.classify(401), Outcome::Rejected);
        assert_eq!(rejected.classify(200), Outcome::Error, "it was accepted");
        let recorded = Expectation::SuccessOr(413);
        assert_eq!(recorded.classify(400), Outcome::Rejected);
        assert_eq!(recorded.classify(500), Outcome::Error);
        assert_eq!(Expectation::SuccessOr(500).classify(500), Outcome::Error);
    }
}
