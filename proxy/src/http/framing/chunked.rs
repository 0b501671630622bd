//! Chunked transfer coding (RFC 9112, section 7.1), read strictly: an intermediary in front of weir must see
//! the same end of a body as weir does (request smuggling).

use bytes::{Buf, Bytes, BytesMut};

/// The longest size line of a chunk, with its extensions, and the longest trailer line.
const LINE_BYTES_MAX: usize = 4096;
/// All trailers together.
const TRAILERS_BYTES_MAX: usize = 16 * 1024;
/// 64 bits in hexadecimal digits.
const DIGITS_MAX: usize = 16;

/// The position of a reader in the chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunked {
    /// Before the line with a chunk's size.
    Size,
    /// In a chunk, with this many bytes to come.
    Data(u64),
    /// After a chunk's data, before its line end.
    DataEnd,
    /// After the last chunk; this many bytes of trailers have been read.
    Trailers(usize),
    Done,
}

/// The result of a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Data(Bytes),
    /// A line of the trailers, without its end.
    Trailer(Bytes),
    /// More bytes are needed.
    More,
    End,
}

impl Chunked {
    /// Takes the next piece of the body out of the bytes that have arrived.
    ///
    /// # Errors
    /// A description of the framing error.
    pub fn step(&mut self, arrived: &mut BytesMut) -> Result<Step, &'static str> {
        loop {
            match *self {
                Chunked::Size => {
                    let Some(line) = line(arrived)? else {
                        return Ok(Step::More);
                    };
                    let size = size(&arrived[..line])?;
                    arrived.advance(line + 2);
                    *self = match size {
                        0 => Chunked::Trailers(0),
                        size => Chunked::Data(size),
                    };
                }
                Chunked::Data(left) => {
                    if arrived.is_empty() {
                        return Ok(Step::More);
                    }
                    let left_bytes = usize::try_from(left).unwrap_or(usize::MAX);
                    let data = arrived.split_to(left_bytes.min(arrived.len())).freeze();
                    *self = match left - data.len() as u64 {
                        0 => Chunked::DataEnd,
                        left => Chunked::Data(left),
                    };
                    return Ok(Step::Data(data));
                }
                Chunked::DataEnd => match arrived.first_chunk() {
                    Some(b"\r\n") => {
                        arrived.advance(2);
                        *self = Chunked::Size;
                    }
                    None if arrived.is_empty() || arrived[0] == b'\r' => return Ok(Step::More),
                    _ => return Err("a chunk's data is not followed by CR LF"),
                },
                Chunked::Trailers(read) => {
                    let Some(line) = line(arrived)? else {
                        return Ok(Step::More);
                    };
                    if line == 0 {
                        arrived.advance(2);
                        *self = Chunked::Done;
                        continue;
                    }
                    if read + line > TRAILERS_BYTES_MAX {
                        return Err("its trailers are too long");
                    }
                    let trailer = arrived.split_to(line).freeze();
                    arrived.advance(2);
                    *self = Chunked::Trailers(read + line);
                    return Ok(Step::Trailer(trailer));
                }
                Chunked::Done => return Ok(Step::End),
            }
        }
    }

    /// Advances to the end if only the last chunk follows the data that was taken last, so that the end of
    /// the body is known together with its last data.
    pub fn finish(&mut self, arrived: &mut BytesMut) {
        const END: &[u8] = b"\r\n0\r\n\r\n";
        if *self == Chunked::DataEnd && arrived.starts_with(END) {
            arrived.advance(END.len());
            *self = Chunked::Done;
        }
    }
}

/// The framing error of the chunks as far as they have arrived; nothing is consumed.
#[must_use]
pub fn error(arrived: &[u8]) -> Option<&'static str> {
    let mut arrived = BytesMut::from(arrived);
    let mut chunked = Chunked::Size;
    loop {
        match chunked.step(&mut arrived) {
            Ok(Step::Data(_) | Step::Trailer(_)) => {}
            Ok(Step::More | Step::End) => return None,
            Err(flaw) => return Some(flaw),
        }
    }
}

/// The length of the first line without its end; `None` until it has arrived.
fn line(arrived: &[u8]) -> Result<Option<usize>, &'static str> {
    match memchr::memchr2(b'\r', b'\n', arrived) {
        Some(at) if at <= LINE_BYTES_MAX => match &arrived[at..] {
            [b'\r', b'\n', ..] => Ok(Some(at)),
            [b'\r'] => Ok(None),
            _ => Err("a line of it does not end with CR LF"),
        },
        None if arrived.len() <= LINE_BYTES_MAX => Ok(None),
        _ => Err("a line of it is too long"),
    }
}

/// The size in a line: hexadecimal digits, then extensions, if any (RFC 9112, section 7.1.1).
fn size(line: &[u8]) -> Result<u64, &'static str> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let digits = digits.count();
    if digits == 0 || digits > DIGITS_MAX {
        return Err("a chunk does not begin with its size in hexadecimal digits");
    }
    check_extensions(&line[digits..])?;
    let size = line[..digits].iter().fold(0, |size: u64, digit| {
        let value = char::from(*digit).to_digit(16).unwrap_or_default();
        (size << 4) | u64::from(value)
    });
    Ok(size)
}

