//! Passes the values of the parsed text to a visitor, as [`JsonScanner`](crate::model::json::JsonScanner) would, so
//! that it is not parsed twice.

use super::CanonicalParser;
use crate::cache::statefulness::StatefulnessPosition;
use crate::model::json::{
    Container, DEPTH_MAX, Interest, JsonPosition, JsonValue, SHORT_BYTES_MAX, Visitor,
};

/// The position of a value, for the visitor and for the cache itself.
#[derive(Clone, Copy)]
pub(super) struct Positions<P> {
    pub(super) visitor: P,
    pub(super) statefulness: StatefulnessPosition,
}

impl<P: JsonPosition> Positions<P> {
    pub(super) const ROOT: Self = Positions {
        visitor: P::ROOT,
        statefulness: StatefulnessPosition::ROOT,
    };

    /// The position of a container at this depth.
    #[inline]
    pub(super) fn within_depth(self, depth: u32) -> Self {
        match (depth as usize) < DEPTH_MAX {
            true => self,
            false => Positions {
                visitor: P::IGNORED,
                statefulness: StatefulnessPosition::IGNORED,
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

impl<V: Visitor> CanonicalParser<'_, V> {
    /// The position of the member whose name begins at `start` of the text.
    #[inline]
    pub(super) fn member_positions(
        &mut self,
        of: Positions<V::Position>,
        start: usize,
        escapes: Escapes,
    ) -> Positions<V::Position> {
        let bytes = &self.text[start + 1..self.text.len() - 1];
        let name = CanonicalString { bytes, escapes };
        Positions {
            visitor: member(self.visitor, of.visitor, name),
            statefulness: member(&mut self.statefulness, of.statefulness, name),
        }
    }

    #[inline]
    pub(super) fn element_positions(
        &mut self,
        of: Positions<V::Position>,
    ) -> Positions<V::Position> {
        Positions {
            visitor: element(self.visitor, of.visitor),
            statefulness: element(&mut self.statefulness, of.statefulness),
        }
    }

    #[inline]
    pub(super) fn visit_open(&mut self, at: Positions<V::Position>, container: Container) {
        if at.visitor != V::Position::IGNORED {
            self.visitor.open(at.visitor, container);
        }
        if at.statefulness != StatefulnessPosition::IGNORED {
            self.statefulness.open(at.statefulness, container);
        }
    }

    #[inline]
    pub(super) fn visit_close(&mut self, at: Positions<V::Position>, container: Container) {
        if at.visitor != V::Position::IGNORED {
            self.visitor.close(at.visitor, container);
        }
        if at.statefulness != StatefulnessPosition::IGNORED {
            self.statefulness.close(at.statefulness, container);
        }
    }

    #[inline]
    pub(super) fn visit_value(&mut self, at: Positions<V::Position>, value: JsonValue<'_>) {
        if at.visitor.interest() != Interest::Nothing {
            self.visitor.value(at.visitor, value);
        }
        if at.statefulness.interest() != Interest::Nothing {
            self.statefulness.value(at.statefulness, value);
        }
    }

    /// Passes on the string that begins at `start` of the text.
    #[inline]
    pub(super) fn visit_string(
        &mut self,
        at: Positions<V::Position>,
        start: usize,
        escapes: Escapes,
    ) {
        let bytes = &self.text[start + 1..self.text.len() - 1];
        let text = CanonicalString { bytes, escapes };
        string(self.visitor, at.visitor, text);
        string(&mut self.statefulness, at.statefulness, text);
    }

    pub(super) fn visit_number(&mut self, at: Positions<V::Position>, start: usize) {
        let is_needed = at.visitor.interest() != Interest::Nothing
            || at.statefulness.interest() != Interest::Nothing;
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
    #[inline]
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
