//! Detects failure and pending work in a JSON response to an unknown operation, which must not be stored. The
//! heuristics cover the conventions of many services.

use crate::model::json::{Interest, JsonPosition, JsonScanner, JsonValue, Visitor};

/// Values of a status that mean failure or pending work.
const FAILED_OR_PENDING: [&[u8]; 14] = [
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

/// Numeric codes from this one on are failures, as in HTTP.
const FAILURES_FROM: f64 = 400.0;

/// Checks one JSON text, piece by piece.
#[derive(Clone, Debug, Default)]
pub(super) struct SuccessCheck {
    scanner: JsonScanner<SuccessPosition>,
    visitor: SuccessVisitor,
}

#[derive(Clone, Debug, Default)]
struct SuccessVisitor {
    reports_failure: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SuccessPosition {
    Root,
    /// Any member or element is a failure.
    Errors,
    /// `false` is a failure.
    Success,
    ErrorCode,
    Code,
    Status,
    Output,
    Ignored,
}

const NAMES: [(&[u8], SuccessPosition); 12] = [
    (b"errors", SuccessPosition::Errors),
    (b"success", SuccessPosition::Success),
    (b"ok", SuccessPosition::Success),
    (b"errcode", SuccessPosition::ErrorCode),
    (b"error_code", SuccessPosition::ErrorCode),
    (b"errorcode", SuccessPosition::ErrorCode),
    (b"errno", SuccessPosition::ErrorCode),
    (b"code", SuccessPosition::Code),
    (b"status", SuccessPosition::Status),
    (b"task_status", SuccessPosition::Status),
    (b"taskstatus", SuccessPosition::Status),
    (b"output", SuccessPosition::Output),
];

impl SuccessCheck {
    pub(super) fn feed(&mut self, piece: &[u8]) {
        if !self.visitor.reports_failure {
            self.scanner.feed(piece, &mut self.visitor);
        }
    }

    /// Whether nothing reports a failure.
    pub(super) fn is_successful(&self) -> bool {
        !self.visitor.reports_failure
    }
}

impl JsonPosition for SuccessPosition {
    const ROOT: Self = SuccessPosition::Root;
    const IGNORED: Self = SuccessPosition::Ignored;

    fn interest(self) -> Interest {
        match self {
            SuccessPosition::Root | SuccessPosition::Output | SuccessPosition::Ignored => {
                Interest::Nothing
            }
            _ => Interest::Short,
        }
    }
}

impl Visitor for SuccessVisitor {
    type Position = SuccessPosition;

    fn member(&mut self, of: SuccessPosition, name: &[u8]) -> SuccessPosition {
        let named = || {
            let mut names = NAMES.iter();
            let found = names.find(|(known, _)| name.eq_ignore_ascii_case(known));
            found.map_or(SuccessPosition::Ignored, |(_, at)| *at)
        };
        match of {
            SuccessPosition::Root => named(),
            SuccessPosition::Output => match named() {
                SuccessPosition::Status => SuccessPosition::Status,
                _ => SuccessPosition::Ignored,
            },
            SuccessPosition::Errors => {
                self.reports_failure = true;
                SuccessPosition::Ignored
            }
            _ => SuccessPosition::Ignored,
        }
    }

    fn element(&mut self, of: SuccessPosition) -> SuccessPosition {
        self.reports_failure |= of == SuccessPosition::Errors;
        SuccessPosition::Ignored
    }

    fn value(&mut self, at: SuccessPosition, value: JsonValue<'_>) {
        self.reports_failure |= match (at, value) {
            (SuccessPosition::Success, JsonValue::False)
            | (SuccessPosition::Errors | SuccessPosition::ErrorCode, JsonValue::True) => true,
            (SuccessPosition::Errors | SuccessPosition::ErrorCode, JsonValue::String(text)) => {
                !matches!(text, b"" | b"0")
            }
            (SuccessPosition::Errors | SuccessPosition::ErrorCode, JsonValue::Number(number)) => {
                number.iter().any(|byte| matches!(byte, b'1'..=b'9'))
            }
            (SuccessPosition::Code | SuccessPosition::Status, JsonValue::Number(number)) => {
                is_failure_code(number)
            }
            (SuccessPosition::Status, JsonValue::String(status)) => FAILED_OR_PENDING
                .iter()
                .any(|word| status.eq_ignore_ascii_case(word)),
            _ => false,
        };
    }
}

fn is_failure_code(number: &[u8]) -> bool {
    let number = std::str::from_utf8(number).ok();
    let number = number.and_then(|number| number.parse::<f64>().ok());
    number.is_some_and(|number| number >= FAILURES_FROM)
}
