//! The hash chain of the lines of the audit log.
//!
//! A line is a JSON object whose last member is `"hash"`: the SHA-256, in hex, of the line's bytes before
//! `,"hash":`. These include `"previous"`, the hash of the previous line (64 zeroes in the first), and
//! `"sequence"`, which counts lines from 1.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The previous hash of the first line.
pub(super) const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const BEFORE_HASH: &str = ",\"hash\":\"";
const AFTER_HASH: &str = "\"}";

/// The content of a line, with field names of the Elastic Common Schema where they exist.
#[derive(Clone, Debug, Serialize)]
pub(super) struct AuditEntry {
    pub(super) event: AuditEvent,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<AuditClient>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<Refusals>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expired: Option<ExpiredFile>,
    /// The new state of what was changed through the admin API, or its last state if it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) changed: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<AuditService>,
    /// The size of an incomplete line that was removed after a crash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cut_bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct AuditEvent {
    pub(super) kind: &'static str,
    pub(super) category: [&'static str; 1],
    pub(super) r#type: [&'static str; 1],
    pub(super) action: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct AuditClient {
    /// An address, or `others` if there were too many to count separately.
    pub(super) ip: String,
}

/// Rejections of one scheme and address within ten seconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Refusals {
    /// The signature scheme, or `admin` for the admin API.
    pub(super) scheme: &'static str,
    pub(super) count: u64,
    /// AuditCounts by reason.
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    pub(super) first: String,
    pub(super) last: String,
    /// The route of the first request; its id is in `request_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<String>,
}

/// An expired file that was removed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct ExpiredFile {
    pub(super) file: String,
    /// The sequence number of its last line.
    pub(super) last_sequence: u64,
    pub(super) last_hash: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct AuditService {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) pid: u32,
}

impl AuditEntry {
    pub(super) fn of(event: AuditEvent) -> Self {
        AuditEntry {
            event,
            client: None,
            refused: None,
            expired: None,
            changed: None,
            service: None,
            cut_bytes: None,
        }
    }

    pub(super) fn started() -> Self {
        AuditEntry {
            service: Some(AuditService {
                name: "weir",
                version: env!("CARGO_PKG_VERSION"),
                pid: std::process::id(),
            }),
            ..AuditEntry::of(AuditEvent::process("start", "weir_started"))
        }
    }

    pub(super) fn stopped() -> Self {
        AuditEntry::of(AuditEvent::process("end", "weir_stopped"))
    }

    pub(super) fn expired(expired: ExpiredFile) -> Self {
        AuditEntry {
            expired: Some(expired),
            ..AuditEntry::of(AuditEvent::process("deletion", "audit_file_expired"))
        }
    }

    /// The head file was missing at a start.
    pub(super) fn headless() -> Self {
        AuditEntry::of(AuditEvent::process("change", "audit_head_missing"))
    }

    pub(super) fn recovered(cut_bytes: u64) -> Self {
        AuditEntry {
            cut_bytes: Some(cut_bytes),
            ..AuditEntry::of(AuditEvent::process("change", "audit_line_cut"))
        }
    }
}

impl AuditEvent {
    pub(super) fn process(kind: &'static str, action: &'static str) -> Self {
        AuditEvent {
            kind: "event",
            category: ["process"],
            r#type: [kind],
            action,
            outcome: "success",
        }
    }
}

/// The end of the chain.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct ChainHead {
    /// The sequence number of the last line; 0 before the first.
    pub(super) sequence: u64,
    pub(super) hash: String,
}

impl ChainHead {
    pub(super) fn start() -> Self {
        ChainHead {
            sequence: 0,
            hash: NO_HASH.to_owned(),
        }
    }

    /// The line of an entry that follows this head, with its newline, and the new head.
    pub(super) fn chain(
        &self,
        entry: &AuditEntry,
        timestamp: &str,
    ) -> serde_json::Result<(String, ChainHead)> {
        #[derive(Serialize)]
        struct Line<'a> {
            sequence: u64,
            #[serde(rename = "@timestamp")]
            timestamp: &'a str,
            #[serde(flatten)]
            entry: &'a AuditEntry,
            previous: &'a str,
        }
        let sequence = self.sequence + 1;
        let mut line = serde_json::to_string(&Line {
            sequence,
            timestamp,
            entry,
            previous: &self.hash,
        })?;
        line.pop();
        let hash = hash(&line);
        line.push_str(BEFORE_HASH);
        line.push_str(&hash);
        line.push_str(AFTER_HASH);
        line.push('\n');
        Ok((line, ChainHead { sequence, hash }))
    }
}

/// The members of a line that verify it.
#[derive(Debug, Deserialize)]
pub(super) struct ChainLink {
    pub(super) sequence: u64,
    pub(super) previous: String,
    pub(super) hash: String,
    #[serde(default)]
    pub(super) expired: Option<ExpiredFile>,
}

/// Why a single line is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidLine {
    #[error("this is not a complete line of an audit log")]
    Malformed,
    #[error("this line was changed: it does not match its hash")]
    Changed,
}

impl ChainLink {
    /// Reads a line without its newline, and verifies its own hash.
    pub(super) fn read(line: &str) -> Result<ChainLink, InvalidLine> {
        let link: ChainLink = serde_json::from_str(line).map_err(|_| InvalidLine::Malformed)?;
        let hashed = line
            .strip_suffix(AFTER_HASH)
            .and_then(|line| line.rsplit_once(BEFORE_HASH));
        let Some((hashed, written)) = hashed else {
            return Err(InvalidLine::Changed);
        };
        if written == link.hash && hash(hashed) == link.hash {
            Ok(link)
        } else {
            Err(InvalidLine::Changed)
        }
    }

    pub(super) fn head(&self) -> ChainHead {
        ChainHead {
            sequence: self.sequence,
            hash: self.hash.clone(),
        }
    }
}

fn hash(text: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_contains_the_hash_of_the_line_before() {
        let start = ChainHead::start();
        let at = "2026-11-22T08:30:00.000000Z";
        let (first, head) = start.chain(&AuditEntry::stopped(), at).expect("a line");
        let (second, end) = head.chain(&AuditEntry::recovered(7), at).expect("a line");
        let first = ChainLink::read(first.trim_end()).expect("whole");
        assert_eq!((first.sequence, &*first.previous), (1, NO_HASH));
        assert_eq!(first.head(), head);
        let link = ChainLink::read(second.trim_end()).expect("whole");
        assert_eq!((link.sequence, &link.previous), (2, &head.hash));
        assert_eq!(link.head(), end);
        assert!(second.contains("\"cut_bytes\":7"));
    }

    #[test]
    fn every_changed_byte_is_detected() {
        let (line, _) = ChainHead::start()
            .chain(&AuditEntry::started(), "2026-11-22T08:30:00.000000Z")
            .expect("a line");
        let line = line.trim_end();
        for place in 0..line.len() {
            let mut changed = line.as_bytes().to_vec();
            changed[place] ^= 1;
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(ChainLink::read(&changed).is_err(), "{changed}");
        }
        for end in 0..line.len() {
            assert!(ChainLink::read(&line[..end]).is_err());
        }
        // A second hash at the beginning does not hide a change.
        let doubled = line.replacen("{", "{\"hash\":\"x\",", 1);
        assert!(ChainLink::read(&doubled).is_err());
    }
}
