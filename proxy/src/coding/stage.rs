//! One coding, decoded piece by piece.

use std::fmt;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Operation as _};

use super::{Coding, Why};

/// Decoded text is handed on in pieces of this size.
const PIECE_BYTES: usize = 8 * 1024;

/// RFC 9659: who decodes zstd for HTTP must support windows of 8 MB, and need not support larger ones.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// RFC 7932, section 9.1: the largest window there is.
const BROTLI_WINDOW_BYTES_MAX: u64 = 1 << 24;

/// What takes the decoded text.
type Taker<'a> = dyn FnMut(&[u8]) -> Result<(), Why> + 'a;

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// What decodes one coding.
pub(super) enum Stage {
    Gzip(Gzip),
    Deflate(Deflate),
    Brotli(Box<Brotli>, End),
    Zstd(Zstd),
}

/// Whether a coding has come to its end; what may still follow means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Ahead,
    Reached,
}

/// Members one behind the other.
pub(super) struct Gzip {
    inflate: Decompress,
    member: Member,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Open,
    Whole,
    /// What follows the last member is none.
    Padding,
}

/// `deflate` is zlib, and bare deflate where its first two bytes are not zlib's.
pub(super) enum Deflate {
    Begin(Option<u8>),
    Inflating(Decompress),
    Ended,
}

/// Frames one behind the other.
pub(super) struct Zstd {
    decoder: zstd::stream::raw::Decoder<'static>,
    frame: Frame,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// So much of what a frame begins with has come.
    Magic([u8; 4], usize),
    Open,
    /// The last one is whole; another may follow.
    Whole,
}

impl Stage {
    /// `None` where there is no memory for it.
    pub(super) fn new(coding: Coding) -> Option<Stage> {
        Some(match coding {
            Coding::Gzip => Stage::Gzip(Gzip {
                inflate: Decompress::new_gzip(15),
                member: Member::Open,
            }),
            Coding::Deflate => Stage::Deflate(Deflate::Begin(None)),
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                let state = Brotli::new_strict(alloc(), alloc(), alloc());
                Stage::Brotli(Box::new(state), End::Ahead)
            }
            Coding::Zstd => {
                let mut decoder = zstd::stream::raw::Decoder::new().ok()?;
                let window = DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
                decoder.set_parameter(window).ok()?;
                Stage::Zstd(Zstd {
                    decoder,
                    frame: Frame::Magic([0; 4], 0),
                })
            }
        })
    }

    /// Decodes a piece; `take` gets all that is decided by now.
    pub(super) fn decode(&mut self, piece: &[u8], take: &mut Taker<'_>) -> Result<(), Why> {
        match self {
            Stage::Gzip(gzip) => gzip.decode(piece, take),
            Stage::Deflate(deflate) => deflate.decode(piece, take),
            Stage::Brotli(_, End::Reached) => Ok(()),
            Stage::Brotli(state, end) => {
                *end = unbrotli(state, piece, take)?;
                Ok(())
            }
            Stage::Zstd(zstd) => zstd.decode(piece, take),
        }
    }

    /// About how many bytes it holds, having made so many: what it always takes, and the part of its window
    /// that is in use.
    pub(super) fn held_bytes(&self, made: u64) -> u64 {
        match self {
            Stage::Gzip(_) | Stage::Deflate(_) => 48 * 1024,
            Stage::Brotli(..) => 64 * 1024 + made.min(BROTLI_WINDOW_BYTES_MAX),
            Stage::Zstd(_) => 256 * 1024 + made.min(1 << ZSTD_WINDOW_LOG_MAX),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        match self {
            Stage::Gzip(gzip) => gzip.member != Member::Open,
            Stage::Deflate(deflate) => matches!(deflate, Deflate::Ended),
            Stage::Brotli(_, end) => *end == End::Reached,
            Stage::Zstd(zstd) => zstd.frame == Frame::Whole,
        }
    }
}

impl Gzip {
    fn decode(&mut self, mut piece: &[u8], take: &mut Taker<'_>) -> Result<(), Why> {
        while !piece.is_empty() && self.member != Member::Padding {
            if self.member == Member::Whole {
                if piece[0] != 0x1f {
                    self.member = Member::Padding;
                    return Ok(());
                }
                self.inflate = Decompress::new_gzip(15);
                self.member = Member::Open;
            }
            let (end, rest) = inflate(&mut self.inflate, piece, take)?;
            if end == End::Reached {
                self.member = Member::Whole;
            }
            piece = rest;
        }
        Ok(())
    }
}

