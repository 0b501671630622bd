//! Formats values for a page.

/// Escapes text for an element or an attribute.
pub(in crate::report) fn escaped(text: &str) -> String {
    crate::report::escape::escaped(text).replace('\'', "&#39;")
}

/// A count with thousands separators.
pub(in crate::report) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds with a sensible number of digits.
pub(in crate::report) fn ms(value: f64) -> String {
    match value.abs() {
        100.0.. => count(value.abs().round() as u64),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Milliseconds with a unit.
pub(in crate::report) fn time(value: f64) -> String {
    match value {
        10_000.0.. => format!("{:.1} s", value / 1000.0),
        _ => format!("{} ms", ms(value)),
    }
}

/// A share from 0 to 1 in percent, with enough digits that a small share is not shown as 0.
pub(in crate::report) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.0 | 100.0 => format!("{percent:.0} %"),
        99.95.. => "> 99.9 %".to_owned(),
        10.0.. => format!("{} %", trimmed(percent, 1)),
        0.01.. => format!("{} %", trimmed(percent, 2)),
        _ => "< 0.01 %".to_owned(),
    }
}

/// A number with at most this many decimals.
fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A part as a share of the whole; 0 if that is 0.
pub(in crate::report) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Requests per second.
pub(in crate::report) fn rate(value: f64) -> String {
    match value {
        1000.0.. => format!("{}/s", count(value.round() as u64)),
        _ => format!("{}/s", trimmed(value, 1)),
    }
}

/// A duration in seconds with its units.
pub(in crate::report) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        7200.0.. => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        120.0.. if whole.is_multiple_of(60) => format!("{} min", whole / 60),
        120.0.. => format!("{} min {} s", whole / 60, whole % 60),
        _ if (seconds - seconds.round()).abs() < 0.005 => format!("{whole} s"),
        _ => format!("{seconds:.2} s"),
    }
}

/// A time in RFC 3339 and UTC, in a readable form.
pub(in crate::report) fn date(timestamp: &str) -> String {
    timestamp.replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_formatted_for_people() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.0, 1.234, 12.34, 123.4, 12_345.0].map(ms),
            ["0.00", "1.23", "12.3", "123", "12,345"]
        );
        assert_eq!(
            [0.0, 0.000_001, 0.005, 0.123, 0.999_99, 1.0].map(percent),
            ["0 %", "< 0.01 %", "0.5 %", "12.3 %", "> 99.9 %", "100 %"]
        );
        assert_eq!(
            [1.0, 0.25, 90.0, 120.0, 150.0, 7260.0].map(duration),
            ["1 s", "0.25 s", "90 s", "2 min", "2 min 30 s", "2 h 1 min"]
        );
        assert_eq!(date("2026-11-29T12:00:00Z"), "2026-11-29 12:00:00 UTC");
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(
            escaped("<a href='x' id=\"y\">&\u{1b}"),
            "&lt;a href=&#39;x&#39; id=&quot;y&quot;&gt;&amp;\u{fffd}"
        );
    }
}
