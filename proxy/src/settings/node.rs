//! One value of a file, and its place.

use std::ops::Range;

/// Where something stands in the file; line and column count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    pub(crate) const START: Place = Place { line: 1, column: 1 };
}

/// One value.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

#[derive(Clone)]
pub(crate) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    Scalar(Scalar),
    Sequence(Vec<Node>),
    /// Keys are not repeated: the first one counts.
    Mapping(Vec<(Key, Node)>),
    /// An error that has been reported already.
    Invalid,
}

#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) place: Place,
    /// In the source.
    pub(crate) bytes: Range<usize>,
    /// Without one it may be a value that lost its key.
    pub(crate) has_colon: bool,
}

/// A scalar before and after its `${...}` were replaced. There is no `Debug`: it may be a secret.
#[derive(Clone)]
pub(crate) struct Scalar {
    /// As it stands in the file: this is what messages show.
    pub(crate) written: String,
    /// The value itself.
    pub(crate) text: String,
    pub(crate) substitution: Substitution,
    /// In the source; nothing in a default.
    pub(crate) bytes: Range<usize>,
    /// On one line, and not by an alias of what may be a secret elsewhere.
    pub(crate) stands_here: bool,
}

/// What became of the `${...}` of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Substitution {
    /// There is none.
    None,
    Filled,
    /// One of them came out empty.
    Empty,
}

impl Node {
    pub(crate) fn described(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Scalar(_) | Kind::Invalid => "a single value",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }

    /// Whether there is nothing in it: no value, or one whose variables came out empty.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Null => true,
            Kind::Scalar(scalar) => scalar.text.trim().is_empty(),
            _ => false,
        }
    }

    /// Nothing, or nothing but variables that came out empty. An empty text that is written is a value.
    pub(crate) fn is_left_out(&self) -> bool {
        self.is_empty()
            && !matches!(&self.kind, Kind::Scalar(scalar) if scalar.substitution == Substitution::None)
    }

    /// Whether both have the same value, wherever they stand.
    pub(crate) fn is_equal(&self, other: &Node) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Scalar(one), Kind::Scalar(other)) => one.text == other.text,
            (Kind::Sequence(one), Kind::Sequence(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.is_equal(b))
            }
            (Kind::Mapping(one), Kind::Mapping(other)) => {
                let has = |(key, node): &(Key, Node)| {
                    let mut entries = other.iter();
                    entries.any(|(name, value)| name.text == key.text && node.is_equal(value))
                };
                one.len() == other.len() && one.iter().all(has)
            }
            (Kind::Null, Kind::Null) | (Kind::Invalid, Kind::Invalid) => true,
            _ => false,
        }
    }

    pub(crate) fn substitution(&self) -> Substitution {
        match &self.kind {
            Kind::Scalar(scalar) => scalar.substitution,
            _ => Substitution::None,
        }
    }

    pub(crate) fn note_alias(&mut self) {
        match &mut self.kind {
            Kind::Scalar(scalar) => scalar.stands_here = false,
            Kind::Sequence(items) => items.iter_mut().for_each(Node::note_alias),
            Kind::Mapping(entries) => entries.iter_mut().for_each(|(_, value)| value.note_alias()),
            Kind::Null | Kind::Invalid => {}
        }
    }

    pub(crate) fn count(&self) -> usize {
        match &self.kind {
            Kind::Sequence(items) => 1 + items.iter().map(Node::count).sum::<usize>(),
            Kind::Mapping(entries) => {
                1 + entries.iter().map(|(_, node)| node.count()).sum::<usize>()
            }
            _ => 1,
        }
    }

    pub(crate) fn depth(&self) -> usize {
        match &self.kind {
            Kind::Sequence(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Kind::Mapping(entries) => {
                1 + entries
                    .iter()
                    .map(|(_, node)| node.depth())
                    .max()
                    .unwrap_or(0)
            }
            _ => 1,
        }
    }
}