impl Deflate {
    fn decode(&mut self, piece: &[u8], take: &mut Taker<'_>) -> Result<(), Why> {
        if let Deflate::Begin(first) = self {
            let held = *first;
            let mut both = held.iter().chain(piece).copied();
            let (Some(one), Some(two)) = (both.next(), both.next()) else {
                *first = held.or(piece.first().copied());
                return Ok(());
            };
            let mut inflate = Decompress::new(is_zlib(one, two));
            if held.is_some() {
                self::inflate(&mut inflate, &[one], take)?;
            }
            *self = Deflate::Inflating(inflate);
        }
        if let Deflate::Inflating(inflate) = self
            && let (End::Reached, _) = self::inflate(inflate, piece, take)?
        {
            *self = Deflate::Ended;
        }
        Ok(())
    }
}

/// RFC 1950, section 2.2. The first byte of zlib would begin a stored block of bare deflate whose padding
/// is not zero, which nobody writes.
fn is_zlib(one: u8, two: u8) -> bool {
    one & 0x0f == 8 && one >> 4 <= 7 && (u16::from(one) << 8 | u16::from(two)).is_multiple_of(31)
}

/// Inflates a piece; gives what is behind its end.
fn inflate<'a>(
    inflate: &mut Decompress,
    mut piece: &'a [u8],
    take: &mut Taker<'_>,
) -> Result<(End, &'a [u8]), Why> {
    let mut room = [0; PIECE_BYTES];
    loop {
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate
            .decompress(piece, &mut room, FlushDecompress::None)
            .map_err(|_| Why::Malformed)?;
        let read = usize::try_from(inflate.total_in() - read).unwrap_or(piece.len());
        let written = usize::try_from(inflate.total_out() - written).unwrap_or(PIECE_BYTES);
        piece = piece.get(read..).unwrap_or_default();
        if written > 0 {
            take(&room[..written.min(PIECE_BYTES)])?;
        }
        if status == Status::StreamEnd {
            return Ok((End::Reached, piece));
        }
        let stands_still = read == 0 && written == 0;
        if stands_still || (piece.is_empty() && written < PIECE_BYTES) {
            return Ok((End::Ahead, piece));
        }
    }
}

fn unbrotli(state: &mut Brotli, piece: &[u8], take: &mut Taker<'_>) -> Result<End, Why> {
    let mut room = [0; PIECE_BYTES];
    let (mut left, mut read, mut total) = (piece.len(), 0, 0);
    loop {
        let (mut free, mut written) = (PIECE_BYTES, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            piece,
            &mut free,
            &mut written,
            &mut room,
            &mut total,
            state,
        );
        if written > 0 {
            take(&room[..written])?;
        }
        match result {
            BrotliResult::ResultSuccess => return Ok(End::Reached),
            BrotliResult::NeedsMoreInput => return Ok(End::Ahead),
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(Why::Malformed),
        }
    }
}

impl Zstd {
    fn decode(&mut self, mut piece: &[u8], take: &mut Taker<'_>) -> Result<(), Why> {
        while !piece.is_empty() {
            if self.frame == Frame::Whole {
                self.frame = Frame::Magic([0; 4], 0);
            }
            if let Frame::Magic(mut magic, mut held) = self.frame {
                let more = piece.len().min(magic.len() - held);
                magic[held..held + more].copy_from_slice(&piece[..more]);
                held += more;
                piece = &piece[more..];
                if held < magic.len() {
                    self.frame = Frame::Magic(magic, held);
                    return Ok(());
                }
                // The library also reads formats of before the standard, whose windows have no bound.
                let skippable = u32::from_le_bytes(magic) & 0xffff_fff0 == 0x184d_2a50;
                if u32::from_le_bytes(magic) != 0xfd2f_b528 && !skippable {
                    return Err(Why::Malformed);
                }
                self.frame = Frame::Open;
                self.run(&magic, take)?;
            }
            piece = self.run(piece, take)?;
        }
        Ok(())
    }

    /// Decodes up to the end of the frame; gives what is behind it.
    fn run<'a>(&mut self, mut piece: &'a [u8], take: &mut Taker<'_>) -> Result<&'a [u8], Why> {
        let mut room = [0; PIECE_BYTES];
        loop {
            let status = self.decoder.run_on_buffers(piece, &mut room);
            let status = status.map_err(|_| Why::Malformed)?;
            piece = &piece[status.bytes_read..];
            if status.bytes_written > 0 {
                take(&room[..status.bytes_written])?;
            }
            if status.remaining == 0 {
                self.frame = Frame::Whole;
                return Ok(piece);
            }
            if piece.is_empty() && status.bytes_written < PIECE_BYTES {
                return Ok(piece);
            }
        }
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Gzip(_) => "Gzip",
            Stage::Deflate(_) => "Deflate",
            Stage::Brotli(..) => "Brotli",
            Stage::Zstd(_) => "Zstd",
        })
    }
}
