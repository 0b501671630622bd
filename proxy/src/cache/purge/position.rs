//! Positions in the stream of purges, which orders them over all replicas.

use std::str::FromStr;

/// A position in the stream of purges: the milliseconds since the Unix epoch on the clock of Redis, and a number within them. Zero is
/// before every purge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PurgePosition {
    pub milliseconds: u64,
    pub number: u64,
}

/// Not the id of an entry of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPosition;

impl FromStr for PurgePosition {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (milliseconds, number) = text.split_once('-').ok_or(InvalidPosition)?;
        let number_of = |text: &str| text.parse().map_err(|_| InvalidPosition);
        Ok(PurgePosition {
            milliseconds: number_of(milliseconds)?,
            number: number_of(number)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_a_stream() {
        let position = "1700000000000-12".parse();
        let expected = PurgePosition {
            milliseconds: 1_700_000_000_000,
            number: 12,
        };
        assert_eq!(position, Ok(expected));
        for invalid in [
            "",
            "1",
            "-",
            "1-",
            "-1",
            "1-2-3",
            "a-1",
            "1-99999999999999999999",
        ] {
            assert_eq!(
                invalid.parse::<PurgePosition>(),
                Err(InvalidPosition),
                "{invalid}"
            );
        }
        assert!(PurgePosition::default() < expected);
    }
}
