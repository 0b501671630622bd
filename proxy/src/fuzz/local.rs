//! What is read from and written to local files: configuration, spool, redacted texts.

use std::path::Path;

use crate::config;
use crate::content::redact::redacted;
use crate::ship::dataset::Dataset;
use crate::ship::spool::format::{self, SegmentVersion};

/// A configuration is loaded, or all its diagnostics can be printed.
pub fn config(data: &[u8]) {
    const SECRET: &str = "s3cret-of-the-environment";
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let variable = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    match config::parse(text, Path::new("weir.yaml"), &variable) {
        Ok(loaded) => drop(loaded),
        Err(diagnostics) => drop(diagnostics.to_string()),
    }
}

/// Redaction accepts any text, and replacements are short.
pub fn redaction(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let once = redacted(&text);
    assert!(once.len() <= 2 * text.len() + 16);
}

/// Corrupt segments of both versions and cursors: lengths stay within the bytes, and an event that is
/// appended is read back.
pub fn spool(data: &[u8]) {
    let Some((number, bytes)) = data.split_first_chunk() else {
        return;
    };
    let number = u64::from_le_bytes(*number);
    for version in [SegmentVersion::One, SegmentVersion::Two] {
        read_segment(version, number, bytes);
    }
    if let Some((generation, next)) = format::cursor(bytes) {
        let slot = format::slot(generation, next);
        let mut slots = bytes.chunks_exact(format::SLOT_BYTES).take(2);
        assert!(slots.any(|bytes| bytes == slot));
    }
    let Some((id, line)) = bytes.split_first_chunk() else {
        return;
    };
    for dataset in Dataset::ALL {
        let mut out = Vec::new();
        if format::append(&mut out, number, dataset, id, line).is_some() {
            let entry = format::read(SegmentVersion::Two, &out, number);
            let read = entry.map(|entry| (entry.dataset, entry.id, entry.line, entry.bytes));
            assert_eq!(read, Some((dataset, id, line, out.len())));
        }
    }
}

fn read_segment(version: SegmentVersion, number: u64, bytes: &[u8]) {
    let (mut at, mut next) = (0, number);
    while let Some(length) = format::length(version, &bytes[at..], next) {
        if let Some(entry) = format::read(version, &bytes[at..], next) {
            assert_eq!(entry.bytes, length);
        }
        at += length;
        assert!(at <= bytes.len());
        let Some(following) = next.checked_add(1) else {
            return;
        };
        next = following;
    }
}
