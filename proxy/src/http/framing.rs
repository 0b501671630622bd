//! The framing of HTTP/1 messages, requests and responses alike (RFC 9112, sections 6 and 7). Strict, because
//! two readers that disagree on the end of a body allow request smuggling.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

pub mod chunked;

/// The value of `Transfer-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Plain,
    Chunked,
}

/// The transfer coding of a body.
///
/// # Errors
/// Any coding other than `chunked` alone: weir does not decode those.
pub fn coding(fields: &HeaderMap) -> Result<Coding, &'static str> {
    let lines = fields.get_all(TRANSFER_ENCODING).iter();
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let Some(first) = codings.next() else {
        return Ok(Coding::Plain);
    };
    let only = codings.next().is_none() && first.trim_ascii().eq_ignore_ascii_case(b"chunked");
    match only {
        true => Ok(Coding::Chunked),
        false => Err("its Transfer-Encoding is not chunked alone"),
    }
}

/// The value that all `Content-Length` fields agree on; `None` without such a field.
///
/// # Errors
/// They differ, or are not plain numbers.
pub fn content_length(fields: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let lines = fields.get_all(CONTENT_LENGTH).iter();
    let mut length = None;
    for text in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
        let stated = number(text);
        if stated.is_none() || length.is_some_and(|length| Some(length) != stated) {
            return Err("its Content-Length is not one number");
        }
        length = stated;
    }
    Ok(length)
}

fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    // The standard library's parser accepts a sign.
    let all_digits = text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| all_digits)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn content_length_is_one_plain_number() {
        let length = |lines: &[&'static str]| {
            let mut fields = HeaderMap::new();
            for line in lines {
                fields.append(CONTENT_LENGTH, HeaderValue::from_static(line));
            }
            content_length(&fields).ok()
        };
        assert_eq!(length(&[]), Some(None));
        assert_eq!(length(&["5"]), Some(Some(5)));
        assert_eq!(length(&["5, 5", " 5"]), Some(Some(5)));
        assert_eq!(length(&["18446744073709551615"]), Some(Some(u64::MAX)));
        for flawed in [
            "",
            "5,",
            ",5",
            "5, 6",
            "+5",
            "-5",
            "0x5",
            "5 5",
            "5.0",
            "18446744073709551616",
        ] {
            assert_eq!(length(&[flawed]), None, "{flawed:?}");
        }
        assert_eq!(length(&["5", "6"]), None);
    }
}
