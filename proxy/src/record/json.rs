//! A writer of JSON objects into a byte buffer: no tree, no allocation, every string escaped
//! (RFC 8259, section 7).

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use crate::exchange::millis;

/// An object that is being written. The function that opens it also closes it, so that braces always balance.
///
/// The methods are inlined because keys are literals: each then compiles to a few stores, whereas calls that copy a
/// variable number of bytes would cost as much as the rest of an event.
pub(super) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> ObjectWriter<'a> {
    /// Writes one whole object.
    pub(super) fn write(out: &'a mut Vec<u8>, members: impl FnOnce(&mut ObjectWriter<'_>)) {
        out.push(b'{');
        let mut object = ObjectWriter { out, empty: true };
        members(&mut object);
        object.out.push(b'}');
    }

    #[inline(always)]
    pub(super) fn object(
        &mut self,
        key: &'static str,
        members: impl FnOnce(&mut ObjectWriter<'_>),
    ) {
        self.key(key);
        ObjectWriter::write(self.out, members);
    }

    /// An untrusted text: it is escaped, and truncated to `bytes_max` at a character boundary.
    #[inline(always)]
    pub(super) fn text(&mut self, key: &'static str, value: &str, bytes_max: usize) {
        self.key(key);
        string(self.out, cut(value, bytes_max));
    }

    /// Bytes that should be UTF-8: invalid sequences become U+FFFD.
    #[inline(always)]
    pub(super) fn lossy(&mut self, key: &'static str, value: &[u8], bytes_max: usize) {
        self.key(key);
        lossy(self.out, value, bytes_max);
    }

    /// A text of weir's own, which needs no escaping.
    #[inline(always)]
    pub(super) fn word(&mut self, key: &'static str, value: &str) {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(b'"');
    }

    pub(super) fn texts<'t>(
        &mut self,
        key: &'static str,
        values: impl Iterator<Item = &'t str>,
        bytes_max: usize,
    ) {
        self.key(key);
        self.out.push(b'[');
        for (position, value) in values.enumerate() {
            if position > 0 {
                self.out.push(b',');
            }
            string(self.out, cut(value, bytes_max));
        }
        self.out.push(b']');
    }

    #[inline(always)]
    pub(super) fn integer(&mut self, key: &'static str, value: u64) {
        self.key(key);
        integer(self.out, value);
    }

    #[inline(always)]
    pub(super) fn boolean(&mut self, key: &'static str, value: bool) {
        self.key(key);
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Milliseconds with up to three decimals.
    #[inline(always)]
    pub(super) fn millis(&mut self, key: &'static str, value: Duration) {
        self.key(key);
        millis::append(value, self.out);
    }

    /// Lower-case hexadecimal digits of an identifier.
    #[inline(always)]
    pub(super) fn hex<const N: usize>(&mut self, key: &'static str, identifier: &[u8; N]) {
        self.key(key);
        hex(self.out, identifier);
    }

    #[inline(always)]
    pub(super) fn address(&mut self, key: &'static str, value: IpAddr) {
        self.key(key);
        address(self.out, value);
    }

    /// A value that is already JSON.
    #[inline(always)]
    pub(super) fn raw(&mut self, key: &'static str, json: &[u8]) {
        self.key(key);
        self.out.extend_from_slice(json);
    }

    /// A value that `write` appends as JSON.
    #[inline(always)]
    pub(super) fn raw_with(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        write(self.out);
    }

    /// Constant members, already JSON: `"kind":"event","type":["access"]`.
    #[inline(always)]
    pub(super) fn members(&mut self, json: &'static str) {
        self.separate();
        self.out.extend_from_slice(json.as_bytes());
    }

    #[inline(always)]
    fn key(&mut self, key: &'static str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    #[inline(always)]
    fn separate(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
    }
}

const HEX: [u8; 16] = *b"0123456789abcdef";
const REPLACEMENT: &str = "\u{fffd}";

/// The character after the backslash for each byte; 0 for a byte that is not escaped. DEL is escaped as well because
/// lines are also read on terminals.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[0x7f] = b'u';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table
};

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    // Most texts need no escaping. The loop has no early exit so that it is vectorized.
    let needs_escape = bytes.iter().fold(false, |found, &byte| {
        found | (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f)
    });
    if !needs_escape {
        out.extend_from_slice(bytes);
        return;
    }
    let mut written = 0;
    for (position, &byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[usize::from(byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[written..position]);
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            let digits = [
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ];
            out.extend_from_slice(&digits);
        }
        written = position + 1;
    }
    out.extend_from_slice(&bytes[written..]);
}

