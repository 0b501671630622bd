//! Whether a JSON response to no known operation is successful: there are as many ways to report a failure, or pending
//! work, as there are services. Such a response is not stored.

use crate::model::json::{Place, Scanner, Value, Visitor, Wants};

/// Values of a status that mean failure or pending work.
const NO_ANSWER: [&[u8]; 14] = [
    b"canceled",
    b"cancelled",
    b"error",
    b"fail",
    b"failed",
    b"failure",
    b"in_progress",
    b"pending",
    b"processing",
    b"queued",
    b"running",
    b"submitted",
    b"timeout",
    b"waiting",
];

/// Numeric codes from here on are failures, as in HTTP.
const FAILURES_FROM: f64 = 400.0;

/// Reads one text piece by piece.
#[derive(Debug, Default)]
pub(super) struct SuccessCheck {
    scanner: Scanner<At>,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    reports_failure: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Root,
    /// Its members and elements are failures.
    Errors,
    /// `false` for a failure.
    Success,
    ErrorCode,
    Code,
    Status,
    Output,
    Nowhere,
}

const NAMES: [(&[u8], At); 12] = [
    (b"errors", At::Errors),
    (b"success", At::Success),
    (b"ok", At::Success),
    (b"errcode", At::ErrorCode),
    (b"error_code", At::ErrorCode),
    (b"errorcode", At::ErrorCode),
    (b"errno", At::ErrorCode),
    (b"code", At::Code),
    (b"status", At::Status),
    (b"task_status", At::Status),
    (b"taskstatus", At::Status),
    (b"output", At::Output),
];

impl SuccessCheck {
    pub(super) fn feed(&mut self, piece: &[u8]) {
        if !self.seen.reports_failure {
            self.scanner.feed(piece, &mut self.seen);
        }
    }

    /// Whether nothing reports a failure.
    pub(super) fn is_successful(&self) -> bool {
        !self.seen.reports_failure
    }
}

impl Place for At {
    const ROOT: Self = At::Root;
    const NOWHERE: Self = At::Nowhere;

    fn wants(self) -> Wants {
        match self {
            At::Root | At::Output | At::Nowhere => Wants::Nothing,
            _ => Wants::Short,
        }
    }
}

impl Visitor for Seen {
    type Place = At;

    fn member(&mut self, of: At, name: &[u8]) -> At {
        let named = || {
            let mut names = NAMES.iter();
            let found = names.find(|(known, _)| name.eq_ignore_ascii_case(known));
            found.map_or(At::Nowhere, |(_, at)| *at)
        };
        match of {
            At::Root => named(),
            At::Output => match named() {
                At::Status => At::Status,
                _ => At::Nowhere,
            },
            At::Errors => {
                self.reports_failure = true;
                At::Nowhere
            }
            _ => At::Nowhere,
        }
    }

    fn element(&mut self, of: At) -> At {
        self.reports_failure |= of == At::Errors;
        At::Nowhere
    }

    fn value(&mut self, at: At, value: Value<'_>) {
        self.reports_failure |= match (at, value) {
            (At::Success, Value::False) | (At::Errors | At::ErrorCode, Value::True) => true,
            (At::Errors | At::ErrorCode, Value::String(text)) => !matches!(text, b"" | b"0"),
            (At::Errors | At::ErrorCode, Value::Number(number)) => {
                number.iter().any(|byte| matches!(byte, b'1'..=b'9'))
            }
            (At::Code | At::Status, Value::Number(number)) => is_of_failure(number),
            (At::Status, Value::String(status)) => NO_ANSWER
                .iter()
                .any(|word| status.eq_ignore_ascii_case(word)),
            _ => false,
        };
    }
}

fn is_of_failure(number: &[u8]) -> bool {
    let number = std::str::from_utf8(number).ok();
    let number = number.and_then(|number| number.parse::<f64>().ok());
    number.is_some_and(|number| number >= FAILURES_FROM)
}
