//! Strings: finds their ends and resolves their escapes.

use memchr::memchr2;

use super::{Interest, JsonPosition, JsonScanner, JsonValue, SHORT_BYTES_MAX, State, Visitor};

/// The state within an escape sequence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Escape {
    at: EscapeState,
    /// A high surrogate that awaits its low surrogate.
    high_surrogate: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default)]
enum EscapeState {
    #[default]
    None,
    Backslash,
    /// The number of hexadecimal digits read, and their value.
    Digits(u8, u16),
}

/// The fast path: a string without escapes that lies within one piece.
enum UnescapedString<'a> {
    /// The string, and what follows its closing quote.
    Complete(&'a [u8], &'a [u8]),
    Partial,
}

#[inline]
fn whole(text: &[u8]) -> UnescapedString<'_> {
    let end = plain(text);
    match text[end..].split_first() {
        Some((b'"', after)) => UnescapedString::Complete(&text[..end], after),
        _ => UnescapedString::Partial,
    }
}

impl<P: JsonPosition> JsonScanner<P> {
    /// Parses a name; its opening quote has been read.
    pub(super) fn name<'a, V>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        match whole(rest) {
            UnescapedString::Complete(name, after) => {
                self.take_name(name, visitor);
                match after.split_first() {
                    Some((b':', rest)) => {
                        self.state = State::Value;
                        rest
                    }
                    _ => after,
                }
            }
            UnescapedString::Partial => {
                self.state = State::InName;
                self.begin_string();
                rest
            }
        }
    }

    /// Parses a string value; its opening quote has been read.
    pub(super) fn string<'a, V>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        let UnescapedString::Complete(text, after) = whole(rest) else {
            self.state = State::InString;
            self.begin_string();
            return rest;
        };
        match self.position.interest() {
            Interest::Short => {
                let short = &text[..text.len().min(SHORT_BYTES_MAX)];
                visitor.value(self.position, JsonValue::String(short));
            }
            Interest::Text if !text.is_empty() => visitor.text(self.position, text),
            Interest::Text | Interest::Nothing => {}
        }
        self.after_value(after, visitor)
    }

    fn begin_string(&mut self) {
        self.held.clear();
        self.held_is_cut = false;
        self.escape = Escape::default();
    }

    fn take_name<V: Visitor<Position = P>>(&mut self, name: &[u8], visitor: &mut V) {
        let (of, _) = self.open[self.depth - 1];
        self.position = match name.len() <= SHORT_BYTES_MAX {
            true => visitor.member(of, name),
            false => P::IGNORED,
        };
        self.state = State::Colon;
    }

    pub(super) fn name_on<'a, V>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        let Some(after) = self.pieces(rest, Interest::Short, visitor) else {
            return &[];
        };
        if self.held_is_cut {
            self.position = P::IGNORED;
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
        V: Visitor<Position = P>,
    {
        let interest = self.position.interest();
        let Some(after) = self.pieces(rest, interest, visitor) else {
            return &[];
        };
        if interest == Interest::Short {
            visitor.value(self.position, JsonValue::String(&self.held));
        }
        self.after_value(after, visitor)
    }

    /// Passes on the pieces of a string up to its end; returns what follows it.
    fn pieces<'a, V>(
        &mut self,
        mut rest: &'a [u8],
        interest: Interest,
        visitor: &mut V,
    ) -> Option<&'a [u8]>
    where
        V: Visitor<Position = P>,
    {
        while let Some(&first) = rest.first() {
            match self.escape.at {
                EscapeState::None => {
                    let (piece, other) = rest.split_at(plain(rest));
                    if !piece.is_empty() {
                        self.flush_surrogate(interest, visitor);
                        self.take(piece, interest, visitor);
                    }
                    let (byte, after) = other.split_first()?;
                    if *byte == b'"' {
                        self.flush_surrogate(interest, visitor);
                        return Some(after);
                    }
                    self.escape.at = EscapeState::Backslash;
                    rest = after;
                }
                EscapeState::Backslash => {
                    self.escaped(first, interest, visitor);
                    rest = &rest[1..];
                }
                EscapeState::Digits(count, number) => match (first as char).to_digit(16) {
                    Some(digit) => {
                        // A hexadecimal digit is less than 16.
                        let number = (number << 4) | digit as u16;
                        self.escape.at = EscapeState::Digits(count + 1, number);
                        if count == 3 {
                            self.escape.at = EscapeState::None;
                            self.code_unit(number, interest, visitor);
                        }
                        rest = &rest[1..];
                    }
                    None => {
                        self.escape.at = EscapeState::None;
                        self.is_flawed = true;
                    }
                },
            }
        }
        None
    }

    /// Handles the byte after a backslash.
    fn escaped<V: Visitor<Position = P>>(&mut self, byte: u8, interest: Interest, visitor: &mut V) {
        self.escape.at = EscapeState::None;
        let resolved = match byte {
            b'u' => {
                self.escape.at = EscapeState::Digits(0, 0);
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
        self.flush_surrogate(interest, visitor);
        self.take(&[resolved], interest, visitor);
    }

    /// Handles a complete `\uXXXX`.
    fn code_unit<V: Visitor<Position = P>>(
        &mut self,
        unit: u16,
        interest: Interest,
        visitor: &mut V,
    ) {
        let units = match self.escape.high_surrogate.take() {
            Some(high) if matches!(unit, 0xdc00..=0xdfff) => [high, unit],
            high => {
                self.escape.high_surrogate = high;
                self.flush_surrogate(interest, visitor);
                if matches!(unit, 0xd800..=0xdbff) {
                    self.escape.high_surrogate = Some(unit);
                    return;
                }
                [unit, 0]
            }
        };
        let character = char::decode_utf16(units).next().and_then(Result::ok);
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.take(
            character.encode_utf8(&mut [0; 4]).as_bytes(),
            interest,
            visitor,
        );
    }

    /// Replaces a high surrogate without a low one by U+FFFD.
    fn flush_surrogate<V: Visitor<Position = P>>(&mut self, interest: Interest, visitor: &mut V) {
        if self.escape.high_surrogate.take().is_some() {
            let instead = char::REPLACEMENT_CHARACTER;
            self.take(
                instead.encode_utf8(&mut [0; 4]).as_bytes(),
                interest,
                visitor,
            );
        }
    }

    fn take<V: Visitor<Position = P>>(
        &mut self,
        piece: &[u8],
        interest: Interest,
        visitor: &mut V,
    ) {
        match interest {
            Interest::Nothing => {}
            Interest::Short => self.hold(piece),
            Interest::Text => visitor.text(self.position, piece),
        }
    }
}

/// The length of the text before the first quote or backslash.
#[inline]
pub(super) fn plain(text: &[u8]) -> usize {
    memchr2(b'"', b'\\', text).unwrap_or(text.len())
}
