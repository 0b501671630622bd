//! The syntax of targeted cache fields (RFC 9213): a dictionary of structured fields (RFC 8941, section 3.2). A field
//! that does not parse is ignored as a whole.

use http::HeaderValue;
use http::header::GetAll;

/// The value of a member, as far as cache directives have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberValue {
    Integer(i64),
    /// `?1`, or a name without a value.
    True,
    /// Another type, or `?0`.
    Other,
}

/// The members of all lines of a field, each name once; of several with one name, the last one counts. `None` if the
/// field is not a dictionary.
pub(super) fn parse(lines: GetAll<'_, HeaderValue>) -> Option<Vec<(String, MemberValue)>> {
    let mut joined = Vec::new();
    for line in lines {
        if !joined.is_empty() {
            joined.extend_from_slice(b", ");
        }
        joined.extend_from_slice(line.as_bytes());
    }
    let mut parser = Parser(joined.trim_ascii());
    let mut members: Vec<(String, MemberValue)> = Vec::new();
    while !parser.0.is_empty() {
        let name = parser.key()?;
        let value = match parser.take(b'=') {
            true => parser.value()?,
            false => MemberValue::True,
        };
        parser.parameters()?;
        members.retain(|(known, _)| *known != name);
        members.push((name, value));
        parser.skip_blanks();
        if parser.0.is_empty() {
            break;
        }
        if !parser.take(b',') {
            return None;
        }
        parser.skip_blanks();
        if parser.0.is_empty() {
            // A trailing comma.
            return None;
        }
    }
    Some(members)
}

struct Parser<'a>(&'a [u8]);

impl Parser<'_> {
    /// Whether the next byte is this one, which is then taken.
    fn take(&mut self, byte: u8) -> bool {
        match self.0.strip_prefix(&[byte]) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn skip_blanks(&mut self) {
        while self.take(b' ') || self.take(b'\t') {}
    }

    /// Takes bytes while they are of a kind.
    fn take_while(&mut self, of_kind: impl Fn(u8) -> bool) -> &[u8] {
        let end = self.0.iter().position(|byte| !of_kind(*byte));
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Option<String> {
        let first = *self.0.first()?;
        if !(first.is_ascii_lowercase() || first == b'*') {
            return None;
        }
        let name = self.take_while(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        });
        std::str::from_utf8(name).ok().map(str::to_owned)
    }

    fn value(&mut self) -> Option<MemberValue> {
        if !self.take(b'(') {
            return self.item();
        }
        // An inner list.
        loop {
            self.skip_blanks();
            if self.take(b')') {
                return Some(MemberValue::Other);
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.0.first()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn item(&mut self) -> Option<MemberValue> {
        match *self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'?' => match self.0 {
                [b'?', bit @ (b'0' | b'1'), rest @ ..] => {
                    let is_true = *bit == b'1';
                    self.0 = rest;
                    Some(if is_true {
                        MemberValue::True
                    } else {
                        MemberValue::Other
                    })
                }
                _ => None,
            },
            b':' => {
                self.take(b':');
                self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                self.take(b':').then_some(MemberValue::Other)
            }
            first if first.is_ascii_alphabetic() || first == b'*' => {
                self.take_while(|byte| {
                    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
                });
                Some(MemberValue::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<MemberValue> {
        let is_negative = self.take(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        let add = |sum: i64, digit: &u8| sum * 10 + i64::from(digit - b'0');
        let number = digits.iter().fold(0, add);
        let whole = digits.len();
        if self.take(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let is_valid = (1..=3).contains(&fraction.len()) && whole <= 12;
            return is_valid.then_some(MemberValue::Other);
        }
        Some(MemberValue::Integer(if is_negative {
            -number
        } else {
            number
        }))
    }

    fn string(&mut self) -> Option<MemberValue> {
        self.take(b'"');
        loop {
            self.take_while(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
            if self.take(b'"') {
                return Some(MemberValue::Other);
            }
            if !(self.take(b'\\') && (self.take(b'"') || self.take(b'\\'))) {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            while self.take(b' ') {}
            self.key()?;
            if self.take(b'=') {
                self.item()?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName};

    use super::*;

    fn parsed(lines: &[&'static str]) -> Option<Vec<(String, MemberValue)>> {
        let name = HeaderName::from_static("cdn-cache-control");
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_static(line));
        }
        parse(headers.get_all(&name))
    }

    #[test]
    fn a_dictionary_has_typed_members() {
        use MemberValue::{Integer, Other, True};
        for (lines, expected) in [
            (&[""][..], &[][..]),
            (&["max-age=60"], &[("max-age", Integer(60))]),
            (
                &["max-age=-1 , a"],
                &[("max-age", Integer(-1)), ("a", True)],
            ),
            (&["a;b=1;c, d=?0"], &[("a", True), ("d", Other)]),
            (
                &["a=1", "b=2, a=3"],
                &[("b", Integer(2)), ("a", Integer(3))],
            ),
            (&["a=\"x\\\"y\", b=t/o:k"], &[("a", Other), ("b", Other)]),
            (&["a=(1 \"b\";c d), e=1.5"], &[("a", Other), ("e", Other)]),
            (&["a=:YWJj:, b=?1"], &[("a", Other), ("b", True)]),
        ] {
            let members = parsed(lines).expect("a dictionary");
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| (&**name, *value))
                .collect();
            assert_eq!(members, expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_dictionary_is_ignored_as_a_whole() {
        for line in [
            "max-age=60,",
            "MAX-AGE=60",
            "max-age =60",
            "max-age= 60",
            "max-age=60; ",
            "a b",
            "a=\"x",
            "a=(1",
            "a=1.2345",
            "a=?2",
            "a=1234567890123456",
            "a=;",
        ] {
            assert_eq!(parsed(&[line]), None, "{line}");
        }
    }
}
