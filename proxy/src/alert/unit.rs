//! What a value is counted in, and how people write it.

/// What a value is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// From 0 to 1.
    Share,
    Seconds,
    Count,
}

impl Unit {
    /// A value as people write it.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Share => format!("{} %", short(value * 100.0)),
            Unit::Seconds if value.abs() < 1.0 => format!("{} ms", short(value * 1000.0)),
            Unit::Seconds => format!("{} s", short(value)),
            Unit::Count => short(value),
        }
    }

    /// What a threshold in this unit looks like in the configuration.
    #[must_use]
    pub const fn example(self) -> &'static str {
        match self {
            Unit::Share => "a share such as 1%",
            Unit::Seconds => "a duration such as 500ms",
            Unit::Count => "a whole number such as 0",
        }
    }
}

/// Two decimal places, without trailing zeros.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_people_write_them() {
        assert_eq!(Unit::Share.show(0.0312), "3.12 %");
        assert_eq!(Unit::Share.show(1.0), "100 %");
        assert_eq!(Unit::Seconds.show(0.5), "500 ms");
        assert_eq!(Unit::Seconds.show(1.5), "1.5 s");
        assert_eq!(Unit::Count.show(3.0), "3");
        assert_eq!(Unit::Count.show(0.0), "0");
    }
}
