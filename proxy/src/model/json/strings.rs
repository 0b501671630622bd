//! Strings: where they end, and what their escapes stand for.

use memchr::memchr2;

use super::{Place, SHORT_BYTES_MAX, Scanner, State, Value, Visitor, Wants};

/// What of an escape has been read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Escape {
    at: At,
    /// The first half of a character beyond U+FFFF, whose second must follow.
    half: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    None,
    Backslash,
    /// So many digits, and the number that they are.
    Digits(u8, u16),
}

/// A string, or a part of one, without escapes.
enum Plain<'a> {
    /// It ends in this piece; what follows its quote.
    Whole(&'a [u8], &'a [u8]),
    Begun,
}

#[inline]
fn whole(text: &[u8]) -> Plain<'_> {
    let end = plain(text);
    match text[end..].split_first() {
        Some((b'"', after)) => Plain::Whole(&text[..end], after),
        _ => Plain::Begun,
    }
}

impl<P: Place> Scanner<P> {
    /// Reads a name; its quote has been read.
    pub(super) fn name<'a, V>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
    {
        match whole(rest) {
            Plain::Whole(name, after) => {
                self.take_name(name, visitor);
                match after.split_first() {
                    Some((b':', rest)) => {
                        self.state = State::Value;
                        rest
                    }
                    _ => after,
                }
            }
            Plain::Begun => {
                self.state = State::InName;
                self.begin_string();
                rest
            }
        }
    }

    /// Reads a string that is a value; its quote has been read.
    pub(super) fn string<'a, V>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
    {
        let Plain::Whole(text, after) = whole(rest) else {
            self.state = State::InString;
            self.begin_string();
            return rest;
        };
        match self.place.wants() {
            Wants::Short => {
                let short = &text[..text.len().min(SHORT_BYTES_MAX)];
                visitor.value(self.place, Value::String(short));
            }
            Wants::Text if !text.is_empty() => visitor.text(self.place, text),
            Wants::Text | Wants::Nothing => {}
        }
        self.after_value(after, visitor)
    }

    fn begin_string(&mut self) {
        self.held.clear();
        self.held_is_cut = false;
        self.escape = Escape::default();
    }

    fn take_name<V: Visitor<Place = P>>(&mut self, name: &[u8], visitor: &mut V) {
        let (of, _) = self.open[self.depth - 1];
        self.place = match name.len() <= SHORT_BYTES_MAX {
            true => visitor.member(of, name),
            false => P::NOWHERE,
        };
        self.state = State::Colon;
    }

    pub(super) fn name_on<'a, V>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
    {
        let Some(after) = self.pieces(rest, Wants::Short, visitor) else {
            return &[];
        };
        if self.held_is_cut {
            self.place = P::NOWHERE;
            self.state = State::Colon;
        } else {
            let held = std::mem::take(&mut self.held);
            self.take_name(&held, visitor);
            self.held = held;
        }
        after
    }

    pub(super) fn string_on<'a, V>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
    {
        let wants = self.place.wants();
        let Some(after) = self.pieces(rest, wants, visitor) else {
            return &[];
        };
        if wants == Wants::Short {
            visitor.value(self.place, Value::String(&self.held));
        }
        self.after_value(after, visitor)
    }

    /// Takes the pieces of a string up to its end, and gives what follows that.
    fn pieces<'a, V>(
        &mut self,
        mut rest: &'a [u8],
        wants: Wants,
        visitor: &mut V,
    ) -> Option<&'a [u8]>
    where
        V: Visitor<Place = P>,
    {
        while let Some(&first) = rest.first() {
            match self.escape.at {
                At::None => {
                    let (piece, other) = rest.split_at(plain(rest));
                    if !piece.is_empty() {
                        self.end_half(wants, visitor);
                        self.take(piece, wants, visitor);
                    }
                    let (byte, after) = other.split_first()?;
                    if *byte == b'"' {
                        self.end_half(wants, visitor);
                        return Some(after);
                    }
                    self.escape.at = At::Backslash;
                    rest = after;
                }
                At::Backslash => {
                    self.escaped(first, wants, visitor);
                    rest = &rest[1..];
                }
                At::Digits(count, number) => match (first as char).to_digit(16) {
                    Some(digit) => {
                        // A hexadecimal digit is less than 16.
                        let number = (number << 4) | digit as u16;
                        self.escape.at = At::Digits(count + 1, number);
                        if count == 3 {
                            self.escape.at = At::None;
                            self.code_unit(number, wants, visitor);
                        }
                        rest = &rest[1..];
                    }
                    None => {
                        self.escape.at = At::None;
                        self.is_flawed = true;
                    }
                },
            }
        }
        None
    }

    /// The byte behind a backslash.
    fn escaped<V: Visitor<Place = P>>(&mut self, byte: u8, wants: Wants, visitor: &mut V) {
        self.escape.at = At::None;
        let stands_for = match byte {
            b'u' => {
                self.escape.at = At::Digits(0, 0);
                return;
            }
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'"' | b'\\' | b'/' => byte,
            _ => {
                self.is_flawed = true;
                byte
            }
        };
        self.end_half(wants, visitor);
        self.take(&[stands_for], wants, visitor);
    }

    /// A whole `\uXXXX`.
    fn code_unit<V: Visitor<Place = P>>(&mut self, unit: u16, wants: Wants, visitor: &mut V) {
        let units = match self.escape.half.take() {
            Some(half) if matches!(unit, 0xdc00..=0xdfff) => [half, unit],
            half => {
                self.escape.half = half;
                self.end_half(wants, visitor);
                if matches!(unit, 0xd800..=0xdbff) {
                    self.escape.half = Some(unit);
                    return;
                }
                [unit, 0]
            }
        };
        let character = char::decode_utf16(units).next().and_then(Result::ok);
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.take(
            character.encode_utf8(&mut [0; 4]).as_bytes(),
            wants,
            visitor,
        );
    }

    /// The second half of a character did not come.
    fn end_half<V: Visitor<Place = P>>(&mut self, wants: Wants, visitor: &mut V) {
        if self.escape.half.take().is_some() {
            let instead = char::REPLACEMENT_CHARACTER;
            self.take(instead.encode_utf8(&mut [0; 4]).as_bytes(), wants, visitor);
        }
    }

    fn take<V: Visitor<Place = P>>(&mut self, piece: &[u8], wants: Wants, visitor: &mut V) {
        match wants {
            Wants::Nothing => {}
            Wants::Short => self.hold(piece),
            Wants::Text => visitor.text(self.place, piece),
        }
    }
}

/// Up to where a text has neither a quote nor a backslash.
#[inline]
pub(super) fn plain(text: &[u8]) -> usize {
    memchr2(b'"', b'\\', text).unwrap_or(text.len())
}
