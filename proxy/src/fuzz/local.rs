//! What comes from this machine's files, and texts that go there: configuration, spool, redaction.

use std::path::Path;

use crate::config;
use crate::content::redact::redacted;
use crate::ship::spool::format;

/// A configuration is loaded, or every message about it can be printed; neither shows a secret.
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

/// Redacted text stays as it is when it is redacted again, and replacements are short.
pub fn redaction(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let once = redacted(&text);
    assert!(once.len() <= 2 * text.len() + 16);
}

/// Segments and cursors of the spool with any damage: lengths stay within the bytes, and an event that is
/// appended is read back.
pub fn spool(data: &[u8]) {
    let Some((number, bytes)) = data.split_first_chunk() else {
        return;
    };
    let number = u64::from_le_bytes(*number);
    let mut at = 0;
    let mut next = number;
    while let Some(length) = format::length(&bytes[at..], next) {
        if let Some(entry) = format::read(&bytes[at..], next) {
            assert_eq!(entry.bytes, length);
        }
        at += length;
        assert!(at <= bytes.len());
        let Some(following) = next.checked_add(1) else {
            break;
        };
        next = following;
    }
    if let Some((generation, next)) = format::cursor(bytes) {
        let slots: Vec<_> = bytes.chunks_exact(format::SLOT_BYTES).take(2).collect();
        assert!(slots.contains(&&format::slot(generation, next)[..]));
    }
    if let Some((id, line)) = bytes.split_first_chunk() {
        let mut out = Vec::new();
        if format::append(&mut out, number, id, line).is_some() {
            let entry = format::read(&out, number);
            assert!(entry.is_some_and(|entry| entry.id == id && entry.line == line));
        }
    }
}
