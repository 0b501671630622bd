//! Range requests (RFC 9110, section 14): which part of a stored response is served.

use std::ops::Range;

/// The part of a response that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RangePart {
    /// `Range` is ignored: another unit, an invalid value, or several ranges.
    Whole,
    Of(Range<usize>),
    /// 416.
    Unsatisfiable,
}

/// The part that the value of `Range` asks of a body of `length` bytes. Several ranges are served as the whole, which
/// RFC 9110 allows: they are rare, and multipart bodies are a way to make a server send more than it has.
pub(super) fn part(value: &[u8], length: usize) -> RangePart {
    let Some(ranges) = value
        .split_at_checked(6)
        .filter(|(unit, _)| unit.eq_ignore_ascii_case(b"bytes="))
        .map(|(_, ranges)| ranges.trim_ascii())
    else {
        return RangePart::Whole;
    };
    let mut halves = ranges.splitn(2, |byte| *byte == b'-');
    let (Some(first), Some(last)) = (halves.next(), halves.next()) else {
        return RangePart::Whole;
    };
    match (number(first), number(last)) {
        (Number::Missing, Number::Of(0)) => RangePart::Unsatisfiable,
        (Number::Missing, Number::Of(suffix)) if length > 0 => {
            RangePart::Of(length.saturating_sub(suffix)..length)
        }
        (Number::Missing, Number::Of(_)) => RangePart::Unsatisfiable,
        (Number::Of(first), Number::Of(last)) if last < first => RangePart::Whole,
        (Number::Of(first), Number::Of(_) | Number::Missing) if first >= length => {
            RangePart::Unsatisfiable
        }
        (Number::Of(first), Number::Of(last)) => {
            RangePart::Of(first..last.saturating_add(1).min(length))
        }
        (Number::Of(first), Number::Missing) => RangePart::Of(first..length),
        (Number::Missing, Number::Missing) | (Number::Invalid, _) | (_, Number::Invalid) => {
            RangePart::Whole
        }
    }
}

enum Number {
    Missing,
    Of(usize),
    Invalid,
}

/// A decimal number, saturating.
fn number(text: &[u8]) -> Number {
    let add = |sum: usize, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'))
    };
    match text.trim_ascii() {
        [] => Number::Missing,
        digits if digits.iter().all(u8::is_ascii_digit) => Number::Of(digits.iter().fold(0, add)),
        _ => Number::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_a_part_and_anything_else_the_whole() {
        // RFC 9110, section 14.1.2.
        for (value, expected) in [
            ("bytes=0-1", RangePart::Of(0..2)),
            ("Bytes=0-1", RangePart::Of(0..2)),
            ("bytes= 0-1 ", RangePart::Of(0..2)),
            ("bytes=0-", RangePart::Of(0..10)),
            ("bytes=9-9", RangePart::Of(9..10)),
            ("bytes=5-100", RangePart::Of(5..10)),
            ("bytes=5-99999999999999999999999", RangePart::Of(5..10)),
            ("bytes=-3", RangePart::Of(7..10)),
            ("bytes=-30", RangePart::Of(0..10)),
            ("bytes=-0", RangePart::Unsatisfiable),
            ("bytes=10-", RangePart::Unsatisfiable),
            ("bytes=10-12", RangePart::Unsatisfiable),
            ("bytes=99999999999999999999999-", RangePart::Unsatisfiable),
            ("bytes=5-4", RangePart::Whole),
            ("bytes=-", RangePart::Whole),
            ("bytes=", RangePart::Whole),
            ("bytes", RangePart::Whole),
            ("bytes=a-b", RangePart::Whole),
            ("bytes=0-1,4-5", RangePart::Whole),
            ("bytes=1-2-3", RangePart::Whole),
            ("items=0-1", RangePart::Whole),
            ("", RangePart::Whole),
        ] {
            assert_eq!(part(value.as_bytes(), 10), expected, "{value}");
        }
        assert_eq!(part(b"bytes=0-", 0), RangePart::Unsatisfiable);
        assert_eq!(part(b"bytes=-1", 0), RangePart::Unsatisfiable);
    }
}
