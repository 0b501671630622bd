//! The Elastic Common Schema (ECS) version and the timestamp format of all events.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// The ECS version of all events.
pub(crate) const VERSION: &str = "8.17.0";
/// The JSON member with the version.
pub(crate) const VERSION_MEMBER: &str = r#""ecs":{"version":"8.17.0"}"#;

/// Appends a time since the Unix epoch as a JSON string: RFC 3339 in UTC, to the microsecond.
pub(crate) fn write_timestamp(at: Duration, out: &mut Vec<u8>) {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
    let timestamp = i64::try_from(at.as_micros())
        .ok()
        .and_then(|micros| Timestamp::from_microsecond(micros).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH);
    out.push(b'"');
    // Writing to a Vec cannot fail.
    drop(PRINTER.print_timestamp(&timestamp, &mut *out));
    out.push(b'"');
}

/// A time since the Unix epoch in the format of events, without quotes.
pub(crate) fn timestamp(at: Duration) -> String {
    let mut quoted = Vec::new();
    write_timestamp(at, &mut quoted);
    String::from_utf8_lossy(&quoted)
        .trim_matches('"')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_microseconds() {
        let at = Duration::from_micros(1_795_336_200_123_456);
        assert_eq!(timestamp(at), "2026-11-22T08:30:00.123456Z");
        assert_eq!(timestamp(Duration::MAX), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn the_member_has_the_version() {
        assert!(VERSION_MEMBER.contains(&format!("\"{VERSION}\"")));
    }
}
