//! Conditional requests (RFC 9110, section 13): those of clients, answered from the cache, and the validators that the
//! backend is asked with.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use super::super::cache_control::members;
use super::super::freshness::{date, http_date};

/// The validators of a stored response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    pub etag: Option<HeaderValue>,
    pub last_modified: Option<HeaderValue>,
    /// `Last-Modified`, since the Unix epoch.
    pub(super) modified_at: Option<Duration>,
    /// The `Date` of the response.
    dated: Option<Duration>,
}

/// A value of a response is a part of its head, which it would keep in memory.
fn copied(value: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

impl Validators {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let modified_at = date(headers, &header::LAST_MODIFIED);
        let last_modified = headers.get(header::LAST_MODIFIED);
        Validators {
            etag: headers.get(header::ETAG).and_then(copied),
            last_modified: last_modified
                .filter(|_| modified_at.is_some())
                .and_then(copied),
            modified_at,
            dated: date(headers, &header::DATE),
        }
    }

    /// The memory that they take.
    pub(super) fn bytes(&self) -> usize {
        let values = self.etag.iter().chain(&self.last_modified);
        values.map(HeaderValue::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// Whether a 304 with these headers is about the response with these validators (RFC 9111, section 4.3.4).
    pub(super) fn are_confirmed_by(&self, headers: &HeaderMap) -> bool {
        match (headers.get(header::ETAG), &self.etag) {
            (Some(confirmed), Some(own)) => is_weakly_equal(confirmed.as_bytes(), own.as_bytes()),
            (Some(_), None) => false,
            (None, _) => {
                let modified_at = date(headers, &header::LAST_MODIFIED);
                modified_at.is_none() || modified_at == self.modified_at
            }
        }
    }

    /// Whether both are of one representation, by a strong `ETag` or by the same validators altogether.
    pub(super) fn are_of_same(&self, other: &Validators) -> bool {
        match (&self.etag, &other.etag) {
            (Some(one), Some(other)) => one == other && is_strong(one.as_bytes()),
            (None, None) => self.modified_at.is_some() && self.modified_at == other.modified_at,
            _ => false,
        }
    }
}

/// Whether the client has the response already: a 304 is enough. `If-None-Match` takes precedence.
pub(super) fn is_unmodified(request: &HeaderMap, validators: &Validators) -> bool {
    let mut lines = request.get_all(header::IF_NONE_MATCH).iter().peekable();
    if lines.peek().is_some() {
        let mut tags = lines.flat_map(|line| members(line.as_bytes()));
        return tags.any(|tag| {
            let tag = tag.trim_ascii();
            let own = validators.etag.as_ref();
            tag == b"*" || own.is_some_and(|own| is_weakly_equal(tag, own.as_bytes()))
        });
    }
    let Some(since) = date(request, &header::IF_MODIFIED_SINCE) else {
        return false;
    };
    // RFC 9111, section 4.3.2: without `Last-Modified`, the date of the response.
    let modified_at = validators.modified_at.or(validators.dated);
    modified_at.is_some_and(|modified_at| modified_at <= since)
}

/// Whether `If-Range` allows a part of the response (RFC 9110, section 13.1.5).
pub(super) fn allows_part(if_range: Option<&HeaderValue>, validators: &Validators) -> bool {
    let Some(condition) = if_range.map(|value| value.as_bytes().trim_ascii()) else {
        return true;
    };
    if condition.starts_with(b"\"") || condition.starts_with(b"W/") {
        let own = validators.etag.as_ref().map(HeaderValue::as_bytes);
        return is_strong(condition) && own == Some(condition);
    }
    // Section 8.8.2.2: a date is a strong validator if the response was generated a second or more later.
    let is_strong = match (validators.modified_at, validators.dated) {
        (Some(modified), Some(dated)) => dated >= modified + Duration::from_secs(1),
        _ => false,
    };
    is_strong && http_date(condition) == validators.modified_at
}

fn is_strong(tag: &[u8]) -> bool {
    tag.starts_with(b"\"")
}

fn is_weakly_equal(one: &[u8], other: &[u8]) -> bool {
    let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).len();
    let (one, other) = (
        &one[one.len() - opaque(one)..],
        &other[other.len() - opaque(other)..],
    );
    one == other
}
