//! The `Server-Timing` header (W3C Server Timing): one entry per stage, in the order of the pipeline.

use http::HeaderValue;

use crate::exchange::{Stage, Timing, millis};

/// Seven entries of the longest stage name, `;dur=`, a number of at most 24 bytes and a separator.
const BYTES_MAX: usize = Stage::ALL.len() * 48;

/// `route;dur=0.01, body;dur=0.08`: milliseconds of the stages that the request has
/// entered; `None` when there are none.
#[must_use]
pub fn header(timing: &Timing) -> Option<HeaderValue> {
    let mut buffer = [0; BYTES_MAX];
    let mut length = 0;
    let mut push = |part: &[u8]| {
        if let Some(free) = buffer.get_mut(length..length + part.len()) {
            free.copy_from_slice(part);
            length += part.len();
        }
    };
    let mut separator: &[u8] = b"";
    for stage in Stage::ALL {
        if let Some(spent) = timing.spent(stage) {
            push(separator);
            push(stage.as_str().as_bytes());
            push(b";dur=");
            millis::append(spent, &mut push);
            separator = b", ";
        }
    }
    if length == 0 {
        return None;
    }
    HeaderValue::from_bytes(&buffer[..length]).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    #[test]
    fn stages_are_listed_in_the_order_of_the_pipeline() {
        let start = clock::now();
        let mut timing = Timing::start(start);
        assert_eq!(header(&timing), None);
        timing.lap(Stage::Route, start + Duration::from_micros(10));
        timing.lap(Stage::Signature, start + Duration::from_micros(130));
        timing.lap(Stage::Backend, start + Duration::from_micros(1_204_130));
        timing.lap(Stage::Signature, start + Duration::from_micros(1_204_131));
        let header = header(&timing).expect("stages were spent");
        assert_eq!(
            header,
            "route;dur=0.01, signature;dur=0.121, backend;dur=1204.0"
        );
    }

    #[test]
    fn the_longest_header_fits() {
        let start = clock::now();
        let mut timing = Timing::start(start);
        let mut at = start;
        for stage in Stage::ALL {
            at += Duration::from_nanos(4_000_000_000_123_456_789);
            timing.lap(stage, at);
        }
        let header = header(&timing).expect("stages were spent");
        let text = header.to_str().expect("ASCII");
        assert_eq!(
            text.matches(";dur=4000000000123.457").count(),
            Stage::ALL.len()
        );
        assert_eq!(text.split(", ").count(), Stage::ALL.len());
    }
}
