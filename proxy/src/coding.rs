//! Content codings (RFC 9110, section 8.4): decodes forwarded messages so that they can be parsed, and negotiates
//! codings with backends and clients.
//!
//! A leaf. The forwarded bytes are never changed: a message that cannot be decoded is forwarded, but not parsed.
//! Against decompression bombs, a [`Decoder`] holds no more than the windows of its codings, and decodes no more than
//! a multiple of its input.

use http::{HeaderMap, HeaderValue, header};

use codec::Codec;

mod accept;
mod codec;
mod serving;

pub use accept::{readable, weight};
pub use serving::{GzipEncoder, ServedCoding, is_of_coded_bytes};

/// A message with more codings than this is not decoded: compressing twice makes no sense.
const CODINGS_MAX: usize = 4;

/// How much may be decoded of any message, however small it is.
const DECODED_BYTES_FREE: u64 = 1 << 20;

/// How many times the size of its input a larger message may decode to. Repetitive JSON and streams of small
/// events stay below 100. Deflate can reach 1,032, and zstd has no bound: a decompression bomb costs weir work
/// that it does not cost its sender.
const DECODED_RATIO_MAX: u64 = 256;

/// A coding that weir can decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentCoding {
    /// RFC 1952, also as `x-gzip`.
    Gzip,
    /// RFC 1950; also the raw RFC 1951 that some senders use instead.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, within the window of RFC 9659.
    Zstd,
}

impl ContentCoding {
    fn named(name: &[u8]) -> Option<ContentCoding> {
        let names: [(&[u8], ContentCoding); 5] = [
            (b"gzip", ContentCoding::Gzip),
            (b"x-gzip", ContentCoding::Gzip),
            (b"deflate", ContentCoding::Deflate),
            (b"br", ContentCoding::Brotli),
            (b"zstd", ContentCoding::Zstd),
        ];
        let named = names
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known));
        named.map(|(_, coding)| *coding)
    }
}

/// The progress of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeProgress {
    /// The end has not been reached.
    Open,
    /// Each coding has reached its end. A message without a coding always has.
    Whole,
    /// It cannot be decoded any further.
    Stopped(StopReason),
}

/// Why a message cannot be decoded any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It is not valid in its codings.
    Malformed,
    /// Its decoded size exceeds the bound.
    TooLarge,
}

/// Decodes one message, piece by piece, through all its codings.
#[derive(Debug, Default)]
pub struct Decoder(Option<Box<DecoderChain>>);

#[derive(Debug)]
struct DecoderChain {
    /// The coding that was applied last is decoded first.
    layers: Vec<DecoderLayer>,
    bounds: DecodeBounds,
    stopped: Option<StopReason>,
}

/// One coding, and how many bytes it has decoded.
#[derive(Debug)]
struct DecoderLayer {
    codec: Codec,
    decoded: u64,
}

/// How many bytes were fed and decoded, and the limit of the latter.
#[derive(Debug)]
struct DecodeBounds {
    encoded: u64,
    decoded: u64,
    decoded_max: u64,
}

impl Decoder {
    /// The decoder of a message with this head; `None` for a coding that weir does not know.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Decoder> {
        if !headers.contains_key(header::CONTENT_ENCODING) {
            return Some(Decoder::default());
        }
        let codings = codings(headers.get_all(header::CONTENT_ENCODING))?;
        if codings.is_empty() {
            return Some(Decoder::default());
        }
        let layers = codings.into_iter().rev().map(|coding| {
            let codec = Codec::new(coding)?;
            Some(DecoderLayer { codec, decoded: 0 })
        });
        Some(Decoder(Some(Box::new(DecoderChain {
            layers: layers.collect::<Option<_>>()?,
            bounds: DecodeBounds {
                encoded: 0,
                decoded: 0,
                decoded_max: u64::MAX,
            },
            stopped: None,
        }))))
    }

    /// Limits the decoded bytes of all codings together.
    pub fn limit(&mut self, decoded_max: u64) {
        if let Some(chain) = &mut self.0 {
            chain.bounds.decoded_max = decoded_max;
        }
    }

    /// Decodes the next piece; `read` gets all that can be decoded so far.
    pub fn feed(&mut self, piece: &[u8], mut read: impl FnMut(&[u8])) {
        let Some(chain) = &mut self.0 else {
            read(piece);
            return;
        };
        if chain.stopped.is_none() {
            chain.bounds.encoded += piece.len() as u64;
            let pushed = push(&mut chain.layers, &mut chain.bounds, piece, &mut read);
            chain.stopped = pushed.err();
        }
    }

    /// The progress so far.
    #[must_use]
    pub fn progress(&self) -> DecodeProgress {
        match &self.0 {
            None => DecodeProgress::Whole,
            Some(chain) => match chain.stopped {
                Some(reason) => DecodeProgress::Stopped(reason),
                None if chain.layers.iter().all(|layer| layer.codec.is_whole()) => {
                    DecodeProgress::Whole
                }
                None => DecodeProgress::Open,
            },
        }
    }

    /// Approximately how many bytes it holds: windows grow with the decoded bytes.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let layers = self.0.iter().flat_map(|chain| &chain.layers);
        let held = layers.map(|layer| layer.codec.held_bytes(layer.decoded));
        held.sum()
    }

    /// Whether there is nothing to decode.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.is_none()
    }
}

impl DecodeBounds {
    fn count(&mut self, bytes: usize) -> Result<(), StopReason> {
        self.decoded += bytes as u64;
        let max = DECODED_BYTES_FREE + self.encoded.saturating_mul(DECODED_RATIO_MAX);
        match self.decoded <= max.min(self.decoded_max) {
            true => Ok(()),
            false => Err(StopReason::TooLarge),
        }
    }
}

/// Feeds a piece to the first codec, its output to the next, and so on to the reader.
fn push(
    layers: &mut [DecoderLayer],
    bounds: &mut DecodeBounds,
    piece: &[u8],
    read: &mut dyn FnMut(&[u8]),
) -> Result<(), StopReason> {
    match layers {
        [] => read(piece),
        [
            DecoderLayer {
                codec,
                decoded: total,
            },
            rest @ ..,
        ] => codec.decode(piece, &mut |decoded| {
            *total += decoded.len() as u64;
            bounds.count(decoded.len())?;
            push(rest, bounds, decoded, read)
        })?,
    }
    Ok(())
}

/// The codings of a message in the order in which they were applied; `None` where one is unknown.
fn codings<'a>(fields: impl IntoIterator<Item = &'a HeaderValue>) -> Option<Vec<ContentCoding>> {
    let lines = fields.into_iter().map(HeaderValue::as_bytes);
    let names = lines.flat_map(|line| line.split(|byte| *byte == b','));
    let names = names
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
    let codings: Option<Vec<_>> = names
        .take(CODINGS_MAX + 1)
        .map(ContentCoding::named)
        .collect();
    codings.filter(|codings| codings.len() <= CODINGS_MAX)
}

#[cfg(test)]
mod tests;
