//! What a client gets of a stored response: all of it, a part of it, or the answer to its condition.

use std::ops::Range;

use http::{HeaderMap, Method, StatusCode, header};

use super::conditional;
use super::head;
use super::ranges::{self, RangePart};
use super::store::StoredVariant;

/// The response to a request that a stored one serves.
#[derive(Debug, PartialEq, Eq)]
pub enum ServedAs {
    Whole,
    /// 206.
    Part(Range<usize>),
    /// 304, with these head lines.
    NotModified(Vec<u8>),
    /// 416.
    RangeNotSatisfiable,
}

impl ServedAs {
    /// By the conditions of the request, then its range (RFC 9110, section 13.2.2). Only a 200 is conditional.
    #[must_use]
    pub fn of(request: &HeaderMap, stored: &StoredVariant, method: &Method) -> Self {
        if stored.status() != StatusCode::OK {
            return ServedAs::Whole;
        }
        if conditional::is_unmodified(request, stored.validators()) {
            return ServedAs::NotModified(head::of_not_modified(stored.head_lines()));
        }
        let Some(range) = request
            .get(header::RANGE)
            .filter(|_| *method == Method::GET)
        else {
            return ServedAs::Whole;
        };
        if !conditional::allows_part(request.get(header::IF_RANGE), stored.validators()) {
            return ServedAs::Whole;
        }
        match ranges::part(range.as_bytes(), stored.length()) {
            RangePart::Whole => ServedAs::Whole,
            RangePart::Of(part) => ServedAs::Part(part),
            RangePart::Unsatisfiable => ServedAs::RangeNotSatisfiable,
        }
    }

    /// What is written of the body.
    #[must_use]
    pub fn part(&self, stored: &StoredVariant) -> Range<usize> {
        match self {
            ServedAs::Whole => 0..stored.length(),
            ServedAs::Part(part) => part.clone(),
            ServedAs::NotModified(_) | ServedAs::RangeNotSatisfiable => 0..0,
        }
    }
}
