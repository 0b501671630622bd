//! The interface between the parser and its visitors.

/// The position of a value in a document, as far as a visitor distinguishes positions.
pub trait JsonPosition: Copy + PartialEq {
    /// The document itself.
    const ROOT: Self;
    /// Values that the visitor does not need.
    const IGNORED: Self;

    /// Which values at this position are passed to the visitor.
    fn interest(self) -> Interest;
}

/// Which values are passed to a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Only containers and their contents.
    Nothing,
    /// Scalars too; strings are truncated to [`SHORT_BYTES_MAX`](super::SHORT_BYTES_MAX).
    Short,
    /// Scalars too; strings are passed in pieces to [`Visitor::text`].
    Text,
}

/// An object or an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Object,
    Array,
}

/// A scalar value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonValue<'a> {
    Null,
    True,
    False,
    /// As it is written.
    Number(&'a [u8]),
    /// Without quotes, escapes resolved; not always UTF-8.
    String(&'a [u8]),
    /// An invalid literal, such as `NaN`, or the `DONE` of `[DONE]`.
    Word(&'a [u8]),
}

/// How a document ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentEnd {
    Closed,
    /// Closed, but with a missing or malformed value, or a trailing comma.
    Flawed,
    /// An unexpected byte: the rest is skipped, at least up to the next line.
    Malformed,
    /// The text ended within the document.
    Truncated,
}

/// Receives the values at the positions that it selects.
pub trait Visitor {
    type Position: JsonPosition;

    /// The position of the member `name` of the object at `of`.
    fn member(&mut self, of: Self::Position, name: &[u8]) -> Self::Position;

    /// The position of the next element of the array at `of`.
    fn element(&mut self, of: Self::Position) -> Self::Position;

    /// A container that is not ignored begins.
    fn open(&mut self, _at: Self::Position, _container: Container) {}

    /// The container ends.
    fn close(&mut self, _at: Self::Position, _container: Container) {}

    /// A scalar at a position with [`Interest::Short`] or [`Interest::Text`]; for the latter, not a string.
    fn value(&mut self, _at: Self::Position, _value: JsonValue<'_>) {}

    /// The next non-empty piece of a string at a position with [`Interest::Text`]; pieces may split characters.
    fn text(&mut self, _at: Self::Position, _piece: &[u8]) {}

    /// A document ends.
    fn end(&mut self, _end: DocumentEnd) {}

    /// Whether a new document may begin on the line after a malformed one.
    fn resumes(&self) -> bool {
        true
    }
}

/// A visitor that ignores everything.
#[derive(Clone, Copy, Debug)]
pub struct IgnoreAll;

/// The only position of [`IgnoreAll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ignored;

impl JsonPosition for Ignored {
    const ROOT: Self = Ignored;
    const IGNORED: Self = Ignored;

    fn interest(self) -> Interest {
        Interest::Nothing
    }
}

impl Visitor for IgnoreAll {
    type Position = Ignored;

    fn member(&mut self, of: Ignored, _name: &[u8]) -> Ignored {
        of
    }

    fn element(&mut self, of: Ignored) -> Ignored {
        of
    }
}
