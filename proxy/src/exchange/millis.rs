//! Durations as milliseconds with up to three decimals, as in events and `Server-Timing`.

use std::time::Duration;

/// Appends the milliseconds of a duration, rounded to the microsecond, without trailing zeros but
/// with at least one decimal: `0.0`, `0.24`, `1204.338`.
pub(crate) fn append(duration: Duration, out: &mut Vec<u8>) {
    let total_us = duration
        .as_secs()
        .saturating_mul(1_000_000)
        .saturating_add((u64::from(duration.subsec_nanos()) + 500) / 1000);
    match u8::try_from(total_us / 1000) {
        Ok(whole @ 0..10) => out.push(b'0' + whole),
        Ok(_) | Err(_) => {
            out.extend_from_slice(itoa::Buffer::new().format(total_us / 1000).as_bytes());
        }
    }
    let rest_us = total_us % 1000;
    let digit = |place: u64| b'0' + u8::try_from(rest_us / place % 10).unwrap_or_default();
    let decimals = [b'.', digit(100), digit(10), digit(1)];
    let zeros = match (decimals[2], decimals[3]) {
        (b'0', b'0') => 2,
        (_, b'0') => 1,
        _ => 0,
    };
    // A copy of a constant length takes a single store.
    out.extend_from_slice(&decimals);
    out.truncate(out.len() - zeros);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_have_one_to_three_decimals() {
        let text = |duration| {
            let mut out = Vec::new();
            append(duration, &mut out);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(text(Duration::ZERO), "0.0");
        assert_eq!(text(Duration::from_nanos(499)), "0.0");
        assert_eq!(text(Duration::from_nanos(500)), "0.001");
        assert_eq!(text(Duration::from_micros(10)), "0.01");
        assert_eq!(text(Duration::from_micros(240)), "0.24");
        assert_eq!(text(Duration::from_micros(100_100)), "100.1");
        assert_eq!(text(Duration::from_nanos(999_999_999)), "1000.0");
        assert_eq!(text(Duration::from_micros(1_204_338)), "1204.338");
        assert_eq!(text(Duration::from_micros(12_000)), "12.0");
        // The largest duration must not wrap around to a small one.
        assert!(text(Duration::MAX).len() >= 17);
    }
}
