//! Floods of HTTP/2 frames: what costs a server more than a client (RFC 9113, section 10.5).
//!
//! Pure: it sees the bytes that are read and how many are written, and the time is passed in. It knows
//! frames by their heads only. Each kind of flood has an account that what clients rightly do pays back:
//!
//! - **Resets** (CVE-2023-44487): a stream that is reset soon after it was opened costs one; every
//!   stream that is opened pays half of one. Streams that have run for a while cost nothing.
//! - **Control frames** (CVE-2019-9512, -9515, -9518): PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA
//!   and whatever is unknown cost one each. Opened streams pay, and so do bytes of bodies both ways:
//!   a client that gets much sends many of them.
//! - **CONTINUATION**: so many may follow one HEADERS.

use std::time::{Duration, Instant};

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;

/// An attack opens and resets less than twice as many streams as this before it ends.
const RESETS_MAX: f64 = 200.0;
const RESETS_FORGOTTEN_PER_S: f64 = 5.0;
/// What a stream that is opened pays of the resets.
const OPENING_PAYS: f64 = 0.5;
/// A stream this old may be reset: somebody pressed stop.
const SOON: Duration = Duration::from_millis(250);

const CONTROL_MAX: f64 = 500.0;
const CONTROL_FORGOTTEN_PER_S: f64 = 20.0;
/// What a stream that is opened pays of the control frames: updates of windows, a priority, a ping.
const OPENING_PAYS_CONTROL: f64 = 4.0;
/// Of bodies in either direction, what pays for one control frame.
const BYTES_PAY_ONE: f64 = 16.0;
/// What is written in answer to a PING or SETTINGS at the most, and so is no body.
const ACK_BYTES: f64 = 17.0;

const CONTINUATIONS_MAX: u32 = 24;

/// What a connection is like so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fair,
    /// It is to be closed, for this reason.
    Flood(&'static str),
}

/// The accounts of one connection.
#[derive(Debug)]
pub(crate) struct Flood {
    /// Bytes to pass over: the preface, then the payload of a frame.
    skip: usize,
    head: [u8; HEAD_BYTES],
    head_length: usize,
    resets: Account,
    control: Account,
    continuations: u32,
    /// The last stream that was opened, and the last of those that are not young any more.
    opened: u32,
    settled: u32,
    settling: (u32, Instant),
}

/// What is owed; time and good conduct pay it back, and nothing can be saved up.
#[derive(Debug)]
struct Account {
    owed: f64,
    forgotten_per_s: f64,
    max: f64,
    at: Instant,
}

impl Account {
    fn new(max: f64, forgotten_per_s: f64, now: Instant) -> Self {
        Account {
            owed: 0.0,
            forgotten_per_s,
            max,
            at: now,
        }
    }

    fn pay(&mut self, amount: f64) {
        self.owed = (self.owed - amount).max(0.0);
    }

    fn owe(&mut self, now: Instant, otherwise: &'static str) -> Verdict {
        let passed = now.saturating_duration_since(self.at);
        self.at = now;
        self.pay(passed.as_secs_f64() * self.forgotten_per_s);
        self.owed += 1.0;
        match self.owed > self.max {
            true => Verdict::Flood(otherwise),
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
            resets: Account::new(RESETS_MAX, RESETS_FORGOTTEN_PER_S, now),
            control: Account::new(CONTROL_MAX, CONTROL_FORGOTTEN_PER_S, now),
            continuations: 0,
            opened: 0,
            settled: 0,
            settling: (0, now),
        }
    }

    /// What was written to the client.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.control.pay(bytes as f64 / BYTES_PAY_ONE);
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

    /// One head of a frame (RFC 9113, section 4.1).
    fn frame(&mut self, now: Instant) -> Verdict {
        const END_STREAM: u8 = 1;
        let [a, b, c, kind, flags, s, t, r, m] = self.head;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes([s & 0x7f, t, r, m]);
        match kind {
            // DATA
            0 if self.skip > 0 => {
                self.control.pay(self.skip as f64 / BYTES_PAY_ONE);
                Verdict::Fair
            }
            0 if flags & END_STREAM != 0 => Verdict::Fair,
            0 => self.control.owe(now, "a flood of empty DATA frames"),
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
                    true => self.control.owe(now, "a flood of RST_STREAM frames"),
                    false => self
                        .resets
                        .owe(now, "a flood of streams that are reset at once"),
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
            // What SETTINGS and PING are answered with is no body that could pay.
            4 | 6 => {
                self.control.owed += ACK_BYTES / BYTES_PAY_ONE;
                self.control.owe(now, "a flood of PING or SETTINGS frames")
            }
            _ => self.control.owe(now, "a flood of control frames"),
        }
    }

    fn open(&mut self, stream: u32, now: Instant) {
        self.age(now);
        self.opened = stream;
        self.resets.pay(OPENING_PAYS);
        self.control.pay(OPENING_PAYS_CONTROL);
    }

    /// Lets streams grow old, in two steps: what was there at the last step is settled at the next.
    fn age(&mut self, now: Instant) {
        let (stream, since) = self.settling;
        if now.saturating_duration_since(since) >= SOON {
            self.settled = stream;
            self.settling = (self.opened, now);
        }
    }
}

#[cfg(test)]
#[path = "h2_flood_tests.rs"]
mod tests;
