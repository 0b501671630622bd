//! Skips ignored containers by matching only their strings and brackets.

use memchr::memchr3;

use super::strings::plain;
use super::{Container, JsonPosition, JsonScanner, Visitor};

/// The state within a skipped container.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skip {
    begins: u8,
    ends: u8,
    /// Open brackets of its kind. Those of the other kind need no counter: in JSON they are balanced within it.
    open: u64,
    at: SkipState,
}

#[derive(Clone, Copy, Debug, Default)]
enum SkipState {
    #[default]
    Outside,
    String,
    /// In a string, after a backslash.
    Escape,
}

impl Skip {
    /// For a container whose opening bracket has been read.
    pub(super) fn inside(container: Container) -> Self {
        let (begins, ends) = match container {
            Container::Object => (b'{', b'}'),
            Container::Array => (b'[', b']'),
        };
        Skip {
            begins,
            ends,
            open: 1,
            at: SkipState::Outside,
        }
    }

    /// Skips within `rest`; returns what follows the container if it ends there.
    fn pass<'a>(&mut self, mut rest: &'a [u8]) -> Option<&'a [u8]> {
        while !rest.is_empty() {
            match self.at {
                SkipState::Outside => {
                    let at = memchr3(b'"', self.begins, self.ends, rest)?;
                    let byte = rest[at];
                    rest = &rest[at + 1..];
                    if byte == b'"' {
                        self.at = SkipState::String;
                    } else if byte == self.begins {
                        self.open += 1;
                    } else {
                        self.open -= 1;
                        if self.open == 0 {
                            return Some(rest);
                        }
                    }
                }
                SkipState::String => {
                    let (byte, after) = rest[plain(rest)..].split_first()?;
                    self.at = match byte {
                        b'"' => SkipState::Outside,
                        _ => SkipState::Escape,
                    };
                    rest = after;
                }
                SkipState::Escape => {
                    self.at = SkipState::String;
                    rest = &rest[1..];
                }
            }
        }
        None
    }
}

impl<P: JsonPosition> JsonScanner<P> {
    pub(super) fn skip_on<'a, V>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        match self.skip.pass(rest) {
            Some(after) => self.after_value(after, visitor),
            None => &[],
        }
    }
}
