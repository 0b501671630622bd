//! Applies content codings like servers and clients.

use std::io::{Result, Write};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

/// Encodes chunks in sequence, each flushed, so that it can be decoded when it arrives.
///
/// `coding` is a `Content-Encoding`: any of `gzip`, `deflate`, `br`, `zstd`, `identity`, separated by commas
/// in the order in which they are applied; `bare-deflate` is deflate without the zlib wrapper.
///
/// # Panics
/// The coding is unknown.
#[must_use]
pub fn encoded(coding: &str, chunks: &[impl AsRef<[u8]>]) -> Vec<Vec<u8>> {
    let mut chunks: Vec<Vec<u8>> = chunks.iter().map(|chunk| chunk.as_ref().to_vec()).collect();
    for coding in coding.split(',').map(str::trim) {
        chunks = match coding {
            "" | "identity" => chunks,
            "gzip" => {
                let encoder = GzEncoder::new(Vec::new(), Compression::default());
                written(encoder, GzEncoder::get_mut, GzEncoder::finish, &chunks)
            }
            "deflate" => {
                let encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                written(encoder, ZlibEncoder::get_mut, ZlibEncoder::finish, &chunks)
            }
            "bare-deflate" => {
                let encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                written(
                    encoder,
                    DeflateEncoder::get_mut,
                    DeflateEncoder::finish,
                    &chunks,
                )
            }
            "br" => {
                let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
                let end = |encoder: brotli::CompressorWriter<_>| Ok(encoder.into_inner());
                written(encoder, brotli::CompressorWriter::get_mut, end, &chunks)
            }
            "zstd" => {
                let encoder = zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
                written(
                    encoder,
                    zstd::Encoder::get_mut,
                    zstd::Encoder::finish,
                    &chunks,
                )
            }
            other => panic!("{other} is not a coding"),
        };
    }
    chunks
}

/// As [`encoded`], with a single chunk.
#[must_use]
pub fn encoded_whole(coding: &str, text: impl AsRef<[u8]>) -> Vec<u8> {
    encoded(coding, &[text]).concat()
}

fn written<E: Write>(
    mut encoder: E,
    so_far: impl Fn(&mut E) -> &mut Vec<u8>,
    end: impl FnOnce(E) -> Result<Vec<u8>>,
    chunks: &[Vec<u8>],
) -> Vec<Vec<u8>> {
    let mut encoded: Vec<Vec<u8>> = Vec::new();
    for chunk in chunks {
        encoder.write_all(chunk).expect("written");
        encoder.flush().expect("flushed");
        encoded.push(std::mem::take(so_far(&mut encoder)));
    }
    encoded.push(end(encoder).expect("ended"));
    encoded
}