/// `*( BWS ";" BWS name [ BWS "=" BWS value ] )`, also with white space before the end of the line, which
/// some senders add.
fn check_extensions(mut rest: &[u8]) -> Result<(), &'static str> {
    loop {
        rest = without_space(rest);
        let Some((semicolon, behind)) = rest.split_first() else {
            return Ok(());
        };
        if *semicolon != b';' {
            return Err("a chunk's size is not followed by CR LF or an extension");
        }
        rest = token(without_space(behind))?;
        if let Some(value) = without_space(rest).strip_prefix(b"=") {
            let value = without_space(value);
            rest = match value.strip_prefix(b"\"") {
                Some(quoted) => behind_quotes(quoted)?,
                None => token(value)?,
            };
        }
    }
}

fn without_space(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    &text[spaces.count()..]
}

/// The text after a token (RFC 9110, section 5.6.2), which has at least one byte.
fn token(text: &[u8]) -> Result<&[u8], &'static str> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    match text.iter().take_while(|byte| is_token(byte)).count() {
        0 => Err("a chunk extension lacks its name, or its value after ="),
        bytes => Ok(&text[bytes..]),
    }
}

/// The text after the end of a quoted string (RFC 9110, section 5.6.4).
fn behind_quotes(mut text: &[u8]) -> Result<&[u8], &'static str> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Ok(rest),
            [b'\\', escaped, rest @ ..] if is_text(*escaped) => rest,
            [byte, rest @ ..] if *byte != b'\\' && is_text(*byte) => rest,
            _ => return Err("a quoted string in a chunk extension is not closed"),
        };
    }
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] =
        b"5\r\nhello\r\n1A;x=y\r\n01234567890123456789012345\r\n0\r\nx: y\r\n\r\nGET /";

    /// All data of a body that arrives in pieces, and the bytes after it.
    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, BytesMut, Chunked), &'static str> {
        let (mut chunked, mut arrived, mut data) = (Chunked::Size, BytesMut::new(), Vec::new());
        for piece in pieces {
            arrived.extend_from_slice(piece);
            loop {
                match chunked.step(&mut arrived)? {
                    Step::Data(bytes) => data.extend_from_slice(&bytes),
                    Step::Trailer(line) => assert_eq!(line, "x: y"),
                    Step::More | Step::End => break,
                }
                chunked.finish(&mut arrived);
            }
        }
        Ok((data, arrived, chunked))
    }

    #[test]
    fn a_body_is_read_however_it_is_split() {
        for split in 0..WHOLE.len() {
            let (data, behind, state) =
                read(&[&WHOLE[..split], &WHOLE[split..]]).expect("well framed");
            assert_eq!(data, b"hello01234567890123456789012345", "split at {split}");
            assert_eq!(&behind[..], b"GET /");
            assert_eq!(state, Chunked::Done);
            assert_eq!(error(&WHOLE[..split]), None);
        }
        let bytes: Vec<&[u8]> = WHOLE.chunks(1).collect();
        assert_eq!(read(&bytes).expect("well framed").0.len(), 31);
    }

    #[test]
    fn invalid_framing_is_detected_in_any_chunk_and_packet() {
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
            "5;a\rb",
            "5\n",
            "5\u{c}",
            "5\u{b}",
            "5;",
            "5; ",
            "5;;a",
            "5;a=",
            "5;a=b=c",
            "5;a\0b",
            "5;a=\"b\0\"",
            "5;a=\"b",
            "5;a=\"b\\",
            "5;a=\"b\"c",
            "5;a b",
            "5;=b",
            "5 a",
        ] {
            for before in ["", "2\r\nhi\r\n"] {
                let rest = format!("{size}\r\nhello\r\n0\r\n\r\n");
                assert!(
                    error(format!("{before}{rest}").as_bytes()).is_some(),
                    "{rest:?}"
                );
                let later = read(&[before.as_bytes(), rest.as_bytes()]);
                assert!(later.is_err(), "{rest:?}");
            }
        }
        assert!(error(b"2\r\nhi0\r\n\r\n").is_some());
        assert!(error(b"2\r\nhi\rx").is_some());
        assert!(error(b"0\r\nx: y\n\r\n").is_some());
        assert_eq!(error(b"ffffffffffffffff\r\nx"), None);
    }

    #[test]
    fn extensions_are_skipped() {
        for line in [
            "5;a",
            "5 ; a = b",
            "5;a=\"b;c\\\"\u{e4}\";d",
            "5;a;b=c\t",
            "5 ",
        ] {
            assert_eq!(size(line.as_bytes()), Ok(5), "{line}");
        }
    }

    #[test]
    fn lines_and_trailers_are_bounded() {
        assert!(error(&[b'0'; LINE_BYTES_MAX + 1]).is_some());
        let long = format!("5;{}\r\n", "x".repeat(LINE_BYTES_MAX));
        assert!(error(long.as_bytes()).is_some());
        let trailers = format!("0\r\n{}", "x: yyyyyyyyyyyyyy\r\n".repeat(2_000));
        assert!(error(trailers.as_bytes()).is_some());
    }
}
