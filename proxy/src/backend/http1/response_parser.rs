//! Parses a response from the bytes that have been read: informational responses, the head, and the body, by length or
//! in the chunks of the chunked transfer coding. Parsing is strict: if a backend and weir disagreed on where a response
//! ends, one client would get the response of another (response splitting). Nothing here performs I/O.

use bytes::{Bytes, BytesMut};
use http::Method;

use super::response_head::{self, ParsedHead, UpstreamFraming};
use crate::http::framing::chunked::{Chunked, Step};
use crate::http::response_body::Piece;

/// What has been read from a connection, and how far it has been parsed.
#[derive(Debug)]
pub(super) struct ResponseParser {
    bytes: BytesMut,
    state: State,
    /// The lines of the trailers, as far as they have arrived.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the head, which does not end within this many bytes.
    ParsedHead(usize),
    /// In a body, of which this many bytes are missing.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
}

/// What was parsed of a body.
#[derive(Debug)]
pub(super) enum Parsed {
    Piece(Piece),
    /// More has to be read.
    Incomplete,
    End,
}

impl ResponseParser {
    pub(super) fn new() -> Self {
        ResponseParser {
            bytes: BytesMut::new(),
            state: State::Done,
            trailers: Vec::new(),
        }
    }

    /// A new request has been sent: another response is expected.
    pub(super) fn begin(&mut self) {
        self.state = State::ParsedHead(0);
        self.trailers = Vec::new();
    }

    /// The buffer to read into. It takes no memory while it is empty.
    pub(super) fn bytes(&mut self) -> &mut BytesMut {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
        &mut self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the response is complete.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The length of the rest of the body, where it is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self.state {
            State::Length(bytes) => Some(bytes),
            State::Done => Some(0),
            State::ParsedHead(_) | State::Chunked(_) | State::UntilClose => None,
        }
    }

    /// The next head, once it has arrived completely. An informational one is followed by another.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn head(&mut self, method: &Method) -> Result<Option<ParsedHead>, &'static str> {
        let State::ParsedHead(scanned) = self.state else {
            return Ok(None);
        };
        let Some(end) = response_head::end(&self.bytes, scanned)? else {
            self.state = State::ParsedHead(self.bytes.len());
            return Ok(None);
        };
        let head = response_head::parse(&self.take(end), method)?;
        self.state = match head.framing {
            UpstreamFraming::Bodiless if is_informational(&head) => State::ParsedHead(0),
            UpstreamFraming::Bodiless | UpstreamFraming::Length(0) => State::Done,
            UpstreamFraming::Length(bytes) => State::Length(bytes),
            UpstreamFraming::Chunked => State::Chunked(Chunked::Size),
            UpstreamFraming::UntilClose => State::UntilClose,
        };
        Ok(Some(head))
    }

    /// The next piece of the body.
    ///
    /// # Errors
    /// What is wrong with the framing.
    pub(super) fn next(&mut self) -> Result<Parsed, &'static str> {
        let piece = match self.state {
            State::Done => return Ok(Parsed::End),
            State::Chunked(chunked) => return self.next_of_chunked(chunked),
            State::ParsedHead(_) => return Ok(Parsed::Incomplete),
            _ if self.bytes.is_empty() => return Ok(Parsed::Incomplete),
            State::UntilClose => self.take(usize::MAX),
            State::Length(left) => {
                let piece = self.take(usize::try_from(left).unwrap_or(usize::MAX));
                self.state = match left - piece.len() as u64 {
                    0 => State::Done,
                    left => State::Length(left),
                };
                piece
            }
        };
        Ok(Parsed::Piece(Piece::Data(piece)))
    }

    fn next_of_chunked(&mut self, mut chunked: Chunked) -> Result<Parsed, &'static str> {
        loop {
            let step = chunked.step(&mut self.bytes)?;
            if let Step::Data(_) = step {
                chunked.finish(&mut self.bytes);
            }
            self.state = match chunked {
                Chunked::Done => State::Done,
                chunked => State::Chunked(chunked),
            };
            match step {
                Step::Data(data) => return Ok(Parsed::Piece(Piece::Data(data))),
                Step::More => return Ok(Parsed::Incomplete),
                Step::Trailer(line) => {
                    self.trailers.extend_from_slice(&line);
                    self.trailers.extend_from_slice(b"\r\n");
                }
                Step::End if self.trailers.is_empty() => return Ok(Parsed::End),
                Step::End => {
                    self.trailers.extend_from_slice(b"\r\n");
                    let lines = Bytes::from(std::mem::take(&mut self.trailers));
                    let fields = response_head::parse_trailers(&lines)?;
                    return Ok(Parsed::Piece(Piece::Trailers(fields)));
                }
            }
        }
    }

    /// The endpoint has closed the connection.
    ///
    /// # Errors
    /// The response was not complete.
    pub(super) fn closed(&mut self) -> Result<(), ClosedEarly> {
        match self.state {
            State::UntilClose | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            State::ParsedHead(_) | State::Length(_) | State::Chunked(_) => Err(ClosedEarly),
        }
    }

    /// What has been read, for a connection that has switched protocols.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes.freeze()
    }

    /// This many bytes, or all that there are.
    fn take(&mut self, bytes: usize) -> Bytes {
        match bytes >= self.bytes.len() {
            true => std::mem::take(&mut self.bytes).freeze(),
            false => self.bytes.split_to(bytes).freeze(),
        }
    }
}

