//! Content codings (RFC 9110, section 8.4): reads through them while a message passes, and says which of
//! them may be asked for.
//!
//! A leaf. The bytes on their way are never touched: what cannot be decoded goes on as it came and is only
//! not read. Whatever comes, a [`Decoder`] holds the windows of its codings, and decodes no more than a
//! multiple of what it was fed.

use http::{HeaderMap, HeaderValue, header};

use stage::Stage;

mod accept;
mod serve;
mod stage;

pub use accept::{readable, weight};
pub use serve::{Gzip, Served, is_of_coded_bytes};

/// A message with more codings than this is not read: nobody compresses what is compressed.
const CODINGS_MAX: usize = 4;

/// So much may be decoded of a message however small it is.
const DECODED_BYTES_FREE: u64 = 1 << 20;

/// And so many times what was fed. JSON that repeats itself, and streams of small events, stay below a
/// hundred; deflate can do 1,032 and zstd anything, which is work for weir that its sender does not have.
const DECODED_RATIO_MAX: u64 = 256;

/// A coding that weir can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952, also as `x-gzip`.
    Gzip,
    /// RFC 1950; also the bare RFC 1951 that some send in its place.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, within the window of RFC 9659.
    Zstd,
}

impl Coding {
    fn named(name: &[u8]) -> Option<Coding> {
        let names: [(&[u8], Coding); 5] = [
            (b"gzip", Coding::Gzip),
            (b"x-gzip", Coding::Gzip),
            (b"deflate", Coding::Deflate),
            (b"br", Coding::Brotli),
            (b"zstd", Coding::Zstd),
        ];
        let named = names
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known));
        named.map(|(_, coding)| *coding)
    }
}

/// How far a decoder has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is to come.
    Open,
    /// Each coding has come to its end; so is, at any time, what has no coding.
    Whole,
    /// It cannot be read any further.
    Stopped(Why),
}

/// Why a message cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not what its codings say.
    Malformed,
    /// It becomes too large.
    TooLarge,
}

/// What reads through the codings of one message, fed piece by piece.
#[derive(Debug, Default)]
pub struct Decoder(Option<Box<Chain>>);

#[derive(Debug)]
struct Chain {
    /// The coding that was applied last is decoded first.
    links: Vec<Link>,
    bounds: Bounds,
    stopped: Option<Why>,
}

/// One coding, and how many bytes it has made.
#[derive(Debug)]
struct Link {
    stage: Stage,
    made: u64,
}

/// What was fed, what all stages have made of it, and how much they may.
#[derive(Debug)]
struct Bounds {
    encoded: u64,
    decoded: u64,
    decoded_max: u64,
}

impl Decoder {
    /// For a message with this head; `None` where it has a coding that weir does not know.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Decoder> {
        if !headers.contains_key(header::CONTENT_ENCODING) {
            return Some(Decoder::default());
        }
        let codings = codings(headers.get_all(header::CONTENT_ENCODING))?;
        if codings.is_empty() {
            return Some(Decoder::default());
        }
        let links = codings.into_iter().rev().map(|coding| {
            let stage = Stage::new(coding)?;
            Some(Link { stage, made: 0 })
        });
        Some(Decoder(Some(Box::new(Chain {
            links: links.collect::<Option<_>>()?,
            bounds: Bounds {
                encoded: 0,
                decoded: 0,
                decoded_max: u64::MAX,
            },
            stopped: None,
        }))))
    }

    /// Decodes no more than so many bytes, in all its codings together.
    pub fn limit(&mut self, decoded_max: u64) {
        if let Some(chain) = &mut self.0 {
            chain.bounds.decoded_max = decoded_max;
        }
    }

    /// Decodes the next piece; `read` gets all that is decided by now, in its order.
    pub fn feed(&mut self, piece: &[u8], mut read: impl FnMut(&[u8])) {
        let Some(chain) = &mut self.0 else {
            read(piece);
            return;
        };
        if chain.stopped.is_none() {
            chain.bounds.encoded += piece.len() as u64;
            let pushed = push(&mut chain.links, &mut chain.bounds, piece, &mut read);
            chain.stopped = pushed.err();
        }
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match &self.0 {
            None => Progress::Whole,
            Some(chain) => match chain.stopped {
                Some(why) => Progress::Stopped(why),
                None if chain.links.iter().all(|link| link.stage.is_whole()) => Progress::Whole,
                None => Progress::Open,
            },
        }
    }

    /// About how many bytes it holds: windows grow with what is decoded.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let links = self.0.iter().flat_map(|chain| &chain.links);
        let held = links.map(|link| link.stage.held_bytes(link.made));
        held.sum()
    }

    /// Whether there is nothing to decode.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.is_none()
    }
}

impl Bounds {
    fn make(&mut self, bytes: usize) -> Result<(), Why> {
        self.decoded += bytes as u64;
        let max = DECODED_BYTES_FREE + self.encoded.saturating_mul(DECODED_RATIO_MAX);
        match self.decoded <= max.min(self.decoded_max) {
            true => Ok(()),
            false => Err(Why::TooLarge),
        }
    }
}

/// Gives a piece to the first stage, what comes out of it to the next, and so on to the reader.
fn push(
    links: &mut [Link],
    bounds: &mut Bounds,
    piece: &[u8],
    read: &mut dyn FnMut(&[u8]),
) -> Result<(), Why> {
    match links {
        [] => read(piece),
        [Link { stage, made }, rest @ ..] => stage.decode(piece, &mut |decoded| {
            *made += decoded.len() as u64;
            bounds.make(decoded.len())?;
            push(rest, bounds, decoded, read)
        })?,
    }
    Ok(())
}

/// The codings of a message in the order in which they were applied; `None` where one is unknown.
fn codings<'a>(fields: impl IntoIterator<Item = &'a HeaderValue>) -> Option<Vec<Coding>> {
    let lines = fields.into_iter().map(HeaderValue::as_bytes);
    let names = lines.flat_map(|line| line.split(|byte| *byte == b','));
    let names = names
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
    let codings: Option<Vec<_>> = names.take(CODINGS_MAX + 1).map(Coding::named).collect();
    codings.filter(|codings| codings.len() <= CODINGS_MAX)
}

#[cfg(test)]
mod tests;
