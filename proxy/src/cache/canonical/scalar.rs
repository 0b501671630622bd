//! Strings and numbers of a JSON text (RFC 8259, sections 6 and 7).

use super::plain::plain_length;
use super::visit::Escapes;
use super::{CanonicalParser, NotCanonical};
use crate::cache::body_rules::BodyRules;
use crate::model::json::Visitor;

impl<V: Visitor, R: BodyRules> CanonicalParser<'_, V, R> {
    /// Parses a string, from its first quote on.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Escapes, NotCanonical> {
        let plain = plain_length(&self.source[self.at + 1..]);
        let end = self.at + 1 + plain;
        if self.source.get(end) == Some(&b'"') {
            self.text.extend_from_slice(&self.source[self.at..=end]);
            self.at = end + 1;
            return Ok(Escapes::None);
        }
        self.text.extend_from_slice(&self.source[self.at..end]);
        self.at = end;
        self.string_on()
    }

    /// Parses the rest of a string, from a byte that is not plain on.
    fn string_on(&mut self) -> Result<Escapes, NotCanonical> {
        let mut escapes = Escapes::None;
        loop {
            match self.source.get(self.at) {
                Some(b'"') => {
                    self.pass(b'"');
                    return Ok(escapes);
                }
                Some(b'\\') => {
                    if self.escape()? == Escapes::Some {
                        escapes = Escapes::Some;
                    }
                }
                // The end, or a control character that must be escaped.
                _ => return Err(NotCanonical::NotJson),
            }
            let plain = plain_length(&self.source[self.at..]);
            let run = &self.source[self.at..self.at + plain];
            self.text.extend_from_slice(run);
            self.at += plain;
        }
    }

    /// Parses an escape. Quotes and backslashes are escaped in the canonical text, too.
    fn escape(&mut self) -> Result<Escapes, NotCanonical> {
        let escaped = *self.source.get(self.at + 1).ok_or(NotCanonical::NotJson)?;
        self.at += 2;
        let character = match escaped {
            b'"' | b'\\' | b'/' => char::from(escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode_escape()?,
            _ => return Err(NotCanonical::NotJson),
        };
        let escapes = match character {
            '"' | '\\' => Escapes::Some,
            _ => Escapes::None,
        };
        if escapes == Escapes::Some {
            self.text.push(b'\\');
        }
        let mut utf8 = [0; 4];
        let bytes = character.encode_utf8(&mut utf8).as_bytes();
        self.text.extend_from_slice(bytes);
        Ok(escapes)
    }

    /// What follows `\u`: one code unit, or two that are a surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, NotCanonical> {
        let unit = self.code_unit()?;
        let code_point = if (0xd800..0xdc00).contains(&unit) {
            if !self.source[self.at..].starts_with(b"\\u") {
                return Err(NotCanonical::NotJson);
            }
            self.at += 2;
            let low = self.code_unit()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(NotCanonical::NotJson);
            }
            0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
        } else {
            unit
        };
        // A lone low surrogate is not a character.
        char::from_u32(code_point).ok_or(NotCanonical::NotJson)
    }

    fn code_unit(&mut self) -> Result<u32, NotCanonical> {
        let digits = self
            .source
            .get(self.at..self.at + 4)
            .ok_or(NotCanonical::NotJson)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| {
            let digit = char::from(*digit)
                .to_digit(16)
                .ok_or(NotCanonical::NotJson)?;
            Ok(unit << 4 | digit)
        })
    }

    pub(super) fn number(&mut self) -> Result<(), NotCanonical> {
        let start = self.at;
        if self.source[self.at] == b'-' {
            self.at += 1;
        }
        match self.source.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.source.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.source.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.source.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.text.extend_from_slice(&self.source[start..self.at]);
        Ok(())
    }

    /// At least one.
    fn digits(&mut self) -> Result<(), NotCanonical> {
        let digits = self.source[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.at += digits;
        if digits == 0 {
            return Err(NotCanonical::NotJson);
        }
        Ok(())
    }
}
