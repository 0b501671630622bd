//! Path canonicalisation, against path confusion: one canonical path, used by routing, signature, limit and cache alike, and sent to the backend.
//!
//! It follows RFC 3986, section 6.2.2 (escapes of unreserved characters are decoded, the others are
//! in upper case, dot segments are resolved) and goes further where backends are known to differ:
//! repeated slashes are merged, and what a backend could read as another path than weir does is
//! rejected: backslashes and control characters, encoded or not, and bytes that are not ASCII. An
//! encoded slash stays `%2F` and never separates segments, since clients send it in names; `;`
//! parameters are kept. How a lenient backend may read such a path is its folded form: see [`folded`].
//!
//! The query and the other forms of a request target (RFC 9112, section 3.2) are not covered: the caller passes only
//! the path of an absolute-form target and responds to `OPTIONS *` itself.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use thiserror::Error;

pub mod folded;

/// The treatment of a path with an encoded slash (`paths.encoded_slash`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedSlash {
    /// It stays `%2F`: `/v1/models/Qwen%2FQwen2.5-7B` is one model.
    Keep,
    Reject,
}

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadPath {
    #[error("the path does not begin with /")]
    NotAbsolute,
    #[error("the path has an encoded NUL (%00)")]
    EncodedNul,
    #[error("the path has a % that is not followed by two hex digits")]
    InvalidEscape,
    #[error("the path is not UTF-8 when its escapes are decoded")]
    InvalidUtf8,
    #[error("the path leads above the root")]
    AboveRoot,
    /// A literal `#` or `?`.
    #[error("the path has a # or ? that is not escaped")]
    InvalidCharacter,
    /// A control character (Unicode's category Cc), encoded or literal.
    #[error("the path has a control character, encoded or not")]
    ControlCharacter,
    /// `\`, encoded or literal.
    #[error("the path has a backslash, encoded or not")]
    Backslash,
    /// A literal byte beyond ASCII; an escaped one is valid.
    #[error("the path has bytes that are not ASCII; send them percent-encoded")]
    NonAscii,
    /// `%2F`, where the configuration rejects it.
    #[error("the path has an encoded slash (%2F), which is rejected here")]
    EncodedSlash,
    /// A `.` or `..` that only some backends recognize: next to an encoded slash (`/a/..%2Fb`), or with
    /// parameters (`/a/..;x/b`), encoded (`/a/..%3Bx/b`) or not.
    #[error("the path has a dot segment behind an encoded slash or with parameters")]
    HiddenDotSegment,
}

/// The canonical form of a request's path (without its query). Borrowed when it already is one.
///
/// The form is stable: the canonical form of a canonical path is that path.
///
/// # Errors
/// The path has no canonical form.
pub fn canonical(raw: &str, slash: EncodedSlash) -> Result<Cow<'_, str>, BadPath> {
    if !raw.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    if is_plain(raw.as_bytes()) {
        return Ok(Cow::Borrowed(raw));
    }
    let path = rebuild(raw)?;
    if slash == EncodedSlash::Reject && path.contains("%2F") {
        return Err(BadPath::EncodedSlash);
    }
    Ok(if path == raw {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned(path)
    })
}

/// Whether the path is canonical at first sight: no escapes, no empty segment, and no segment that
/// begins with a dot.
fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    for &byte in path {
        if !PLAIN[usize::from(byte)] || (after_slash && (byte == b'/' || byte == b'.')) {
            return false;
        }
        after_slash = byte == b'/';
    }
    true
}

