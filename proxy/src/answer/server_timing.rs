//! The `Server-Timing` header (W3C Server Timing): one entry per stage, in the order of the pipeline.

use crate::exchange::{Stage, Timing, millis};

/// Appends the value of the header, `route;dur=0.01, body;dur=0.08`: milliseconds of the stages that the request has
/// entered. Nothing if there are none.
pub fn append(timing: &Timing, out: &mut Vec<u8>) {
    let begin = out.len();
    for stage in Stage::ALL {
        if let Some(spent) = timing.spent(stage) {
            // Constants, so that a copy takes a few stores instead of a call.
            match stage {
                Stage::Route => out.extend_from_slice(b"route;dur="),
                Stage::Body => out.extend_from_slice(b"body;dur="),
                Stage::Signature => out.extend_from_slice(b"signature;dur="),
                Stage::Limit => out.extend_from_slice(b"limit;dur="),
                Stage::Cache => out.extend_from_slice(b"cache;dur="),
                Stage::Backend => out.extend_from_slice(b"backend;dur="),
                Stage::Answer => out.extend_from_slice(b"answer;dur="),
            }
            millis::append(spent, out);
            out.extend_from_slice(b", ");
        }
    }
    if out.len() > begin {
        out.truncate(out.len() - 2);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    fn header(timing: &Timing) -> String {
        let mut out = b"before ".to_vec();
        append(timing, &mut out);
        let text = String::from_utf8(out).expect("ASCII");
        text.strip_prefix("before ").expect("it is kept").to_owned()
    }

    #[test]
    fn each_stage_has_the_name_that_events_and_traces_have() {
        for stage in Stage::ALL {
            let start = clock::now();
            let mut timing = Timing::start(start);
            timing.lap(stage, start);
            assert_eq!(header(&timing), format!("{};dur=0.0", stage.as_str()));
        }
    }

    #[test]
    fn stages_are_listed_in_the_order_of_the_pipeline() {
        let start = clock::now();
        let mut timing = Timing::start(start);
        assert_eq!(header(&timing), "");
        timing.lap(Stage::Route, start + Duration::from_micros(10));
        timing.lap(Stage::Signature, start + Duration::from_micros(130));
        timing.lap(Stage::Backend, start + Duration::from_micros(1_204_130));
        timing.lap(Stage::Signature, start + Duration::from_micros(1_204_131));
        assert_eq!(
            header(&timing),
            "route;dur=0.01, signature;dur=0.121, backend;dur=1204.0"
        );
    }

    #[test]
    fn the_longest_durations_are_complete() {
        let start = clock::now();
        let mut timing = Timing::start(start);
        let mut at = start;
        for stage in Stage::ALL {
            at += Duration::from_nanos(4_000_000_000_123_456_789);
            timing.lap(stage, at);
        }
        let text = header(&timing);
        assert_eq!(
            text.matches(";dur=4000000000123.457").count(),
            Stage::ALL.len()
        );
        assert_eq!(text.split(", ").count(), Stage::ALL.len());
    }
}
