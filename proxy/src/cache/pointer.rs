//! JSON pointers (RFC 6901) to the values of a request body that are left out of the cache key.

use std::fmt;
use std::str::FromStr;

use crate::model::json::{DEPTH_MAX, SHORT_BYTES_MAX};

/// Pointers of one route. Together with [`DEPTH_MAX`] it bounds the tree of names.
pub const POINTERS_MAX: usize = 100;

/// A JSON pointer to a value inside a document, not to the whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    tokens: Vec<Box<str>>,
}

/// Why a text is not a JSON pointer that can be ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidPointer {
    WholeDocument,
    NoSlash,
    Fragment,
    Escape,
    TooDeep,
    TooLong,
}

impl fmt::Display for InvalidPointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidPointer::WholeDocument => formatter.write_str(
                "an empty JSON pointer is the whole body; name a member, such as /user",
            ),
            InvalidPointer::NoSlash => {
                formatter.write_str("a JSON pointer begins with `/`, such as /user")
            }
            InvalidPointer::Fragment => {
                formatter.write_str("a JSON pointer begins with `/`; remove the `#`")
            }
            InvalidPointer::Escape => formatter.write_str(
                "`~` is only valid as `~0` (a tilde) or `~1` (a slash) in a JSON pointer (RFC 6901)",
            ),
            InvalidPointer::TooDeep => {
                write!(formatter, "a JSON pointer has at most {DEPTH_MAX} names")
            }
            InvalidPointer::TooLong => write!(
                formatter,
                "a name in a JSON pointer has at most {SHORT_BYTES_MAX} bytes"
            ),
        }
    }
}

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        if text.is_empty() {
            return Err(InvalidPointer::WholeDocument);
        }
        let Some(names) = text.strip_prefix('/') else {
            return Err(match text.starts_with('#') {
                true => InvalidPointer::Fragment,
                false => InvalidPointer::NoSlash,
            });
        };
        let tokens: Vec<Box<str>> = names.split('/').map(unescaped).collect::<Result<_, _>>()?;
        if tokens.len() > DEPTH_MAX {
            return Err(InvalidPointer::TooDeep);
        }
        if tokens.iter().any(|token| token.len() > SHORT_BYTES_MAX) {
            return Err(InvalidPointer::TooLong);
        }
        Ok(Pointer { tokens })
    }
}

/// A reference token without its escapes.
fn unescaped(token: &str) -> Result<Box<str>, InvalidPointer> {
    let mut parts = token.split('~');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return Err(InvalidPointer::Escape),
        };
        text.push(character);
        text.push_str(rest);
    }
    Ok(text.into())
}

impl Pointer {
    /// Whether its value is a part of the other's value.
    #[must_use]
    pub fn is_inside(&self, other: &Pointer) -> bool {
        self.tokens.len() > other.tokens.len() && self.tokens.starts_with(&other.tokens)
    }

    /// The names on the way to the value, without escapes.
    #[must_use]
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.tokens.iter().map(|token| &**token)
    }
}

/// The place of a value in a [`PointerTree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PointerPosition {
    /// A pointer leads through this node.
    Node(u16),
    /// A pointer ends here.
    Matched,
    /// No pointer leads here.
    Outside,
}

impl PointerPosition {
    pub(super) const ROOT: Self = PointerPosition::Node(0);
}

/// The pointers of a route as a tree of names. A pointer to a value inside another pointer's value has no effect.
#[derive(Debug)]
pub(super) struct PointerTree {
    nodes: Vec<Vec<Branch>>,
}

#[derive(Debug)]
struct Branch {
    name: Box<[u8]>,
    /// The name as an index of an array.
    index: Option<usize>,
    to: PointerPosition,
}

impl PointerTree {
    pub(super) fn new(pointers: &[Pointer]) -> Self {
        let mut tree = PointerTree {
            nodes: vec![Vec::new()],
        };
        for pointer in pointers {
            tree.add(pointer);
        }
        tree
    }