/// The connection was closed too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClosedEarly;

/// Whether another head follows this one (RFC 9110, section 15.2). A 101, which switches protocols, is final.
pub(super) fn is_informational(head: &ParsedHead) -> bool {
    let status = head.parts.status;
    status.is_informational() && status != http::StatusCode::SWITCHING_PROTOCOLS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was parsed of bytes that arrive in pieces, before the connection is closed.
    #[derive(Debug, PartialEq, Eq)]
    struct Read {
        statuses: Vec<u16>,
        data: Vec<u8>,
        trailers: Vec<String>,
        rest: Vec<u8>,
    }

    fn read(pieces: &[&[u8]]) -> Result<Read, &'static str> {
        let mut parser = ResponseParser::new();
        parser.begin();
        let mut read = Read {
            statuses: Vec::new(),
            data: Vec::new(),
            trailers: Vec::new(),
            rest: Vec::new(),
        };
        for piece in pieces {
            parser.bytes().extend_from_slice(piece);
            while let Some(head) = parser.head(&Method::GET)? {
                read.statuses.push(head.parts.status.as_u16());
            }
            while let Parsed::Piece(piece) = parser.next()? {
                match piece {
                    Piece::Data(data) => read.data.extend_from_slice(&data),
                    Piece::Trailers(fields) => {
                        let fields = fields.iter();
                        let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                            format!("{name}={}", value.to_str().expect("text"))
                        };
                        read.trailers.extend(fields.map(text));
                    }
                }
            }
        }
        parser.closed().map_err(|ClosedEarly| "closed early")?;
        read.rest = parser.bytes.to_vec();
        Ok(read)
    }

    #[test]
    fn a_response_is_parsed_in_any_pieces() {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let chunks = "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\n";
        for (whole, statuses, trailers, rest) in [
            (
                format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello worldHTTP"),
                vec![103, 200],
                vec![],
                "HTTP",
            ),
            (
                format!(
                    "{hints}{hints}HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}X-Sum: 1\r\ny: 2\r\n\r\nHTTP"
                ),
                vec![103, 103, 200],
                vec!["x-sum=1".to_owned(), "y=2".to_owned()],
                "HTTP",
            ),
            (
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}\r\nHTTP"),
                vec![200],
                vec![],
                "HTTP",
            ),
            (
                "HTTP/1.0 200 OK\r\n\r\nhello world".to_owned(),
                vec![200],
                vec![],
                "",
            ),
        ] {
            let whole = whole.as_bytes();
            let expected = Read {
                statuses,
                data: b"hello world".to_vec(),
                trailers,
                rest: rest.as_bytes().to_vec(),
            };
            for split in 0..whole.len() {
                let read = read(&[&whole[..split], &whole[split..]]);
                assert_eq!(read.as_ref(), Ok(&expected), "split at {split}");
            }
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(read(&bytes).as_ref(), Ok(&expected));
            // Truncated before its end it is incomplete, unless the close of the connection is its end.
            if !rest.is_empty() {
                for cut in 0..whole.len() - rest.len() {
                    assert_eq!(read(&[&whole[..cut]]), Err("closed early"), "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn the_end_of_chunks_is_known_with_the_last_chunk() {
        let mut parser = ResponseParser::new();
        parser.begin();
        let whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        parser.bytes().extend_from_slice(whole);
        assert!(parser.head(&Method::GET).expect("valid").is_some());
        assert!(matches!(parser.next(), Ok(Parsed::Piece(Piece::Data(_)))));
        assert!(parser.is_done());
        assert!(parser.is_empty());
    }

    #[test]
    fn an_invalid_chunk_is_found_in_any_packet() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for chunks in [
            "zz\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\r\n-1\r\n",
            "0\r\nbad\r\n\r\n",
            "0\r\n b: c\r\n\r\n",
        ] {
            let whole = format!("{head}{chunks}");
            for split in 0..whole.len() {
                let (first, second) = whole.as_bytes().split_at(split);
                let flaw = read(&[first, second]).expect_err(chunks);
                assert_ne!(flaw, "closed early", "{chunks:?}");
            }
        }
        let many = format!(
            "{head}0\r\n{}\r\n",
            "a: b\r\n".repeat(response_head::FIELDS_MAX + 1)
        );
        assert!(read(&[many.as_bytes()]).is_err());
    }
}
