use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let value = HeaderValue::from_str(line).expect("a value");
        headers.append(header::CONTENT_ENCODING, value);
    }
    headers
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("written");
    encoder.finish().expect("ended")
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).expect("written");
    encoder.finish().expect("ended")
}

fn raw_deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("written");
    encoder.finish().expect("ended")
}

fn br(text: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, window_log);
    encoder.write_all(text).expect("written");
    encoder.into_inner()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(text, 3).expect("encoded")
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The decoded pieces, and the progress at their end.
fn decoded<'a>(
    codings: &[&str],
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, DecodeProgress) {
    let mut decoder = Decoder::of(&headers(codings)).expect("known codings");
    let mut text = Vec::new();
    for piece in pieces {
        decoder.feed(piece, |decoded| text.extend_from_slice(decoded));
    }
    (text, decoder.progress())
}

fn text() -> Vec<u8> {
    let words = (0..3_000).map(|number| format!("word {} ", number * 7919 % 1009));
    words.collect::<String>().into_bytes()
}

#[test]
fn messages_are_decoded_at_every_split() {
    let text = text();
    let half = text.len() / 2;
    let skippable = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let rows: [(&[&str], Vec<u8>); 18] = [
        (&["gzip"], gzip(&text)),
        (&["x-gzip"], gzip(&text)),
        (&["GZip"], gzip(&text)),
        (
            &["gzip"],
            joined(&[&gzip(&text[..half]), &gzip(b""), &gzip(&text[half..])]),
        ),
        (&["gzip"], joined(&[&gzip(&text), &[0; 700]])),
        (&["deflate"], zlib(&text)),
        (&["deflate"], raw_deflate(&text)),
        (&["deflate"], joined(&[&zlib(&text), b"more"])),
        (&["br"], br(&text, 22)),
        (&["br"], br(&text, 24)),
        (&["zstd"], zstd(&text)),
        (
            &["zstd"],
            joined(&[&zstd(&text[..half]), &skippable, &zstd(&text[half..])]),
        ),
        (&["identity"], text.clone()),
        (&[" , identity,", ""], text.clone()),
        (&["identity, gzip,,identity"], gzip(&text)),
        (&["gzip, br"], br(&gzip(&text), 22)),
        (&["gzip", "br , zstd"], zstd(&br(&gzip(&text), 22))),
        (&["deflate, deflate"], zlib(&raw_deflate(&text))),
    ];
    for (codings, encoded) in rows {
        for cut in [1, 2, 3, 5, 97, 4096, encoded.len()] {
            let (read, progress) = decoded(codings, encoded.chunks(cut));
            assert!(read == text, "{codings:?} cut at {cut}");
            assert_eq!(progress, DecodeProgress::Whole, "{codings:?} cut at {cut}");
        }
        for end in [0, 1, 2, encoded.len() / 2] {
            let (read, progress) = decoded(codings, [&encoded[..end]]);
            assert!(text.starts_with(&read), "{codings:?} up to {end}");
            let plain = codings.join("").contains("identity") && encoded == text;
            let expected = if plain {
                DecodeProgress::Whole
            } else {
                DecodeProgress::Open
            };
            assert_eq!(progress, expected, "{codings:?} up to {end}");
        }
    }
}

#[test]
fn flushed_text_is_decoded_at_once() {
    let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"a word\"}}]}\n\n";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    let mut br = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    let mut zstd = ::zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
    let mut decoders: Vec<_> = ["gzip", "deflate", "br", "zstd"]
        .map(|coding| (coding, Decoder::of(&headers(&[coding])).expect("known"), 0))
        .into();
    for _ in 0..50 {
        gzip.write_all(event)
            .and_then(|()| gzip.flush())
            .expect("written");
        zlib.write_all(event)
            .and_then(|()| zlib.flush())
            .expect("written");
        br.write_all(event)
            .and_then(|()| br.flush())
            .expect("written");
        zstd.write_all(event)
            .and_then(|()| zstd.flush())
            .expect("written");
        let encoded = [gzip.get_ref(), zlib.get_ref(), br.get_ref(), zstd.get_ref()];
        for ((coding, decoder, fed), encoded) in decoders.iter_mut().zip(encoded) {
            let mut read = Vec::new();
            decoder.feed(&encoded[*fed..], |text| read.extend_from_slice(text));
            *fed = encoded.len();
            assert!(read == event, "{coding}");
            assert_eq!(decoder.progress(), DecodeProgress::Open, "{coding}");
        }
    }
}

#[test]
fn unknown_codings_are_not_decoded() {
    for codings in [
        &["compress"] as &[&str],
        &["gzip, dcb"],
        &["aes128gcm"],
        &["gzip;q=1"],
        &["gzip, gzip, gzip", "gzip, gzip"],
    ] {
        assert!(Decoder::of(&headers(codings)).is_none(), "{codings:?}");
    }
    assert!(Decoder::of(&HeaderMap::new()).is_some_and(|plain| plain.is_plain()));
    assert!(Decoder::of(&headers(&["identity"])).is_some_and(|plain| plain.is_plain()));
}

