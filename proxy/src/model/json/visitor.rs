//! What the reader of a text wants to see of it, and how it gets it.

/// Where a value stands, as far as a visitor tells one place from another.
pub trait Place: Copy + PartialEq {
    /// The document itself.
    const ROOT: Self;
    /// What is of no interest.
    const NOWHERE: Self;

    /// What of a value at this place the visitor wants to see.
    fn wants(self) -> Wants;
}

/// What of a value a visitor wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Only containers, and what is in them.
    Nothing,
    /// Values too, a string cut to [`SHORT_BYTES_MAX`](super::SHORT_BYTES_MAX).
    Short,
    /// Values too, a string as [`Visitor::text`].
    Text,
}

/// An object or an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Object,
    Array,
}

/// A value that is no container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Null,
    True,
    False,
    /// As it is written.
    Number(&'a [u8]),
    /// Without its quotes and escapes; not always UTF-8.
    String(&'a [u8]),
    /// What stands for a value and is none, `NaN` say, or the `DONE` of `[DONE]`.
    Word(&'a [u8]),
}

/// How a document ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    /// Closed, but a value was missing or malformed, or a comma too many.
    Flawed,
    /// Not JSON from some byte on: nothing more is taken, at least up to the next line.
    Malformed,
    /// The text ended before it.
    Cut,
}

/// Is shown what stands at the places that it names.
pub trait Visitor {
    type Place: Place;

    /// Where the member `name` of the object at `of` stands.
    fn member(&mut self, of: Self::Place, name: &[u8]) -> Self::Place;

    /// Where the element of the array at `of` stands that comes next.
    fn element(&mut self, of: Self::Place) -> Self::Place;

    /// A container that is not nowhere begins.
    fn open(&mut self, _at: Self::Place, _container: Container) {}

    /// It ends.
    fn close(&mut self, _at: Self::Place, _container: Container) {}

    /// A value, where one is wanted; not a string where [`Wants::Text`] is.
    fn value(&mut self, _at: Self::Place, _value: Value<'_>) {}

    /// The next piece of a string where [`Wants::Text`] is: never empty, and cut anywhere.
    fn text(&mut self, _at: Self::Place, _piece: &[u8]) {}

    /// A document ends.
    fn end(&mut self, _end: End) {}

    /// Whether the next line behind a malformed document may begin another one.
    fn resumes(&self) -> bool {
        true
    }
}

/// Wants to see nothing.
#[derive(Clone, Copy, Debug)]
pub struct Unseen;

/// The one place of those who want to see nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nowhere;

impl Place for Nowhere {
    const ROOT: Self = Nowhere;
    const NOWHERE: Self = Nowhere;

    fn wants(self) -> Wants {
        Wants::Nothing
    }
}

impl Visitor for Unseen {
    type Place = Nowhere;

    fn member(&mut self, of: Nowhere, _name: &[u8]) -> Nowhere {
        of
    }

    fn element(&mut self, of: Nowhere) -> Nowhere {
        of
    }
}
