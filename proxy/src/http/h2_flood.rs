//! HTTP/2 flood detection: frames that cost a server more than its client (RFC 9113, section 10.5).
//!
//! Pure: it sees the bytes that are read and how many are written, and the time is passed in. It looks at
//! frame headers only. Each kind of flood is a leaky bucket that legitimate traffic drains:
//!
//! - **Resets** (CVE-2023-44487, rapid reset): a stream that is reset soon after it was opened adds
//!   one; every stream that is opened drains half of one. Resets of older streams add nothing.
//! - **Control frames** (CVE-2019-9512, -9515, -9518): PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA
//!   and unknown frames add one each. Opened streams drain, and so do body bytes in both directions: a client
//!   that downloads a lot sends many of them.
//! - **CONTINUATION**: a fixed number may follow one HEADERS frame.

use std::time::{Duration, Instant};

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;

/// An attack opens and resets less than twice as many streams as this before it ends.
const RESETS_MAX: f64 = 200.0;
const RESETS_DRAINED_PER_S: f64 = 5.0;
/// What opening a stream drains from the resets.
const OPENING_DRAINS: f64 = 0.5;
/// The age from which a stream may be reset freely: a user pressed stop.
const YOUNG: Duration = Duration::from_millis(250);

const CONTROL_MAX: f64 = 500.0;
const CONTROL_DRAINED_PER_S: f64 = 20.0;
/// What opening a stream drains from the control frames: window updates, a priority, a ping.
const OPENING_DRAINS_CONTROL: f64 = 4.0;
/// Body bytes, in either direction, that drain one control frame.
const BYTES_PER_CONTROL_FRAME: f64 = 16.0;
/// The most that is written in reply to a PING or SETTINGS, which is not part of a body.
const ACK_BYTES: f64 = 17.0;

const CONTINUATIONS_MAX: u32 = 24;

/// The verdict on a connection so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloodVerdict {
    Fair,
    /// It must be closed, for this reason.
    Flood(&'static str),
}

/// The leaky buckets of one connection.
#[derive(Debug)]
pub(crate) struct FloodDetector {
    /// Bytes to skip: the preface, then the payload of a frame.
    skip: usize,
    head: [u8; HEAD_BYTES],
    head_length: usize,
    resets: LeakyBucket,
    control: LeakyBucket,
    continuations: u32,
    /// The last stream that was opened, and the last of those that are no longer young.
    opened: u32,
    settled: u32,
    settling: (u32, Instant),
}

/// A leaky bucket: time and legitimate traffic drain it, never below empty.
#[derive(Debug)]
struct LeakyBucket {
    level: f64,
    drained_per_s: f64,
    max: f64,
    at: Instant,
}

impl LeakyBucket {
    fn new(max: f64, drained_per_s: f64, now: Instant) -> Self {
        LeakyBucket {
            level: 0.0,
            drained_per_s,
            max,
            at: now,
        }
    }

    fn drain(&mut self, amount: f64) {
        self.level = (self.level - amount).max(0.0);
    }

    fn add(&mut self, now: Instant, reason: &'static str) -> FloodVerdict {
        let passed = now.saturating_duration_since(self.at);
        self.at = now;
        self.drain(passed.as_secs_f64() * self.drained_per_s);
        self.level += 1.0;
        match self.level > self.max {
            true => FloodVerdict::Flood(reason),
            false => FloodVerdict::Fair,
        }
    }
}

impl FloodDetector {
    /// A connection whose preface has not been read.
    pub(crate) fn new(now: Instant) -> Self {
        FloodDetector {
            skip: PREFACE_BYTES,
            head: [0; HEAD_BYTES],
            head_length: 0,
            resets: LeakyBucket::new(RESETS_MAX, RESETS_DRAINED_PER_S, now),
            control: LeakyBucket::new(CONTROL_MAX, CONTROL_DRAINED_PER_S, now),
            continuations: 0,
            opened: 0,
            settled: 0,
            settling: (0, now),
        }
    }

    /// Counts bytes that were written to the client.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.control.drain(bytes as f64 / BYTES_PER_CONTROL_FRAME);
    }

    /// Examines bytes that were read from the client, however they are split.
    pub(crate) fn read(&mut self, mut bytes: &[u8], now: Instant) -> FloodVerdict {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEAD_BYTES - self.head_length).min(bytes.len());
            self.head[self.head_length..][..taken].copy_from_slice(&bytes[..taken]);
            self.head_length += taken;
            bytes = &bytes[taken..];
            if self.head_length < HEAD_BYTES {
                break;
            }
            self.head_length = 0;
            let verdict = self.frame(now);
            if verdict != FloodVerdict::Fair {
                return verdict;
            }
        }
        FloodVerdict::Fair
    }

    /// One frame header (RFC 9113, section 4.1).
    fn frame(&mut self, now: Instant) -> FloodVerdict {
        const END_STREAM: u8 = 1;
        let [a, b, c, kind, flags, s, t, r, m] = self.head;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes([s & 0x7f, t, r, m]);
        match kind {
            // DATA
            0 if self.skip > 0 => {
                self.control
                    .drain(self.skip as f64 / BYTES_PER_CONTROL_FRAME);
                FloodVerdict::Fair
            }
            0 if flags & END_STREAM != 0 => FloodVerdict::Fair,
            0 => self.control.add(now, "a flood of empty DATA frames"),
            // HEADERS; trailers do not open a stream.
            1 => {
                self.continuations = 0;
                if stream > self.opened {
                    self.open(stream, now);
                }
                FloodVerdict::Fair
            }
            // RST_STREAM
            3 => {
                self.age(now);
                match stream <= self.settled {
                    true => self.control.add(now, "a flood of RST_STREAM frames"),
                    false => self
                        .resets
                        .add(now, "a flood of streams that are reset at once"),
                }
            }
            // CONTINUATION
            9 => {
                self.continuations += 1;
                match self.continuations > CONTINUATIONS_MAX {
                    true => FloodVerdict::Flood("too many CONTINUATION frames"),
                    false => FloodVerdict::Fair,
                }
            }
            // The replies to SETTINGS and PING are not body bytes, and must not drain the bucket.
            4 | 6 => {
                self.control.level += ACK_BYTES / BYTES_PER_CONTROL_FRAME;
                self.control.add(now, "a flood of PING or SETTINGS frames")
            }
            _ => self.control.add(now, "a flood of control frames"),
        }
    }

    fn open(&mut self, stream: u32, now: Instant) {
        self.age(now);
        self.opened = stream;
        self.resets.drain(OPENING_DRAINS);
        self.control.drain(OPENING_DRAINS_CONTROL);
    }

    /// Ages streams in two steps: those opened before the last step are settled at the next.
    fn age(&mut self, now: Instant) {
        let (stream, since) = self.settling;
        if now.saturating_duration_since(since) >= YOUNG {
            self.settled = stream;
            self.settling = (self.opened, now);
        }
    }
}

#[cfg(test)]
#[path = "h2_flood_tests.rs"]
mod tests;
