//! Propagates trace context according to W3C Trace Context (levels 1 and 2) and W3C Baggage.
//!
//! weir continues an incoming trace: the trace id stays the same, weir's span becomes the parent of the backend's, and
//! the sampled and random flags are preserved. Malformed headers are dropped as the specifications require, and never
//! cause a request to fail.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

mod state;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The caller may have recorded this trace.
pub const FLAG_SAMPLED: u8 = 0x01;
/// At least the last seven bytes of the trace id are random (level 2).
pub const FLAG_RANDOM: u8 = 0x02;

/// Length of a version 00 `traceparent`.
const PARENT_LENGTH: usize = 55;

/// The trace context of a request.
#[derive(Clone, Debug, Default)]
pub struct TraceContext {
    /// Written as 32 lower-case hex digits. All zero only in a default value.
    pub trace_id: [u8; 16],
    /// weir's span: the parent of its client spans, or of the backend's if those are not recorded.
    pub span_id: [u8; 8],
    /// The caller's span, if there is a valid one.
    pub parent_id: Option<[u8; 8]>,
    /// [`FLAG_SAMPLED`] and [`FLAG_RANDOM`]; the other bits are 0, as the specification requires.
    pub flags: u8,
    pub tracestate: Option<HeaderValue>,
    pub baggage: Option<HeaderValue>,
    pub recording: Recording,
}

/// Whether weir records spans of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    On,
    #[default]
    Off,
}

/// Whether an incoming context is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    Trusted,
    /// Every request begins a new trace; an incoming `tracestate` or `baggage` is dropped.
    Untrusted,
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSampling {
    /// Of the traces that begin here, from 0 to 1. `None`: nothing is exported, and no trace that begins
    /// here is sampled.
    pub share: Option<f64>,
    pub incoming: Incoming,
}

impl TraceSampling {
    /// Whether a trace that begins here is recorded: decided by its id, so that all services decide alike
    /// (`TraceIdRatioBased` in OpenTelemetry).
    fn takes(&self, trace_id: [u8; 16]) -> bool {
        let Some(share) = self.share else {
            return false;
        };
        let random = (u128::from_be_bytes(trace_id) as u64) >> 1;
        (random as f64) < share * (1_u64 << 63) as f64
    }
}

impl TraceContext {
    /// The trace of a request under these rules: the incoming one with its sampling decision, or a new one.
    #[must_use]
    pub fn of_request(
        headers: &HeaderMap,
        sampling: &TraceSampling,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Self {
        let mut context = match sampling.incoming {
            Incoming::Trusted => TraceContext::from_headers(headers, random),
            Incoming::Untrusted => TraceContext::from_headers(&HeaderMap::new(), random),
        };
        if context.parent_id.is_none() && sampling.takes(context.trace_id) {
            context.flags |= FLAG_SAMPLED;
        }
        if sampling.share.is_some() && context.flags & FLAG_SAMPLED != 0 {
            context.recording = Recording::On;
        }
        context
    }

    /// Reads the incoming context, or begins a trace. `random` fills identifiers with random bytes.
    ///
    /// Without exactly one valid `traceparent` a new trace begins and `tracestate` is ignored; `baggage` is
    /// independent of both. A new trace is not sampled here: [`TraceContext::of_request`] decides that.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, random: &mut dyn FnMut(&mut [u8])) -> Self {
        let baggage = state::baggage(headers.get_all(&BAGGAGE));
        match only(headers).and_then(|value| TraceParent::parse(value.as_bytes())) {
            Some(parent) => TraceContext {
                trace_id: parent.trace_id,
                span_id: new_span_id(random),
                parent_id: Some(parent.span_id),
                flags: parent.flags,
                tracestate: state::tracestate(headers.get_all(&TRACESTATE)),
                baggage,
                recording: Recording::Off,
            },
            None => {
                let mut bytes = [0; 24];
                random(&mut bytes);
                let mut trace_id = [0; 16];
                let mut span_id = [0; 8];
                trace_id.copy_from_slice(&bytes[..16]);
                span_id.copy_from_slice(&bytes[16..]);
                TraceContext {
                    trace_id: never_zero(trace_id),
                    span_id: never_zero(span_id),
                    parent_id: None,
                    flags: FLAG_RANDOM,
                    tracestate: None,
                    baggage,
                    recording: Recording::Off,
                }
            }
        }
    }

    /// Replaces `traceparent`, `tracestate` and `baggage` in the headers for the backend, with `parent` as the parent
    /// of its spans.
    pub fn write_to(&self, headers: &mut HeaderMap, parent: &[u8; 8]) {
        // The text is ASCII, so it always is a header value.
        if let Ok(value) = HeaderValue::from_bytes(&self.traceparent(parent)) {
            headers.insert(&TRACEPARENT, value);
        }
        for (name, value) in [(&TRACESTATE, &self.tracestate), (&BAGGAGE, &self.baggage)] {
            match value {
                Some(value) => {
                    headers.insert(name, value.clone());
                }
                None => {
                    headers.remove(name);
                }
            }
        }
    }

    /// The `traceparent` for the backend, in version 00, the highest that weir supports.
    fn traceparent(&self, parent: &[u8; 8]) -> [u8; PARENT_LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &self.trace_id);
        write_hex(&mut text[36..52], parent);
        write_hex(&mut text[53..55], &[self.flags]);
        text
    }
}

/// The only `traceparent`; `None` if there are several, since any of them may be the valid one.
fn only(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(&TRACEPARENT).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The content of a valid `traceparent`.
struct TraceParent {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

impl TraceParent {
    /// Version 00 is parsed strictly, a higher one by the rules for future versions: its first four fields are in the
    /// same place, and anything that follows is separated by another dash.
    fn parse(value: &[u8]) -> Option<TraceParent> {
        let text = value.trim_ascii();
        let (fields, rest) = text.split_at_checked(PARENT_LENGTH)?;
        let [version] = hex(&fields[..2])?;
        let is_valid_end = match version {
            0x00 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest.first(), None | Some(b'-')),
        };
        if !is_valid_end || [fields[2], fields[35], fields[52]] != *b"---" {
            return None;
        }
        let trace_id: [u8; 16] = hex(&fields[3..35])?;
        let span_id: [u8; 8] = hex(&fields[36..52])?;
        let [flags] = hex(&fields[53..])?;
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(TraceParent {
            trace_id,
            span_id,
            flags: flags & (FLAG_SAMPLED | FLAG_RANDOM),
        })
    }
}

/// Parses lower-case hex digits, as `traceparent` requires.
fn hex<const LENGTH: usize>(digits: &[u8]) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn write_hex(target: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in target.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0x0f)];
    }
}

/// A new span id.
pub fn new_span_id(random: &mut dyn FnMut(&mut [u8])) -> [u8; 8] {
    let mut span_id = [0; 8];
    random(&mut span_id);
    never_zero(span_id)
}

/// Sets one bit of an all-zero identifier, which would be invalid.
fn never_zero<const LENGTH: usize>(mut id: [u8; LENGTH]) -> [u8; LENGTH] {
    if id == [0; LENGTH] {
        id[LENGTH - 1] = 1;
    }
    id
}

#[cfg(test)]
mod tests;
