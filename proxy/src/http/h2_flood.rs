//! HTTP/2 flood detection: frames that cost a server more than its client (RFC 9113, section 10.5).
//!
//! Pure: it sees the bytes that are read and how many are written, and the time is passed in. It looks at
//! frame headers only. Each kind of flood is a leaky bucket that legitimate traffic drains:
//!
//! - **Resets** (CVE-2023-44487): (rapid reset) a stream that is reset soon after it was opened adds
//!   one; every stream that is opened drains half of one. Resets of older streams add nothing.
//! - **Control frames** (CVE-2019-9512, -9515, -9518): PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA
//!   and unknown frames add one each. Opened streams drain, and so do body bytes both ways: a client
//!   that downloads much sends many of them.
//! - **CONTINUATION**: a fixed number may follow one HEADERS frame.

use std::time::{Duration, Instant};

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;

/// An attack opens and resets less than twice as many streams as this before it ends.
const RESETS_MAX: f64 = 200.0;
const RESETS_DRAINED_PER_S: f64 = 5.0;
/// What opening a stream drains from the resets.
const OPENING_DRAINS: f64 = 0.5;
/// A stream this old may be reset freely: a user pressed stop.
const YOUNG: Duration = Duration::from_millis(250);

const CONTROL_MAX: f64 = 500.0;
const CONTROL_DRAINED_PER_S: f64 = 20.0;
/// What opening a stream drains from the control frames: window updates, a priority, a ping.
const OPENING_DRAINS_CONTROL: f64 = 4.0;
/// Body bytes, in either direction, that drain one control frame.
const BYTES_PER_CONTROL_FRAME: f64 = 16.0;
/// The most that is written in reply to a PING or SETTINGS, which is no body.
const ACK_BYTES: f64 = 17.0;

const CONTINUATIONS_MAX: u32 = 24;

/// The verdict on a connection so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fair,
    /// It must be closed, for this reason.
    Flood(&'static str),
}

/// The leaky buckets of one connection.
#[derive(Debug)]
pub(crate) struct Flood {
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

    fn add(&mut self, now: Instant, reason: &'static str) -> Verdict {
        let passed = now.saturating_duration_since(self.at);
        self.at = now;
        self.drain(passed.as_secs_f64() * self.drained_per_s);
        self.level += 1.0;
        match self.level > self.max {
            true => Verdict::Flood(reason),
            false => Verdict::Fair,
        }
    }
}

impl Flood {
    /// A connection whose preface has not been read.
    pub(crate) fn new(now: Instant) -> Self {
        Flood {
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

    /// What was written to the client.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.control.drain(bytes as f64 / BYTES_PER_CONTROL_FRAME);
    }

    /// What was read from the client, however it is split.
    pub(crate) fn read(&mut self, mut bytes: &[u8], now: Instant) -> Verdict {
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
            if verdict != Verdict::Fair {
                return verdict;
            }
        }
        Verdict::Fair
    }

    /// One frame header (RFC 9113, section 4.1).
    fn frame(&mut self, now: Instant) -> Verdict {
        const END_STREAM: u8 = 1;
        let [a, b, c, kind, flags, s, t, r, m] = self.head;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes([s & 0x7f, t, r, m]);
        match kind {
            // DATA
            0 if self.skip > 0 => {
                self.control
                    .drain(self.skip as f64 / BYTES_PER_CONTROL_FRAME);
                Verdict::Fair
            }
            0 if flags & END_STREAM != 0 => Verdict::Fair,
            0 => self.control.add(now, "a flood of empty DATA frames"),
            // HEADERS; those of trailers open nothing.
            1 => {
                self.continuations = 0;
                if stream > self.opened {
                    self.open(stream, now);
                }
                Verdict::Fair
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
                    true => Verdict::Flood("too many CONTINUATION frames"),
                    false => Verdict::Fair,
                }
            }
            // The replies to SETTINGS and PING are no body bytes that may drain the bucket.
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
