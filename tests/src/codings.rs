//! Content codings, applied as servers and clients do.

use std::io::{Result, Write};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

/// Encodes pieces one behind the other, each flushed, so that it can be read when it arrives.
///
/// `coding` is a `Content-Encoding`: any of `gzip`, `deflate`, `br`, `zstd`, `identity`, separated by commas
/// in the order in which they are applied; `bare-deflate` is deflate without the frame of zlib.
///
/// # Panics
/// When there is no such coding.
#[must_use]
pub fn encoded(coding: &str, pieces: &[impl AsRef<[u8]>]) -> Vec<Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.as_ref().to_vec()).collect();
    for coding in coding.split(',').map(str::trim) {
        pieces = match coding {
            "" | "identity" => pieces,
            "gzip" => {
                let encoder = GzEncoder::new(Vec::new(), Compression::default());
                written(encoder, GzEncoder::get_mut, GzEncoder::finish, &pieces)
            }
            "deflate" => {
                let encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                written(encoder, ZlibEncoder::get_mut, ZlibEncoder::finish, &pieces)
            }
            "bare-deflate" => {
                let encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                written(
                    encoder,
                    DeflateEncoder::get_mut,
                    DeflateEncoder::finish,
                    &pieces,
                )
            }
            "br" => {
                let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
                let end = |encoder: brotli::CompressorWriter<_>| Ok(encoder.into_inner());
                written(encoder, brotli::CompressorWriter::get_mut, end, &pieces)
            }
            "zstd" => {
                let encoder = zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
                written(
                    encoder,
                    zstd::Encoder::get_mut,
                    zstd::Encoder::finish,
                    &pieces,
                )
            }
            other => panic!("{other} is no coding"),
        };
    }
    pieces
}

/// As [`encoded`], in one piece.
#[must_use]
pub fn encoded_whole(coding: &str, text: impl AsRef<[u8]>) -> Vec<u8> {
    encoded(coding, &[text]).concat()
}

fn written<E: Write>(
    mut encoder: E,
    so_far: impl Fn(&mut E) -> &mut Vec<u8>,
    end: impl FnOnce(E) -> Result<Vec<u8>>,
    pieces: &[Vec<u8>],
) -> Vec<Vec<u8>> {
    let mut encoded: Vec<Vec<u8>> = Vec::new();
    for piece in pieces {
        encoder.write_all(piece).expect("written");
        encoder.flush().expect("flushed");
        encoded.push(std::mem::take(so_far(&mut encoder)));
    }
    encoded.push(end(encoder).expect("ended"));
    encoded
}
