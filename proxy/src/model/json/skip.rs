//! What is of no interest is passed over by its strings and brackets alone.

use memchr::memchr3;

use super::strings::plain;
use super::{Container, Place, Scanner, Visitor};

/// A container that is skipped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skip {
    begins: u8,
    ends: u8,
    /// Brackets of its kind that are open. Those of the other kind need no count: in JSON they are
    /// balanced within it.
    open: u64,
    at: At,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Outside,
    String,
    /// In a string, behind a backslash.
    Escape,
}

impl Skip {
    /// Of a container whose bracket has been read.
    pub(super) fn inside(container: Container) -> Self {
        let (begins, ends) = match container {
            Container::Object => (b'{', b'}'),
            Container::Array => (b'[', b']'),
        };
        Skip {
            begins,
            ends,
            open: 1,
            at: At::Outside,
        }
    }

    /// What follows the container, if it ends in `rest`.
    fn pass<'a>(&mut self, mut rest: &'a [u8]) -> Option<&'a [u8]> {
        while !rest.is_empty() {
            match self.at {
                At::Outside => {
                    let at = memchr3(b'"', self.begins, self.ends, rest)?;
                    let byte = rest[at];
                    rest = &rest[at + 1..];
                    if byte == b'"' {
                        self.at = At::String;
                    } else if byte == self.begins {
                        self.open += 1;
                    } else {
                        self.open -= 1;
                        if self.open == 0 {
                            return Some(rest);
                        }
                    }
                }
                At::String => {
                    let (byte, after) = rest[plain(rest)..].split_first()?;
                    self.at = match byte {
                        b'"' => At::Outside,
                        _ => At::Escape,
                    };
                    rest = after;
                }
                At::Escape => {
                    self.at = At::String;
                    rest = &rest[1..];
                }
            }
        }
        None
    }
}

impl<P: Place> Scanner<P> {
    pub(super) fn skip_on<'a, V>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
    {
        match self.skip.pass(rest) {
            Some(after) => self.after_value(after, visitor),
            None => &[],
        }
    }
}