#[test]
fn a_malformed_message_stops_the_decoder() {
    let text = text();
    let mut wrong_sum = gzip(&text);
    let end = wrong_sum.len() - 8;
    wrong_sum[end] ^= 1;
    // The magic number of zstd 0.7, another format.
    let old_zstd = [0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0];
    // A frame with a window of 16 MiB; brotli's large windows.
    let wide_zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x70, 0x01, 0x00, 0x00];
    let wide_br = [0x11, 0x1e, 0x00, 0x00, 0x00, 0x00];
    for (coding, encoded) in [
        ("gzip", b"hello, gzip!".to_vec()),
        ("gzip", wrong_sum),
        ("gzip", zlib(&text)),
        ("deflate", vec![0xff; 40]),
        ("deflate", gzip(&text)),
        ("br", vec![0xff; 40]),
        ("br", wide_br.to_vec()),
        ("zstd", b"hello, zstd!".to_vec()),
        ("zstd", old_zstd.to_vec()),
        ("zstd", wide_zstd.to_vec()),
        ("zstd", joined(&[&zstd(&text), b"trailing"])),
    ] {
        for cut in [1, 7, encoded.len()] {
            let mut decoder = Decoder::of(&headers(&[coding])).expect("known");
            for piece in encoded.chunks(cut) {
                decoder.feed(piece, |_| {});
            }
            let stopped = DecodeProgress::Stopped(StopReason::Malformed);
            assert_eq!(decoder.progress(), stopped, "{coding} cut at {cut}");
            decoder.feed(&zstd(&text), |_| panic!("{coding}: it goes on"));
            assert_eq!(decoder.progress(), stopped, "{coding} cut at {cut}");
        }
    }
}

#[test]
fn a_decompression_bomb_is_not_decoded_to_its_end() {
    let zeros = vec![0; 64 << 20];
    let rows: [(&[&str], Vec<u8>); 5] = [
        (&["gzip"], gzip(&zeros)),
        (&["deflate"], zlib(&zeros)),
        (&["br"], br(&zeros, 22)),
        (&["zstd"], zstd(&zeros)),
        (&["zstd, gzip"], gzip(&zstd(&zeros))),
    ];
    for (codings, encoded) in rows {
        for cut in [100, encoded.len()] {
            let (read, progress) = decoded(codings, encoded.chunks(cut));
            assert_eq!(
                progress,
                DecodeProgress::Stopped(StopReason::TooLarge),
                "{codings:?}"
            );
            let max = DECODED_BYTES_FREE + DECODED_RATIO_MAX * encoded.len() as u64;
            assert!(read.len() as u64 <= max, "{codings:?}: {}", read.len());
        }
    }
}

#[test]
fn random_bytes_do_not_panic() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let good = [gzip(&text()), zlib(&text()), br(&text(), 22), zstd(&text())];
    for round in 0..400 {
        for (coding, good) in ["gzip", "deflate", "br", "zstd"].iter().zip(&good) {
            let mut bytes = good.clone();
            for _ in 0..=round % 4 {
                let place = usize::try_from(next()).unwrap_or(0) % bytes.len();
                bytes[place] = next().to_le_bytes()[0];
            }
            let _ = decoded(&[coding], bytes.chunks(1 + round * 13 % 500));
        }
    }
}

#[test]
fn only_decodable_codings_are_accepted_from_a_backend() {
    for (accepted, sent) in [
        (&[] as &[&str], "identity"),
        (&[""], "identity"),
        (&["gzip"], "gzip"),
        (&["gzip, deflate, br, zstd"], "gzip, deflate, br, zstd"),
        (&["GZIP;q=0.5 , br ; q=1.0"], "GZIP;q=0.5, br ; q=1.0"),
        (&["gzip;q=0.8", "dcb, zstd"], "gzip;q=0.8, zstd"),
        (&["compress, dcz"], "identity"),
        (&["*"], "identity"),
        (&["*;q=0.5, br"], "br"),
        (&["identity;q=0, gzip"], "identity;q=0, gzip"),
        (&["gzip, *;q=0"], "gzip, *;q=0"),
        (&["*;q=0"], "identity"),
        (&["gzip;q=0"], "identity"),
        (&["gzip;q=0.000, x-gzip;Q = 0"], "identity"),
        (&["gzip;q=0.001"], "gzip;q=0.001"),
        (&["identity"], "identity"),
    ] {
        let values: Vec<_> = accepted
            .iter()
            .map(|value| HeaderValue::from_str(value).expect("a value"))
            .collect();
        assert_eq!(readable(&values), sent, "{accepted:?}");
    }
}

#[test]
fn held_bytes_are_reported_and_bounded() {
    let text = text().repeat(300);
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let encoded = match coding {
            "gzip" => gzip(&text),
            "deflate" => zlib(&text),
            "br" => br(&text, 22),
            _ => zstd(&text),
        };
        let mut decoder = Decoder::of(&headers(&[coding])).expect("known");
        let before = decoder.held_bytes();
        assert!((1..1 << 19).contains(&before), "{coding}: {before}");
        decoder.feed(&encoded, |_| {});
        assert!(decoder.held_bytes() <= before + (1 << 24), "{coding}");
        let mut limited = Decoder::of(&headers(&[coding])).expect("known");
        limited.limit(100_000);
        let mut read = 0;
        limited.feed(&encoded, |text| read += text.len());
        assert!((90_000..=100_000).contains(&read), "{coding}: {read}");
        assert_eq!(
            limited.progress(),
            DecodeProgress::Stopped(StopReason::TooLarge),
            "{coding}"
        );
    }
    assert_eq!(Decoder::default().held_bytes(), 0);
}
