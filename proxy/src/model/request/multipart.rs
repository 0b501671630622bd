//! A request that is a form (`multipart/form-data`, RFC 7578), as for images and recordings: its fields are read, its
//! files are skipped.

use memchr::memchr;

use super::ParsedRequest;

/// RFC 2046 allows 70 bytes; some clients send more.
const BOUNDARY_BYTES_MAX: usize = 200;
/// How much is held of a line of a part's head, or of a field.
const HELD_BYTES_MAX: usize = 512;

/// Reads a form.
#[derive(Debug)]
pub(super) struct MultipartForm {
    /// LF, two hyphens and the boundary; LF occurs only at its start. Some clients end lines with LF alone; the CR of
    /// the others is trimmed as white space.
    delimiter: Vec<u8>,
    /// How many bytes of the delimiter have matched.
    matched: usize,
    state: State,
    field: Field,
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a part, or before the first one.
    Part,
    /// After a delimiter, up to the end of its line, with the number of hyphens that follow it directly.
    Delimited(usize),
    /// In the head of a part.
    Head,
    /// After the last delimiter.
    Over,
}

/// The field that the current part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Model,
    Stream,
    Text,
    Other,
}

impl MultipartForm {
    /// For this `Content-Type`, if it is that of a form.
    pub(super) fn of(content_type: &[u8]) -> Option<MultipartForm> {
        let (essence, parameters) = split_at_semicolon(content_type);
        if !essence.eq_ignore_ascii_case(b"multipart/form-data") {
            return None;
        }
        let boundary = parameter(parameters, b"boundary")?;
        if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX || boundary.contains(&b'\n') {
            return None;
        }
        Some(MultipartForm {
            delimiter: [b"\n--", &*boundary].concat(),
            // The first one need not follow a line end.
            matched: 1,
            state: State::Part,
            field: Field::Other,
            held: Vec::new(),
        })
    }

    pub(super) fn feed(&mut self, mut piece: &[u8], parsed: &mut ParsedRequest) {
        while !piece.is_empty() {
            piece = match self.state {
                State::Part => self.part(piece, parsed),
                State::Delimited(hyphens) => self.delimited(piece, hyphens),
                State::Head => self.head(piece),
                State::Over => return,
            };
        }
    }

    /// Reads a part; returns what follows the delimiter that ends it.
    fn part<'a>(&mut self, piece: &'a [u8], parsed: &mut ParsedRequest) -> &'a [u8] {
        let expected = &self.delimiter[self.matched..];
        let same = expected.iter().zip(piece).take_while(|(a, b)| a == b);
        let same = same.count();
        if same == expected.len() {
            self.end_field(parsed);
            self.matched = 0;
            self.state = State::Delimited(0);
            return &piece[same..];
        }
        if same == piece.len() {
            self.matched += same;
            return &[];
        }
        // The partial match was content.
        let matched = std::mem::take(&mut self.matched) + same;
        if matched > 0 {
            let delimiter = std::mem::take(&mut self.delimiter);
            self.take(&delimiter[..matched], parsed);
            self.delimiter = delimiter;
            return &piece[same..];
        }
        let end = memchr(b'\n', piece).unwrap_or(piece.len());
        self.take(&piece[..end], parsed);
        &piece[end..]
    }

    fn delimited<'a>(&mut self, piece: &'a [u8], hyphens: usize) -> &'a [u8] {
        let (byte, rest) = (piece[0], &piece[1..]);
        self.state = match (byte, hyphens) {
            (b'-', 0) => State::Delimited(1),
            (b'-', 1) => State::Over,
            (b'\n', _) => {
                self.field = Field::Other;
                State::Head
            }
            _ => State::Delimited(usize::MAX),
        };
        rest
    }

    /// Reads a line of a head; an empty one ends it.
    fn head<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let end = memchr(b'\n', piece);
        self.hold(&piece[..end.unwrap_or(piece.len())]);
        let Some(end) = end else {
            return &[];
        };
        let line = std::mem::take(&mut self.held);
        let trimmed = line.trim_ascii();
        if trimmed.is_empty() {
            self.state = State::Part;
        } else if let Some(field) = field(trimmed) {
            self.field = field;
        }
        self.held = line;
        self.held.clear();
        &piece[end + 1..]
    }

    /// Handles content of a part.
    fn take(&mut self, content: &[u8], parsed: &mut ParsedRequest) {
        match self.field {
            Field::Model | Field::Stream => self.hold(content),
            Field::Text => parsed.text.add(content),
            Field::Other => {}
        }
    }

    fn end_field(&mut self, parsed: &mut ParsedRequest) {
        let value = self.held.trim_ascii();
        match self.field {
            Field::Model => parsed.set_model(value),
            Field::Stream => {
                parsed.stream = value.eq_ignore_ascii_case(b"true") || value == b"1";
            }
            Field::Text | Field::Other => {}
        }
        self.held.clear();
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = HELD_BYTES_MAX.saturating_sub(self.held.len());
        self.held.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }
}

/// The field that a line of a head names, if it does.
fn field(line: &[u8]) -> Option<Field> {
    let colon = memchr(b':', line)?;
    if !line[..colon].eq_ignore_ascii_case(b"content-disposition") {
        return None;
    }
    let (_, parameters) = split_at_semicolon(&line[colon + 1..]);
    let name = parameter(parameters, b"name")?;
    let is_file = [&b"filename"[..], b"filename*"]
        .iter()
        .any(|name| parameter(parameters, name).is_some());
    Some(match &*name {
        // Some clients send every field as a file.
        b"model" => Field::Model,
        _ if is_file => Field::Other,
        b"stream" => Field::Stream,
        b"prompt" | b"input" | b"instructions" => Field::Text,
        _ => Field::Other,
    })
}

fn split_at_semicolon(text: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr(b';', text).unwrap_or(text.len());
    (
        text[..at].trim_ascii(),
        text.get(at + 1..).unwrap_or_default(),
    )
}

/// A parameter of a field's value (RFC 9110, section 5.6.6), without quotes.
fn parameter(mut parameters: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    loop {
        let equals = memchr(b'=', parameters)?;
        // A parameter without a value is none.
        let start = parameters[..equals].iter().rposition(|byte| *byte == b';');
        let named = parameters[start.map_or(0, |at| at + 1)..equals].trim_ascii();
        let (value, rest) = parameter_value(parameters[equals + 1..].trim_ascii_start());
        if named.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        parameters = rest;
    }
}

/// A token or a quoted string, and what follows it.
fn parameter_value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let (token, rest) = split_at_semicolon(text);
        return (token.to_vec(), rest);
    };
    let mut value = Vec::new();
    loop {
        rest = match rest {
            [] => return (value, rest),
            [b'"', rest @ ..] => return (value, rest),
            [b'\\', escaped, rest @ ..] => {
                value.push(*escaped);
                rest
            }
            [byte, rest @ ..] => {
                value.push(*byte);
                rest
            }
        };
    }
}
