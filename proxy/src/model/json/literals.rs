//! Numbers, `true`, `false` and `null`, and invalid literals.

use super::{Interest, JsonPosition, JsonScanner, JsonValue, SHORT_BYTES_MAX, State, Visitor};

impl<P: JsonPosition> JsonScanner<P> {
    /// Parses the number or word at the start of `rest`.
    pub(super) fn literal<'a, V>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        let Some(end) = end_of(rest) else {
            self.held.clear();
            self.held_is_cut = false;
            self.state = State::InLiteral;
            return self.literal_on(rest, visitor);
        };
        let short = end.min(SHORT_BYTES_MAX);
        self.take_literal(&rest[..short], short < end, visitor);
        self.after_value(&rest[end..], visitor)
    }

    pub(super) fn literal_on<'a, V>(&mut self, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        let end = end_of(rest);
        self.hold(&rest[..end.unwrap_or(rest.len())]);
        match end {
            Some(end) => {
                self.end_literal(visitor);
                self.after_value(&rest[end..], visitor)
            }
            None => &[],
        }
    }

    pub(super) fn end_literal<V: Visitor<Position = P>>(&mut self, visitor: &mut V) {
        let held = std::mem::take(&mut self.held);
        self.take_literal(&held, self.held_is_cut, visitor);
        self.held = held;
    }

    fn take_literal<V>(&mut self, literal: &[u8], is_cut: bool, visitor: &mut V)
    where
        V: Visitor<Position = P>,
    {
        if self.position.interest() == Interest::Nothing {
            // The value is not needed: the first byte is enough to detect most invalid literals.
            self.is_flawed |= !matches!(literal, [b'-' | b'0'..=b'9' | b't' | b'f' | b'n', ..]);
        } else {
            let value = match literal {
                b"null" => JsonValue::Null,
                b"true" => JsonValue::True,
                b"false" => JsonValue::False,
                _ if !is_cut && is_number(literal) => JsonValue::Number(literal),
                _ => JsonValue::Word(literal),
            };
            self.is_flawed |= matches!(value, JsonValue::Word(_));
            visitor.value(self.position, value);
        }
    }
}

/// The length of the literal at the start of `rest`, if it ends there.
#[inline]
fn end_of(rest: &[u8]) -> Option<usize> {
    rest.iter().position(ends_literal)
}

fn ends_literal(byte: &u8) -> bool {
    matches!(
        byte,
        b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | b':' | b'"' | b'{' | b'['
    )
}

/// Whether a literal is a number (RFC 8259, section 6).
fn is_number(literal: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = literal.strip_prefix(b"-").unwrap_or(literal);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let unsigned = match exponent {
            [b'+' | b'-', unsigned @ ..] => unsigned,
            _ => exponent,
        };
        let count = digits(unsigned);
        return count > 0 && count == unsigned.len();
    }
    rest.is_empty()
}
