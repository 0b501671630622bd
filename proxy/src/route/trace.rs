//! Trace context as W3C Trace Context (level 1 and 2) and W3C Baggage define it.

use http::{HeaderMap, HeaderValue};

/// The trace a request belongs to and what is handed to the backend.
#[derive(Clone, Debug, Default)]
pub struct TraceContext {
    /// 32 lower-case hex digits.
    pub trace_id: [u8; 16],
    /// weir's own span, the parent of the backend's.
    pub span_id: [u8; 8],
    /// The caller's span, when a valid one was given.
    pub parent_id: Option<[u8; 8]>,
    pub flags: u8,
    pub tracestate: Option<HeaderValue>,
    pub baggage: Option<HeaderValue>,
}

impl TraceContext {
    /// Reads the caller's context, or begins a trace. `random` gives fresh bytes for identifiers.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, random: &mut dyn FnMut(&mut [u8])) -> Self {
        let _ = (headers, random);
        todo!("route helper")
    }

    /// Replaces `traceparent`, `tracestate` and `baggage` in what goes to the backend.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        let _ = headers;
        todo!("route helper")
    }
}
