//! One coding, decoded piece by piece.

use std::fmt;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Operation as _};

use super::{ContentCoding, StopReason};

/// The size of the pieces of decoded text.
const PIECE_BYTES: usize = 8 * 1024;

/// RFC 9659: a decoder of zstd for HTTP must support windows of 8 MB, and need not support larger ones.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// RFC 7932, section 9.1: the largest window.
const BROTLI_WINDOW_BYTES_MAX: u64 = 1 << 24;

/// Receives the decoded bytes.
type DecodedSink<'a> = dyn FnMut(&[u8]) -> Result<(), StopReason> + 'a;

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// The decoder of one coding.
pub(super) enum Codec {
    Gzip(GzipCodec),
    Deflate(DeflateCodec),
    Brotli(Box<Brotli>, CodingEnd),
    Zstd(ZstdCodec),
}

/// Whether a coding has reached its end; whatever follows is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodingEnd {
    Ahead,
    Reached,
}

/// A sequence of gzip members.
pub(super) struct GzipCodec {
    inflate: Decompress,
    member: GzipMember,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GzipMember {
    Open,
    Whole,
    /// What follows the last member is not a member.
    Padding,
}

/// `deflate` is zlib, or raw deflate where its first two bytes are not zlib's.
pub(super) enum DeflateCodec {
    Begin(Option<u8>),
    Inflating(Decompress),
    Ended,
}

/// A sequence of zstd frames.
pub(super) struct ZstdCodec {
    decoder: zstd::stream::raw::Decoder<'static>,
    frame: ZstdFrame,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ZstdFrame {
    /// The part of a frame's magic number that has arrived.
    Magic([u8; 4], usize),
    Open,
    /// The last frame is complete; another may follow.
    Whole,
}

impl Codec {
    /// `None` if it cannot be allocated.
    pub(super) fn new(coding: ContentCoding) -> Option<Codec> {
        Some(match coding {
            ContentCoding::Gzip => Codec::Gzip(GzipCodec {
                inflate: Decompress::new_gzip(15),
                member: GzipMember::Open,
            }),
            ContentCoding::Deflate => Codec::Deflate(DeflateCodec::Begin(None)),
            ContentCoding::Brotli => {
                let alloc = StandardAlloc::default;
                let state = Brotli::new_strict(alloc(), alloc(), alloc());
                Codec::Brotli(Box::new(state), CodingEnd::Ahead)
            }
            ContentCoding::Zstd => {
                let mut decoder = zstd::stream::raw::Decoder::new().ok()?;
                let window = DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
                decoder.set_parameter(window).ok()?;
                Codec::Zstd(ZstdCodec {
                    decoder,
                    frame: ZstdFrame::Magic([0; 4], 0),
                })
            }
        })
    }

    /// Decodes a piece; `sink` gets all that can be decoded so far.
    pub(super) fn decode(
        &mut self,
        piece: &[u8],
        sink: &mut DecodedSink<'_>,
    ) -> Result<(), StopReason> {
        match self {
            Codec::Gzip(gzip) => gzip.decode(piece, sink),
            Codec::Deflate(deflate) => deflate.decode(piece, sink),
            Codec::Brotli(_, CodingEnd::Reached) => Ok(()),
            Codec::Brotli(state, end) => {
                *end = decode_brotli(state, piece, sink)?;
                Ok(())
            }
            Codec::Zstd(zstd) => zstd.decode(piece, sink),
        }
    }

