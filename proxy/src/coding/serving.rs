//! The coding in which a stored response is served to a client: none, or gzip. Responses are stored without a coding.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderValue;

use super::ContentCoding;
use super::accept::weight;

/// The coding in which a stored response is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedCoding {
    /// None.
    Identity,
    Gzip,
}

/// The weights of the codings that matter here, in thousandths.
#[derive(Default)]
struct CodingWeights {
    identity: Option<u16>,
    gzip: Option<u16>,
    /// `*`
    any: Option<u16>,
}

impl ServedCoding {
    /// By a client's `Accept-Encoding` (RFC 9110, section 12.5.3): none, unless the client refuses `identity`
    /// and accepts gzip. A client that accepts neither gets it without a coding rather than not at all.
    pub fn to<'a>(accepted: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let mut weights = CodingWeights::default();
        for line in accepted.into_iter().map(HeaderValue::as_bytes) {
            for element in line.split(|byte| *byte == b',') {
                weights.note(element);
            }
        }
        let CodingWeights {
            identity,
            gzip,
            any,
        } = weights;
        let is_refused = identity.or(any.filter(|weight| *weight == 0)) == Some(0);
        match is_refused && gzip.or(any).is_some_and(|weight| weight > 0) {
            true => ServedCoding::Gzip,
            false => ServedCoding::Identity,
        }
    }
}

impl CodingWeights {
    /// An element with an invalid weight is ignored.
    fn note(&mut self, element: &[u8]) {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let place = if name == b"*" {
            &mut self.any
        } else if name.eq_ignore_ascii_case(b"identity") {
            &mut self.identity
        } else if ContentCoding::named(name) == Some(ContentCoding::Gzip) {
            &mut self.gzip
        } else {
            return;
        };
        let read = match parts.next() {
            None => Some(1000),
            Some([b'q' | b'Q', b'=', text @ ..]) => weight(text),
            Some(_) => None,
        };
        *place = (*place).max(read);
    }
}

/// Whether a header depends on the encoded bytes (RFC 9530 and its predecessors), and so becomes invalid
/// when they are encoded in another way.
#[must_use]
pub fn is_of_coded_bytes(name: &[u8]) -> bool {
    [
        &b"accept-ranges"[..],
        b"content-digest",
        b"content-md5",
        b"digest",
        b"repr-digest",
    ]
    .contains(&name)
}

/// Compresses a response piece by piece, each so that it can be decoded as soon as it has arrived.
#[derive(Debug)]
pub struct GzipEncoder(GzEncoder<Vec<u8>>);

impl Default for GzipEncoder {
    fn default() -> Self {
        GzipEncoder(GzEncoder::new(Vec::new(), Compression::fast()))
    }
}

impl GzipEncoder {
    /// # Errors
    /// Never: it writes to memory.
    pub fn piece(&mut self, data: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(data)?;
        self.0.flush()?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }

    /// The last piece, and the end.
    ///
    /// # Errors
    /// Never: it writes to memory.
    pub fn last(mut self, data: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(data)?;
        Ok(self.0.finish()?.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_client_that_refuses_identity_gets_gzip() {
        for (accepted, gzip) in [
            (&[][..], false),
            (&[""], false),
            (&["gzip"], false),
            (&["gzip, deflate, br"], false),
            (&["gzip;q=1, identity;q=0.1"], false),
            (&["*"], false),
            (&["identity;q=0"], false),
            (&["*;q=0"], false),
            (&["identity;q=0, br"], false),
            (&["identity;q=0, gzip;q=0"], false),
            (&["identity, gzip, *;q=0"], false),
            (&["identity;q=x, gzip"], false),
            (&["identity;level=0, gzip"], false),
            (&["gzip, identity;q=0"], true),
            (&["gzip, identity; Q=0.000"], true),
            (&["x-gzip;q=0.2, Identity;q=0."], true),
            (&["gzip, *;q=0"], true),
            (&["identity;q=0, *"], true),
            (&["identity;q=0, *;q=0.5, gzip;q=0"], false),
            (&["identity;q=0", "gzip"], true),
            (&["identity;q=0, identity;q=0.5, gzip"], false),
        ] {
            let values: Vec<_> = accepted
                .iter()
                .map(|text| HeaderValue::from_static(text))
                .collect();
            let served = ServedCoding::to(&values);
            assert_eq!(served == ServedCoding::Gzip, gzip, "{accepted:?}");
        }
    }

    #[test]
    fn each_piece_can_be_decoded_when_it_has_arrived() {
        let mut gzip = GzipEncoder::default();
        let mut arrived = Vec::new();
        for (piece, until_now) in [("one ", "one "), ("", "one "), ("two", "one two")] {
            arrived.extend_from_slice(&gzip.piece(piece.as_bytes()).expect("memory"));
            let mut text = vec![0; until_now.len()];
            let mut decoder = flate2::read::GzDecoder::new(&*arrived);
            decoder.read_exact(&mut text).expect("it is there");
            assert_eq!(text, until_now.as_bytes());
        }
        arrived.extend_from_slice(&gzip.last(b"!").expect("memory"));
        let mut text = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&*arrived);
        decoder.read_to_string(&mut text).expect("it is whole");
        assert_eq!(text, "one two!");
    }
}
