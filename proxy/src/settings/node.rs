//! The values of a file with their positions.

use std::ops::Range;

use secrecy::zeroize::Zeroizing;

use super::hashed::SecretHash;

/// A position in the file; line and column count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FilePosition {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl FilePosition {
    pub(crate) const START: FilePosition = FilePosition { line: 1, column: 1 };
}

/// One value.
#[derive(Clone)]
pub(crate) struct YamlNode {
    pub(crate) place: FilePosition,
    pub(crate) kind: NodeKind,
}

#[derive(Clone)]
pub(crate) enum NodeKind {
    /// Nothing, `~` or `null`.
    Null,
    Scalar(Scalar),
    /// A secret whose value was replaced when the file had been read.
    HashedSecret(SecretHash),
    Sequence(Vec<YamlNode>),
    /// Keys are not repeated: the first one counts.
    Mapping(Vec<(YamlKey, YamlNode)>),
    /// An error that has been reported already.
    Invalid,
}

#[derive(Clone)]
pub(crate) struct YamlKey {
    pub(crate) text: String,
    pub(crate) place: FilePosition,
    /// In the source.
    pub(crate) bytes: Range<usize>,
    /// Without one it may be a value whose key is missing.
    pub(crate) has_colon: bool,
}

/// A scalar before and after its `${...}` were replaced. It may be a secret: there is no `Debug`, and it is erased
/// from memory when it is dropped.
#[derive(Clone)]
pub(crate) struct Scalar {
    /// As written in the file: messages show this text.
    pub(crate) written: Zeroizing<String>,
    /// The value itself.
    pub(crate) text: Zeroizing<String>,
    pub(crate) substitution: Substitution,
    /// In the source; nothing in a default.
    pub(crate) bytes: Range<usize>,
    /// On one line, and not by an alias of what may be a secret elsewhere.
    pub(crate) stands_here: bool,
}

/// The result of replacing the `${...}` of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Substitution {
    /// There is none.
    None,
    Filled,
    /// One of them was empty.
    Empty,
}

impl YamlNode {
    pub(crate) fn described(&self) -> &'static str {
        match self.kind {
            NodeKind::Null => "nothing",
            NodeKind::Scalar(_) | NodeKind::HashedSecret(_) | NodeKind::Invalid => "a single value",
            NodeKind::Sequence(_) => "a list",
            NodeKind::Mapping(_) => "a mapping",
        }
    }

    /// Whether there is no value, or one whose variables are empty.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.kind {
            NodeKind::Null => true,
            NodeKind::Scalar(scalar) => scalar.text.trim().is_empty(),
            _ => false,
        }
    }

    /// Whether there is nothing, or only empty variables. An empty text that is written is a value.
    pub(crate) fn is_left_out(&self) -> bool {
        self.is_empty()
            && !matches!(&self.kind, NodeKind::Scalar(scalar) if scalar.substitution == Substitution::None)
    }

    /// Whether both have the same value, in whatever position.
    pub(crate) fn is_equal(&self, other: &YamlNode) -> bool {
        match (&self.kind, &other.kind) {
            (NodeKind::Scalar(one), NodeKind::Scalar(other)) => one.text == other.text,
            (NodeKind::Sequence(one), NodeKind::Sequence(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.is_equal(b))
            }
            (NodeKind::Mapping(one), NodeKind::Mapping(other)) => {
                let has = |(key, node): &(YamlKey, YamlNode)| {
                    let mut entries = other.iter();
                    entries.any(|(name, value)| name.text == key.text && node.is_equal(value))
                };
                one.len() == other.len() && one.iter().all(has)
            }
            (NodeKind::HashedSecret(one), NodeKind::HashedSecret(other)) => one == other,
            (NodeKind::HashedSecret(hash), NodeKind::Scalar(scalar))
            | (NodeKind::Scalar(scalar), NodeKind::HashedSecret(hash)) => {
                *hash == SecretHash::of(&scalar.text)
            }
            (NodeKind::Null, NodeKind::Null) | (NodeKind::Invalid, NodeKind::Invalid) => true,
            _ => false,
        }
    }

    pub(crate) fn substitution(&self) -> Substitution {
        match &self.kind {
            NodeKind::Scalar(scalar) => scalar.substitution,
            _ => Substitution::None,
        }
    }

    pub(crate) fn note_alias(&mut self) {
        match &mut self.kind {
            NodeKind::Scalar(scalar) => scalar.stands_here = false,
            NodeKind::Sequence(items) => items.iter_mut().for_each(YamlNode::note_alias),
            NodeKind::Mapping(entries) => {
                entries.iter_mut().for_each(|(_, value)| value.note_alias());
            }
            NodeKind::HashedSecret(_) | NodeKind::Null | NodeKind::Invalid => {}
        }
    }

    /// Replaces every secret by its hash.
    pub(crate) fn hash_secrets(&mut self, is_secret: &impl Fn(&Range<usize>) -> bool) {
        match &mut self.kind {
            NodeKind::Scalar(scalar) if !scalar.text.is_empty() && is_secret(&scalar.bytes) => {
                let hash = SecretHash::of(&scalar.text);
                self.kind = NodeKind::HashedSecret(hash);
            }
            NodeKind::Sequence(items) => {
                items
                    .iter_mut()
                    .for_each(|item| item.hash_secrets(is_secret));
            }
            NodeKind::Mapping(entries) => {
                for (_, value) in entries {
                    value.hash_secrets(is_secret);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn count(&self) -> usize {
        match &self.kind {
            NodeKind::Sequence(items) => 1 + items.iter().map(YamlNode::count).sum::<usize>(),
            NodeKind::Mapping(entries) => {
                1 + entries.iter().map(|(_, node)| node.count()).sum::<usize>()
            }
            _ => 1,
        }
    }

    pub(crate) fn depth(&self) -> usize {
        match &self.kind {
            NodeKind::Sequence(items) => 1 + items.iter().map(YamlNode::depth).max().unwrap_or(0),
            NodeKind::Mapping(entries) => {
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
