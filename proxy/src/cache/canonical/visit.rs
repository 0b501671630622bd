//! Passes the values of the parsed text to a visitor, as [`JsonScanner`](crate::model::json::JsonScanner) would, so
//! that it is not parsed twice.

use super::CanonicalParser;
use crate::cache::body_rules::BodyRules;
use crate::model::json::{
    Container, DEPTH_MAX, Interest, JsonPosition, JsonValue, SHORT_BYTES_MAX, Visitor,
};

/// The position of a value, for the visitor and for the cache itself.
#[derive(Clone, Copy)]
pub(super) struct Positions<P, Q> {
    pub(super) visitor: P,
    pub(super) rules: Q,
}

/// The position for a visitor and rules.
pub(super) type At<V, R> = Positions<<V as Visitor>::Position, <R as Visitor>::Position>;

impl<P: JsonPosition, Q: JsonPosition> Positions<P, Q> {
    pub(super) const ROOT: Self = Positions {
        visitor: P::ROOT,
        rules: Q::ROOT,
    };

    /// The position of a container at this depth.
    #[inline]
    pub(super) fn within_depth(self, depth: u32) -> Self {
        match (depth as usize) < DEPTH_MAX {
            true => self,
            false => Positions {
                visitor: P::IGNORED,
                rules: Q::IGNORED,
            },
        }
    }
}

/// A string in the canonical text, without its quotes.
#[derive(Clone, Copy)]
pub(super) struct CanonicalString<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) escapes: Escapes,
}

/// Whether a string in the canonical text contains quotes or backslashes, each escaped by a backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    None,
    Some,
}

impl<V: Visitor, R: BodyRules> CanonicalParser<'_, V, R> {
    /// The position of the member whose name begins at `start` of the text.
    #[inline]
    pub(super) fn member_positions(
        &mut self,
        of: At<V, R>,
        start: usize,
        escapes: Escapes,
    ) -> At<V, R> {
        let bytes = &self.text[start + 1..self.text.len() - 1];
        let name = CanonicalString { bytes, escapes };
        Positions {
            visitor: member(self.visitor, of.visitor, name),
            rules: member(&mut self.rules, of.rules, name),
        }
    }

    #[inline]
    pub(super) fn element_positions(&mut self, of: At<V, R>, index: usize) -> At<V, R> {
        Positions {
            visitor: element(self.visitor, of.visitor),
            rules: match of.rules == R::Position::IGNORED {
                true => of.rules,
                false => self.rules.element_at(of.rules, index),
            },
        }
    }

    #[inline]
    pub(super) fn visit_open(&mut self, at: At<V, R>, container: Container) {
        if at.visitor != V::Position::IGNORED {
            self.visitor.open(at.visitor, container);
        }
        if at.rules != R::Position::IGNORED {
            self.rules.open(at.rules, container);
        }
    }

    #[inline]
    pub(super) fn visit_close(&mut self, at: At<V, R>, container: Container) {
        if at.visitor != V::Position::IGNORED {
            self.visitor.close(at.visitor, container);
        }
        if at.rules != R::Position::IGNORED {
            self.rules.close(at.rules, container);
        }
    }

    #[inline]
    pub(super) fn visit_value(&mut self, at: At<V, R>, value: JsonValue<'_>) {
        if at.visitor.interest() != Interest::Nothing {
            self.visitor.value(at.visitor, value);
        }
        if at.rules.interest() != Interest::Nothing {
            self.rules.value(at.rules, value);
        }
    }

    /// Passes on the string that begins at `start` of the text.
    #[inline]
    pub(super) fn visit_string(&mut self, at: At<V, R>, start: usize, escapes: Escapes) {
        let bytes = &self.text[start + 1..self.text.len() - 1];
        let text = CanonicalString { bytes, escapes };
        string(self.visitor, at.visitor, text);
        string(&mut self.rules, at.rules, text);
    }

    pub(super) fn visit_number(&mut self, at: At<V, R>, start: usize) {
        let is_needed =
            at.visitor.interest() != Interest::Nothing || at.rules.interest() != Interest::Nothing;
        if is_needed {
            let number = &self.source[start..self.at];
            self.visit_value(
                at,
                match number.len() <= SHORT_BYTES_MAX {
                    true => JsonValue::Number(number),
                    false => JsonValue::Word(&number[..SHORT_BYTES_MAX]),
                },
            );
        }
    }
}

#[inline]
fn member<V: Visitor>(visitor: &mut V, of: V::Position, name: CanonicalString<'_>) -> V::Position {
    if of == V::Position::IGNORED {
        return of;
    }
    name.whole(|name| match name.len() <= SHORT_BYTES_MAX {
        true => visitor.member(of, name),
        false => V::Position::IGNORED,
    })
}

#[inline]
fn element<V: Visitor>(visitor: &mut V, of: V::Position) -> V::Position {
    match of == V::Position::IGNORED {
        true => of,
        false => visitor.element(of),
    }
}

#[inline]
fn string<V: Visitor>(visitor: &mut V, at: V::Position, text: CanonicalString<'_>) {
    match at.interest() {
        Interest::Nothing => {}
        Interest::Short => text.whole(|text| {
            let short = &text[..text.len().min(SHORT_BYTES_MAX)];
            visitor.value(at, JsonValue::String(short));
        }),
        Interest::Text => text.pieces(|piece| visitor.text(at, piece)),
    }
}

impl<'a> CanonicalString<'a> {
    /// Passes on the string without escapes.
    #[inline(always)]
    fn whole<T>(self, take: impl FnOnce(&[u8]) -> T) -> T {
        if self.escapes == Escapes::None {
            return take(self.bytes);
        }
        let mut all = Vec::with_capacity(self.bytes.len());
        self.pieces(|piece| all.extend_from_slice(piece));
        take(&all)
    }

    /// Passes on the string in non-empty pieces without escapes.
    #[inline]
    fn pieces(self, mut take: impl FnMut(&'a [u8])) {
        let mut rest = self.bytes;
        if self.escapes == Escapes::Some {
            let mut from = 0;
            while let Some(at) = memchr::memchr(b'\\', &rest[from..]) {
                let (piece, after) = rest.split_at(from + at);
                if !piece.is_empty() {
                    take(piece);
                }
                // The byte after a backslash is literal, even if it is a backslash.
                rest = &after[1..];
                from = 1;
            }
        }
        if !rest.is_empty() {
            take(rest);
        }
    }
}