    fn add(&mut self, pointer: &Pointer) {
        let mut node = 0;
        let last = pointer.tokens.len() - 1;
        for (depth, token) in pointer.tokens.iter().enumerate() {
            let known = self.nodes[node]
                .iter()
                .position(|branch| *branch.name == *token.as_bytes());
            let branch = known.unwrap_or_else(|| {
                self.nodes[node].push(Branch {
                    name: token.as_bytes().into(),
                    index: array_index(token),
                    to: PointerPosition::Outside,
                });
                self.nodes[node].len() - 1
            });
            if depth == last {
                self.nodes[node][branch].to = PointerPosition::Matched;
                return;
            }
            node = match self.nodes[node][branch].to {
                PointerPosition::Matched => return,
                PointerPosition::Node(next) => usize::from(next),
                PointerPosition::Outside => {
                    let next = self.nodes.len();
                    let Ok(number) = u16::try_from(next) else {
                        return;
                    };
                    self.nodes.push(Vec::new());
                    self.nodes[node][branch].to = PointerPosition::Node(number);
                    next
                }
            };
        }
    }

    /// The position of the member `name` of an object.
    pub(super) fn member(&self, of: PointerPosition, name: &[u8]) -> PointerPosition {
        self.branch(of, |branch| *branch.name == *name)
    }

    /// The position of the element `index` of an array.
    pub(super) fn element(&self, of: PointerPosition, index: usize) -> PointerPosition {
        self.branch(of, |branch| branch.index == Some(index))
    }

    fn branch(&self, of: PointerPosition, is_it: impl Fn(&Branch) -> bool) -> PointerPosition {
        let PointerPosition::Node(node) = of else {
            return PointerPosition::Outside;
        };
        let branches = self
            .nodes
            .get(usize::from(node))
            .map_or(&[][..], |node| node);
        let branch = branches.iter().find(|branch| is_it(branch));
        branch.map_or(PointerPosition::Outside, |branch| branch.to)
    }
}

/// An array index has no leading zeros (RFC 6901, section 4).
fn array_index(token: &str) -> Option<usize> {
    let is_canonical = token == "0"
        || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    is_canonical.then(|| token.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(pointers: &[&str]) -> PointerTree {
        let pointers = pointers.iter().map(|text| text.parse().expect(text));
        PointerTree::new(&pointers.collect::<Vec<_>>())
    }

    #[test]
    fn pointers_are_parsed_as_in_rfc_6901() {
        for (text, expected) in [
            ("/user", &["user"][..]),
            ("/", &[""]),
            ("/a/", &["a", ""]),
            ("/metadata/trace id", &["metadata", "trace id"]),
            ("/a~1b", &["a/b"]),
            ("/m~0n", &["m~n"]),
            ("/~01", &["~1"]),
            ("/~0~1~1", &["~//"]),
            ("/messages/0/name", &["messages", "0", "name"]),
            ("/名字", &["名字"]),
        ] {
            let pointer: Pointer = text.parse().expect(text);
            assert_eq!(pointer.tokens().collect::<Vec<_>>(), expected, "{text}");
        }
        let deep = "/a".repeat(DEPTH_MAX + 1);
        let long = format!("/{}", "a".repeat(SHORT_BYTES_MAX + 1));
        for (text, expected) in [
            ("", InvalidPointer::WholeDocument),
            ("user", InvalidPointer::NoSlash),
            ("$.user", InvalidPointer::NoSlash),
            ("#/user", InvalidPointer::Fragment),
            ("/~", InvalidPointer::Escape),
            ("/a~2", InvalidPointer::Escape),
            ("/~é", InvalidPointer::Escape),
            (&deep, InvalidPointer::TooDeep),
            (&long, InvalidPointer::TooLong),
        ] {
            assert_eq!(text.parse::<Pointer>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_tree_leads_to_the_values_of_its_pointers() {
        use PointerPosition::{Matched, Outside};
        const ROOT: PointerPosition = PointerPosition::ROOT;
        let tree = tree(&[
            "/user",
            "/metadata/trace",
            "/metadata",
            "/list/10/name",
            "/list/01",
        ]);
        assert_eq!(tree.member(ROOT, b"user"), Matched);
        assert_eq!(tree.member(ROOT, b"metadata"), Matched);
        assert_eq!(tree.member(ROOT, b"use"), Outside);
        assert_eq!(tree.element(ROOT, 0), Outside);
        let list = tree.member(ROOT, b"list");
        for position in [tree.element(list, 10), tree.member(list, b"10")] {
            assert_eq!(tree.member(position, b"name"), Matched);
            assert_eq!(tree.member(position, b"role"), Outside);
        }
        assert_eq!(tree.element(list, 1), Outside, "01 is no index");
        assert_eq!(tree.member(list, b"01"), Matched);
        assert_eq!(tree.member(Outside, b"user"), Outside);
        assert_eq!(tree.member(Matched, b"user"), Outside);
    }
}