    /// Approximately how many bytes it holds after decoding so many: its fixed state, and the part of its window
    /// that is in use.
    pub(super) fn held_bytes(&self, decoded: u64) -> u64 {
        match self {
            Codec::Gzip(_) | Codec::Deflate(_) => 48 * 1024,
            Codec::Brotli(..) => 64 * 1024 + decoded.min(BROTLI_WINDOW_BYTES_MAX),
            Codec::Zstd(_) => 256 * 1024 + decoded.min(1 << ZSTD_WINDOW_LOG_MAX),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        match self {
            Codec::Gzip(gzip) => gzip.member != GzipMember::Open,
            Codec::Deflate(deflate) => matches!(deflate, DeflateCodec::Ended),
            Codec::Brotli(_, end) => *end == CodingEnd::Reached,
            Codec::Zstd(zstd) => zstd.frame == ZstdFrame::Whole,
        }
    }
}

impl GzipCodec {
    fn decode(&mut self, mut piece: &[u8], sink: &mut DecodedSink<'_>) -> Result<(), StopReason> {
        while !piece.is_empty() && self.member != GzipMember::Padding {
            if self.member == GzipMember::Whole {
                if piece[0] != 0x1f {
                    self.member = GzipMember::Padding;
                    return Ok(());
                }
                self.inflate = Decompress::new_gzip(15);
                self.member = GzipMember::Open;
            }
            let (end, rest) = inflate(&mut self.inflate, piece, sink)?;
            if end == CodingEnd::Reached {
                self.member = GzipMember::Whole;
            }
            piece = rest;
        }
        Ok(())
    }
}

impl DeflateCodec {
    fn decode(&mut self, piece: &[u8], sink: &mut DecodedSink<'_>) -> Result<(), StopReason> {
        if let DeflateCodec::Begin(first) = self {
            let held = *first;
            let mut both = held.iter().chain(piece).copied();
            let (Some(one), Some(two)) = (both.next(), both.next()) else {
                *first = held.or(piece.first().copied());
                return Ok(());
            };
            let mut inflate = Decompress::new(is_zlib(one, two));
            if held.is_some() {
                self::inflate(&mut inflate, &[one], sink)?;
            }
            *self = DeflateCodec::Inflating(inflate);
        }
        if let DeflateCodec::Inflating(inflate) = self
            && let (CodingEnd::Reached, _) = self::inflate(inflate, piece, sink)?
        {
            *self = DeflateCodec::Ended;
        }
        Ok(())
    }
}

/// RFC 1950, section 2.2. In raw deflate the first byte of zlib would begin a stored block with padding that
/// is not zero, which no encoder writes.
fn is_zlib(one: u8, two: u8) -> bool {
    one & 0x0f == 8 && one >> 4 <= 7 && (u16::from(one) << 8 | u16::from(two)).is_multiple_of(31)
}

/// Inflates a piece; returns what follows its end.
fn inflate<'a>(
    inflate: &mut Decompress,
    mut piece: &'a [u8],
    sink: &mut DecodedSink<'_>,
) -> Result<(CodingEnd, &'a [u8]), StopReason> {
    let mut buffer = [0; PIECE_BYTES];
    loop {
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate
            .decompress(piece, &mut buffer, FlushDecompress::None)
            .map_err(|_| StopReason::Malformed)?;
        let read = usize::try_from(inflate.total_in() - read).unwrap_or(piece.len());
        let written = usize::try_from(inflate.total_out() - written).unwrap_or(PIECE_BYTES);
        piece = piece.get(read..).unwrap_or_default();
        if written > 0 {
            sink(&buffer[..written.min(PIECE_BYTES)])?;
        }
        if status == Status::StreamEnd {
            return Ok((CodingEnd::Reached, piece));
        }
        let is_stalled = read == 0 && written == 0;
        if is_stalled || (piece.is_empty() && written < PIECE_BYTES) {
            return Ok((CodingEnd::Ahead, piece));
        }
    }
}

fn decode_brotli(
    state: &mut Brotli,
    piece: &[u8],
    sink: &mut DecodedSink<'_>,
) -> Result<CodingEnd, StopReason> {
    let mut buffer = [0; PIECE_BYTES];
    let (mut left, mut read, mut total) = (piece.len(), 0, 0);
    loop {
        let (mut free, mut written) = (PIECE_BYTES, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            piece,
            &mut free,
            &mut written,
            &mut buffer,
            &mut total,
            state,
        );
        if written > 0 {
            sink(&buffer[..written])?;
        }
        match result {
            BrotliResult::ResultSuccess => return Ok(CodingEnd::Reached),
            BrotliResult::NeedsMoreInput => return Ok(CodingEnd::Ahead),
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(StopReason::Malformed),
        }
    }
}

impl ZstdCodec {
    fn decode(&mut self, mut piece: &[u8], sink: &mut DecodedSink<'_>) -> Result<(), StopReason> {
        while !piece.is_empty() {
            if self.frame == ZstdFrame::Whole {
                self.frame = ZstdFrame::Magic([0; 4], 0);
            }
            if let ZstdFrame::Magic(mut magic, mut held) = self.frame {
                let more = piece.len().min(magic.len() - held);
                magic[held..held + more].copy_from_slice(&piece[..more]);
                held += more;
                piece = &piece[more..];
                if held < magic.len() {
                    self.frame = ZstdFrame::Magic(magic, held);
                    return Ok(());
                }
                // The library also reads formats that predate the standard, with unbounded windows.
                let skippable = u32::from_le_bytes(magic) & 0xffff_fff0 == 0x184d_2a50;
                if u32::from_le_bytes(magic) != 0xfd2f_b528 && !skippable {
                    return Err(StopReason::Malformed);
                }
                self.frame = ZstdFrame::Open;
                self.run(&magic, sink)?;
            }
            piece = self.run(piece, sink)?;
        }
        Ok(())
    }

    /// Decodes up to the end of the frame; returns what follows it.
    fn run<'a>(
        &mut self,
        mut piece: &'a [u8],
        sink: &mut DecodedSink<'_>,
    ) -> Result<&'a [u8], StopReason> {
        let mut buffer = [0; PIECE_BYTES];
        loop {
            let status = self.decoder.run_on_buffers(piece, &mut buffer);
            let status = status.map_err(|_| StopReason::Malformed)?;
            piece = &piece[status.bytes_read..];
            if status.bytes_written > 0 {
                sink(&buffer[..status.bytes_written])?;
            }
            if status.remaining == 0 {
                self.frame = ZstdFrame::Whole;
                return Ok(piece);
            }
            if piece.is_empty() && status.bytes_written < PIECE_BYTES {
                return Ok(piece);
            }
        }
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::Gzip(_) => "Gzip",
            Codec::Deflate(_) => "Deflate",
            Codec::Brotli(..) => "Brotli",
            Codec::Zstd(_) => "Zstd",
        })
    }
}
