//! One request as a scenario wants it sent, and what is expected of its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use crate::scenario::Wants;

/// A request.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What it is counted under.
    pub name: Arc<str>,
    pub method: Method,
    /// With a slash at its beginning.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// An answer of success that is none of these is a failure.
    pub wants: Wants,
    pub expect: Expect,
}

/// Which answers are as they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// 200 to 299.
    Success,
    /// The same, or 429, which is counted apart.
    SuccessOrLimited,
    /// The same, or a refusal where it was refused when it was recorded: 400 to 499, since what was refused
    /// then may be refused earlier now, for a body that was never read is not in the recording.
    SuccessOr(u16),
    /// One of these, and nothing else: a request that has to be refused, say.
    Status(Vec<u16>),
}

/// What an answer was, by what was expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    Success,
    /// Refused, as it had to be.
    Refused,
    /// 429 where that may come.
    Limited,
    /// Not what was expected.
    Error,
}

impl Expect {
    /// What an answer with this status is. Without a status there is nothing to judge: no answer is an error,
    /// whatever was expected.
    #[must_use]
    pub fn judge(&self, status: u16) -> Judged {
        let is_success = (200..300).contains(&status);
        match self {
            Expect::Success | Expect::SuccessOrLimited | Expect::SuccessOr(_) if is_success => {
                Judged::Success
            }
            Expect::SuccessOrLimited | Expect::SuccessOr(_) if status == 429 => Judged::Limited,
            Expect::SuccessOr(recorded) if is_refusal(*recorded) && is_refusal(status) => {
                Judged::Refused
            }
            Expect::Status(all) if all.contains(&status) && is_success => Judged::Success,
            Expect::Status(all) if all.contains(&status) => Judged::Refused,
            _ => Judged::Error,
        }
    }
}

fn is_refusal(status: u16) -> bool {
    (400..500).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_judged_by_what_was_expected() {
        assert_eq!(Expect::Success.judge(204), Judged::Success);
        assert_eq!(Expect::Success.judge(429), Judged::Error);
        assert_eq!(Expect::SuccessOrLimited.judge(429), Judged::Limited);
        assert_eq!(Expect::SuccessOrLimited.judge(500), Judged::Error);
        let refused = Expect::Status(vec![401]);
        assert_eq!(refused.judge(401), Judged::Refused);
        assert_eq!(refused.judge(200), Judged::Error, "it was let in");
        let recorded = Expect::SuccessOr(413);
        assert_eq!(recorded.judge(400), Judged::Refused);
        assert_eq!(recorded.judge(500), Judged::Error);
        assert_eq!(Expect::SuccessOr(500).judge(500), Judged::Error);
    }
}