fn lossy(out: &mut Vec<u8>, value: &[u8], bytes_max: usize) {
    let mut left = bytes_max;
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        let valid = cut(chunk.valid(), left);
        escape(out, valid);
        left -= valid.len();
        let is_cut = valid.len() < chunk.valid().len();
        if is_cut || (!chunk.invalid().is_empty() && left < REPLACEMENT.len()) {
            break;
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT.as_bytes());
            left -= REPLACEMENT.len();
        }
    }
    out.push(b'"');
}

fn integer(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Computed, not looked up, so that all digits are computed at once.
fn hex<const N: usize>(out: &mut Vec<u8>, identifier: &[u8; N]) {
    let digit = |value: u8| value + if value > 9 { b'a' - 10 } else { b'0' };
    let digits = identifier.map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    out.push(b'"');
    out.extend_from_slice(digits.as_flattened());
    out.push(b'"');
}

fn address(out: &mut Vec<u8>, address: IpAddr) {
    out.push(b'"');
    match address {
        IpAddr::V4(address) => {
            for (position, octet) in address.octets().into_iter().enumerate() {
                if position > 0 {
                    out.push(b'.');
                }
                integer(out, octet.into());
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(members: impl FnOnce(&mut ObjectWriter<'_>)) -> serde_json::Value {
        let mut out = Vec::new();
        ObjectWriter::write(&mut out, members);
        serde_json::from_slice(&out)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
    }

    #[test]
    fn every_character_survives_a_round_trip() {
        let all: String = (0..=0x10ffff_u32)
            .filter(|code| *code < 0x3000 || *code > 0x10_fff0)
            .filter_map(char::from_u32)
            .collect();
        let value = read(|object| {
            object.text("all", &all, usize::MAX);
            object.texts("list", ["\"\n\u{0}", ""].into_iter(), usize::MAX);
        });
        assert_eq!(value["all"], all);
        assert_eq!(value["list"][0], "\"\n\u{0}");
        assert_eq!(value["list"][1], "");
    }

    #[test]
    fn a_line_has_no_control_character() {
        let mut out = Vec::new();
        ObjectWriter::write(&mut out, |object| {
            object.text("text", "a\nb\r\u{0}\u{1b}[31m\u{7f}", usize::MAX);
        });
        assert!(!out.iter().any(u8::is_ascii_control), "{out:?}");
    }

    #[test]
    fn texts_are_truncated_at_the_end_of_a_character() {
        let value = read(|object| {
            object.text("text", "aé€𐍈", 3);
            object.text("short", "aé€𐍈", 5);
            object.lossy("bytes", "aé€𐍈".as_bytes(), 9);
            object.text("none", "€", 0);
        });
        assert_eq!(value["text"], "aé");
        assert_eq!(value["short"], "aé");
        assert_eq!(value["bytes"], "aé€");
        assert_eq!(value["none"], "");
    }

    #[test]
    fn invalid_utf8_is_replaced_within_the_bound() {
        let value = read(|object| {
            object.lossy("mixed", b"a\xff\xfe\"b\xc3", 512);
            object.lossy("flood", &[0xff; 2000], 512);
        });
        assert_eq!(value["mixed"], "a\u{fffd}\u{fffd}\"b\u{fffd}");
        let flood = value["flood"].as_str().expect("a string");
        assert!(flood.len() <= 512 && flood.len() > 500, "{}", flood.len());
    }

    #[test]
    fn addresses_and_numbers_are_plain() {
        let value = read(|object| {
            object.address("v4", "203.0.113.7".parse().expect("an address"));
            object.address("v6", "2001:db8::1".parse().expect("an address"));
            object.integer("number", u64::MAX);
            object.hex("hex", &[0x00, 0xf0, 0x67]);
            object.object("empty", |_| {});
            object.object("fixed", |object| {
                object.members(r#""a":1,"b":[2]"#);
                object.members(r#""c":3"#);
            });
        });
        assert_eq!(value["v4"], "203.0.113.7");
        assert_eq!(value["v6"], "2001:db8::1");
        assert_eq!(value["number"], u64::MAX);
        assert_eq!(value["hex"], "00f067");
        assert_eq!(value["empty"], serde_json::json!({}));
        assert_eq!(
            value["fixed"],
            serde_json::json!({"a": 1, "b": [2], "c": 3})
        );
    }
}
