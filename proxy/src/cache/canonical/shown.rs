//! Shows the text that is parsed for its canonical form to a visitor, as
//! [`json::JsonScanner`](crate::model::json::JsonScanner) would, so that it need not be parsed again.

use super::Reader;
use crate::cache::statefulness;
use crate::model::json::{
    Container, DEPTH_MAX, Interest, JsonPosition, JsonValue, SHORT_BYTES_MAX, Visitor,
};

/// The place of a value, for the visitor and for the cache itself.
#[derive(Clone, Copy)]
pub(super) struct Places<P> {
    pub(super) visitor: P,
    pub(super) statefulness: statefulness::At,
}

impl<P: JsonPosition> Places<P> {
    pub(super) const ROOT: Self = Places {
        visitor: P::ROOT,
        statefulness: statefulness::At::ROOT,
    };

    /// The place of a container at this depth.
    #[inline]
    pub(super) fn within_depth(self, depth: u32) -> Self {
        match (depth as usize) < DEPTH_MAX {
            true => self,
            false => Places {
                visitor: P::IGNORED,
                statefulness: statefulness::At::IGNORED,
            },
        }
    }
}

/// A string in the canonical text, without its quotes.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) escapes: Escapes,
}

/// Whether a string in the canonical text contains quotes or backslashes, each escaped by a backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    None,
    Some,
}

impl<V: Visitor> Reader<'_, V> {
    /// The place of the member whose name begins at `start` of the text.
    #[inline]
    pub(super) fn member_places(
        &mut self,
        of: Places<V::Position>,
        start: usize,
        escapes: Escapes,
    ) -> Places<V::Position> {
        let bytes = &self.text[start + 1..self.text.len() - 1];
        let name = Text { bytes, escapes };
        Places {
            visitor: member(self.visitor, of.visitor, name),
            statefulness: member(&mut self.statefulness, of.statefulness, name),
        }
    }

    #[inline]
    pub(super) fn element_places(&mut self, of: Places<V::Position>) -> Places<V::Position> {
        Places {
            visitor: element(self.visitor, of.visitor),
            statefulness: element(&mut self.statefulness, of.statefulness),
        }
    }

    #[inline]
    pub(super) fn show_open(&mut self, at: Places<V::Position>, container: Container) {
        if at.visitor != V::Position::IGNORED {
            self.visitor.open(at.visitor, container);
        }
        if at.statefulness != statefulness::At::IGNORED {
            self.statefulness.open(at.statefulness, container);
        }
    }

    #[inline]
    pub(super) fn show_close(&mut self, at: Places<V::Position>, container: Container) {
        if at.visitor != V::Position::IGNORED {
            self.visitor.close(at.visitor, container);
        }
        if at.statefulness != statefulness::At::IGNORED {
            self.statefulness.close(at.statefulness, container);
        }
    }

    #[inline]
    pub(super) fn show_value(&mut self, at: Places<V::Position>, value: JsonValue<'_>) {
        if at.visitor.interest() != Interest::Nothing {
            self.visitor.value(at.visitor, value);
        }
        if at.statefulness.interest() != Interest::Nothing {
            self.statefulness.value(at.statefulness, value);
        }
    }

    /// Shows the string that begins at `start` of the text.
    #[inline]
    pub(super) fn show_string(&mut self, at: Places<V::Position>, start: usize, escapes: Escapes) {
        let bytes = &self.text[start + 1..self.text.len() - 1];
        let text = Text { bytes, escapes };
        string(self.visitor, at.visitor, text);
        string(&mut self.statefulness, at.statefulness, text);
    }

    pub(super) fn show_number(&mut self, at: Places<V::Position>, start: usize) {
        let wanted = at.visitor.interest() != Interest::Nothing
            || at.statefulness.interest() != Interest::Nothing;
        if wanted {
            let number = &self.source[start..self.at];
            self.show_value(
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
fn member<V: Visitor>(visitor: &mut V, of: V::Position, name: Text<'_>) -> V::Position {
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
fn string<V: Visitor>(visitor: &mut V, at: V::Position, text: Text<'_>) {
    match at.interest() {
        Interest::Nothing => {}
        Interest::Short => text.whole(|text| {
            let short = &text[..text.len().min(SHORT_BYTES_MAX)];
            visitor.value(at, JsonValue::String(short));
        }),
        Interest::Text => text.pieces(|piece| visitor.text(at, piece)),
    }
}

impl<'a> Text<'a> {
    /// Passes on the text without escapes.
    #[inline]
    fn whole<T>(self, take: impl FnOnce(&[u8]) -> T) -> T {
        if self.escapes == Escapes::None {
            return take(self.bytes);
        }
        let mut all = Vec::with_capacity(self.bytes.len());
        self.pieces(|piece| all.extend_from_slice(piece));
        take(&all)
    }

    /// The text in pieces, none of them empty.
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
                // The byte behind a backslash is plain, also if it is a backslash.
                rest = &after[1..];
                from = 1;
            }
        }
        if !rest.is_empty() {
            take(rest);
        }
    }
}
