//! Looks over the chunks that came with a head (RFC 9112, section 7.1).
//!
//! pingora's parser takes a chunk without a size for the last one, and what follows for trailers.
//! Whoever stands before weir may see another end, so such a body is refused before it is read.
//! Chunks that come later are not seen here; for them the connection is not used again when
//! anything is left over.

/// What is wrong with the framing, as far as it has come.
pub(super) fn flaw(mut bytes: &[u8]) -> Option<&'static str> {
    loop {
        let digits = bytes
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let end = memchr::memchr(b'\n', bytes)?;
        if digits == 0 || digits > 16 {
            return Some("a chunk begins with its size in hexadecimal digits");
        }
        let behind = bytes[digits..end].trim_ascii();
        if !behind.is_empty() && !behind.starts_with(b";") {
            return Some("behind a chunk's size stands its end of line, or an extension");
        }
        let size = size(&bytes[..digits]);
        if size == 0 {
            return None;
        }
        let rest = &bytes[end + 1..];
        let data_end = usize::try_from(size).unwrap_or(usize::MAX);
        match rest.get(data_end..) {
            Some([b'\r', b'\n', next @ ..]) if !next.is_empty() => bytes = next,
            None | Some([] | [b'\r'] | [b'\r', b'\n']) => return None,
            Some(_) => return Some("behind a chunk's data stands CR LF"),
        }
    }
}

fn size(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |size: u64, digit| {
        let value = char::from(*digit).to_digit(16).unwrap_or_default();
        (size << 4) | u64::from(value)
    })
}

#[cfg(test)]
mod tests {
    use super::flaw;

    #[test]
    fn good_framing_has_no_flaw_however_far_it_came() {
        let whole = b"5\r\nhello\r\n1A;x=y\r\n01234567890123456789012345\r\n0\r\nx: y\r\n\r\nGET /";
        for length in 0..whole.len() {
            assert_eq!(flaw(&whole[..length]), None, "{length}");
        }
        assert_eq!(flaw(b"ffffffffffffffff\r\nx"), None);
    }

    #[test]
    fn bad_framing_is_found_in_any_chunk() {
        for size in [
            "",
            " ",
            ";x",
            "zz",
            "-1",
            "0x5",
            "5 5",
            "fffffffffffffffff",
            "5\u{b}5",
        ] {
            for before in ["", "2\r\nhi\r\n"] {
                let text = format!("{before}{size}\r\nhello\r\n0\r\n\r\n");
                assert!(flaw(text.as_bytes()).is_some(), "{text:?}");
            }
        }
        assert!(flaw(b"2\r\nhi0\r\n\r\n").is_some());
    }
}
