//! What a client gets of a stored response: all of it, a part of it, or the answer to its condition.

use std::ops::Range;

use http::{HeaderMap, Method, StatusCode, header};

use super::conditional;
use super::head;
use super::ranges::{self, Part};
use super::store::StoredResponse;

/// The response to a request that a stored one serves.
#[derive(Debug, PartialEq, Eq)]
pub enum Served {
    Whole,
    /// 206.
    Part(Range<usize>),
    /// 304, with these head lines.
    NotModified(Vec<u8>),
    /// 416.
    RangeNotSatisfiable,
}

impl Served {
    /// By the conditions of the request, then its range (RFC 9110, section 13.2.2). Only a 200 is conditional.
    #[must_use]
    pub fn of(request: &HeaderMap, stored: &StoredResponse, method: &Method) -> Self {
        if stored.status != StatusCode::OK {
            return Served::Whole;
        }
        if conditional::is_unmodified(request, &stored.validators) {
            return Served::NotModified(head::of_not_modified(stored.head_lines()));
        }
        let Some(range) = request
            .get(header::RANGE)
            .filter(|_| *method == Method::GET)
        else {
            return Served::Whole;
        };
        if !conditional::allows_part(request.get(header::IF_RANGE), &stored.validators) {
            return Served::Whole;
        }
        match ranges::part(range.as_bytes(), stored.length()) {
            Part::Whole => Served::Whole,
            Part::Of(part) => Served::Part(part),
            Part::Unsatisfiable => Served::RangeNotSatisfiable,
        }
    }

    /// What is written of the body.
    #[must_use]
    pub fn part(&self, stored: &StoredResponse) -> Range<usize> {
        match self {
            Served::Whole => 0..stored.length(),
            Served::Part(part) => part.clone(),
            Served::NotModified(_) | Served::RangeNotSatisfiable => 0..0,
        }
    }
}