fn rebuild(raw: &str) -> Result<String, BadPath> {
    let mut path = String::with_capacity(raw.len() + 16);
    path.push('/');
    let mut segment_start = path.len();
    let mut escaped_beyond_ascii = false;
    let mut bytes = raw.bytes().skip(1);
    while let Some(byte) = bytes.next() {
        match byte {
            b'/' => {
                finish_segment(&mut path, segment_start)?;
                if !path.ends_with('/') {
                    path.push('/');
                }
                segment_start = path.len();
            }
            b'%' => {
                let value = hex_pair(bytes.next(), bytes.next()).ok_or(BadPath::InvalidEscape)?;
                match value {
                    0 => return Err(BadPath::EncodedNul),
                    b'\\' => return Err(BadPath::Backslash),
                    value if value.is_ascii_control() => return Err(BadPath::ControlCharacter),
                    value => escaped_beyond_ascii |= !value.is_ascii(),
                }
                if is_unreserved(value) {
                    path.push(char::from(value));
                } else {
                    escape(&mut path, value);
                }
            }
            b'#' | b'?' => return Err(BadPath::InvalidCharacter),
            b'\\' => return Err(BadPath::Backslash),
            byte if byte.is_ascii_control() => return Err(BadPath::ControlCharacter),
            byte if !byte.is_ascii() => return Err(BadPath::NonAscii),
            byte if PLAIN[usize::from(byte)] => path.push(char::from(byte)),
            byte => escape(&mut path, byte),
        }
    }
    finish_segment(&mut path, segment_start)?;
    if escaped_beyond_ascii {
        let decoded = percent_decode_str(raw).decode_utf8();
        let decoded = decoded.map_err(|_| BadPath::InvalidUtf8)?;
        // U+0080 to U+009F: some backends treat U+0085 as the end of a line.
        if decoded.contains(char::is_control) {
            return Err(BadPath::ControlCharacter);
        }
    }
    Ok(path)
}

/// Finishes a segment: a dot segment is removed (`..` with the one before it), an empty one changes nothing.
fn finish_segment(path: &mut String, segment_start: usize) -> Result<(), BadPath> {
    match &path[segment_start..] {
        "." => path.truncate(segment_start),
        ".." => {
            // The path is "/" or ends with a slash here; the parent begins behind the slash before.
            let parent = path[..segment_start - 1]
                .rfind('/')
                .ok_or(BadPath::AboveRoot)?;
            path.truncate(parent + 1);
        }
        segment if hides_dot_segment(segment.as_bytes()) => {
            return Err(BadPath::HiddenDotSegment);
        }
        _ => {}
    }
    Ok(())
}

/// Whether a backend that decodes `%2F` and `%3B` before it resolves dot segments, or that removes parameters first,
/// would find one in this segment.
fn hides_dot_segment(segment: &[u8]) -> bool {
    let mut piece_start = 0;
    let mut at = 0;
    while at <= segment.len() {
        let rest = &segment[at..];
        let separator_length = match rest.first() {
            None => 1,
            Some(b'%') if rest.starts_with(b"%2F") => 3,
            Some(_) => {
                at += 1;
                continue;
            }
        };
        let piece = &segment[piece_start..at];
        let mut dots = [&b".."[..], b"."].into_iter();
        if dots.any(|dots| piece.strip_prefix(dots).is_some_and(ends_a_name)) {
            return true;
        }
        at += separator_length;
        piece_start = at;
    }
    false
}

/// Whether a name ends here for a lenient backend: nothing follows, or parameters, a query or a fragment.
fn ends_a_name(rest: &[u8]) -> bool {
    let marks: [&[u8]; 4] = [b";", b"%3B", b"%3F", b"%23"];
    rest.is_empty() || marks.iter().any(|mark| rest.starts_with(mark))
}

fn escape(path: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    path.push('%');
    path.push(char::from(DIGITS[usize::from(byte >> 4)]));
    path.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
}

fn hex_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let high = char::from(high?).to_digit(16)?;
    let low = char::from(low?).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

/// RFC 3986, section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The characters that a canonical path contains unescaped: `pchar` of RFC 3986, section 3.3, and the slash.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        plain[byte as usize] = is_unreserved(byte)
            || matches!(
                byte,
                b'/' | b':'
                    | b'@'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            );
        byte += 1;
    }
    plain
};

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
