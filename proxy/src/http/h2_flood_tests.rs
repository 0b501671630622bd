//! Floods are stopped early, and busy clients are not affected.

use super::*;
use crate::clock;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const SETTINGS_ACK_BYTES: usize = 9;
const PING_ACK_BYTES: usize = 17;

/// A connection after its preface, with a clock.
struct Client {
    flood: FloodDetector,
    now: Instant,
    stream: u32,
}

impl Client {
    fn new() -> Self {
        let now = clock::now();
        let mut flood = FloodDetector::new(now);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(flood.read(preface, now), FloodVerdict::Fair);
        Client {
            flood,
            now,
            stream: 0,
        }
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, length: usize) -> FloodVerdict {
        let mut bytes = (length as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.resize(HEAD_BYTES + length, 0xff);
        self.flood.read(&bytes, self.now)
    }

    fn open(&mut self) -> u32 {
        self.stream = if self.stream == 0 { 1 } else { self.stream + 2 };
        let opened = self.frame(HEADERS, 5, self.stream, 40);
        assert_eq!(opened, FloodVerdict::Fair);
        self.stream
    }

    fn fair(&mut self, kind: u8, stream: u32, length: usize) {
        assert_eq!(self.frame(kind, 0, stream, length), FloodVerdict::Fair);
    }

    fn wrote(&mut self, bytes: usize) {
        self.flood.wrote(bytes);
    }
}

/// After how many rounds a client is disconnected.
fn rounds(max: usize, mut round: impl FnMut(&mut Client) -> FloodVerdict) -> Option<usize> {
    let mut client = Client::new();
    (1..=max).find(|_| round(&mut client) != FloodVerdict::Fair)
}

#[test]
fn a_rapid_reset_ends_within_500_pairs() {
    for pause in [0, 100, 1_000, 10_000].map(Duration::from_micros) {
        let pairs = rounds(5000, |client| {
            let stream = client.after(pause).open();
            client.frame(RST_STREAM, 0, stream, 4)
        });
        assert!(
            pairs.is_some_and(|pairs| pairs <= 500),
            "{pause:?}: {pairs:?}"
        );
    }
}

#[test]
fn floods_of_frames_that_need_a_reply_end_soon() {
    for (kind, length, answer) in [
        (PING, 8, PING_ACK_BYTES),
        (SETTINGS, 0, SETTINGS_ACK_BYTES),
        (SETTINGS, 6, SETTINGS_ACK_BYTES),
        (PRIORITY, 5, 0),
        (WINDOW_UPDATE, 4, 0),
        (DATA, 0, 0),
        (0x42, 3, 0),
    ] {
        // A frame each half a millisecond: more than 500 and less than 2000 of them, in a second.
        let frames = rounds(5000, |client| {
            let verdict = client
                .after(Duration::from_micros(500))
                .frame(kind, 0, 0, length);
            client.wrote(answer);
            verdict
        });
        assert!(
            frames.is_some_and(|frames| frames < 2000),
            "{kind}: {frames:?}"
        );
    }
}

#[test]
fn the_continuation_frames_of_a_head_are_bounded() {
    let frames = rounds(100, |client| {
        if client.stream == 0 {
            client.open();
        }
        client.frame(CONTINUATION, 0, 1, 2500)
    });
    assert!(frames.is_some_and(|frames| frames <= 32), "{frames:?}");
    // Each has its own count: 64 KiB in frames of 16 KiB, again and again.
    let mut client = Client::new();
    for _ in 0..1000 {
        let stream = client.after(Duration::from_millis(1)).open();
        (0..4).for_each(|_| client.fair(CONTINUATION, stream, 16 * 1024));
    }
}

#[test]
fn splits_do_not_change_the_count() {
    let mut bytes = vec![b'P'; PREFACE_BYTES];
    for _ in 0..700 {
        bytes.extend([0, 0, 8, PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
    let now = clock::now();
    for size in [1, 2, 8, 9, 10, 17, 4096, bytes.len()] {
        let mut flood = FloodDetector::new(now);
        let ended = bytes
            .chunks(size)
            .any(|piece| flood.read(piece, now) != FloodVerdict::Fair);
        assert!(ended, "in pieces of {size}");
        assert_eq!(flood.skip, 8, "the head of a PING ends it");
    }
}

#[test]
fn busy_clients_are_not_stopped() {
    // gRPC: a hundred streams at a time, a ping and two window updates for each response of 100 bytes.
    let mut client = Client::new();
    for _ in 0..50_000 {
        let stream = client.after(Duration::from_micros(100)).open();
        client.fair(DATA, stream, 60);
        client.wrote(100);
        client.fair(WINDOW_UPDATE, 0, 4);
        client.fair(WINDOW_UPDATE, stream, 4);
        client.fair(PING, 0, 8);
        client.wrote(PING_ACK_BYTES);
    }
    // An event stream: each small event is acknowledged twice, with a ping between two of them.
    let mut client = Client::new();
    let stream = client.open();
    for _ in 0..50_000 {
        client.after(Duration::from_micros(200)).wrote(48);
        client.fair(WINDOW_UPDATE, 0, 4);
        client.fair(WINDOW_UPDATE, stream, 4);
    }
    // Keepalive for days, and settings now and then.
    let mut client = Client::new();
    for _ in 0..100_000 {
        client.after(Duration::from_secs(1)).fair(PING, 0, 8);
        client.wrote(PING_ACK_BYTES);
    }
}

#[test]
fn clients_that_cancel_requests_are_not_stopped() {
    // A browser leaves pages: a hundred images are cancelled at once, every second.
    let mut client = Client::new();
    for _ in 0..100 {
        let streams: Vec<_> = (0..100).map(|_| client.open()).collect();
        client.after(Duration::from_millis(30));
        streams
            .into_iter()
            .for_each(|stream| client.fair(RST_STREAM, stream, 4));
        client.after(Duration::from_secs(20));
    }
    // Hedged requests: the slower one of two is cancelled, thousands of times a second.
    let mut client = Client::new();
    for _ in 0..100_000 {
        client.after(Duration::from_micros(300)).open();
        let slower = client.open();
        client.wrote(200);
        client.fair(RST_STREAM, slower, 4);
    }
    // Every chat stream is stopped halfway, a thousand a second.
    let mut client = Client::new();
    let mut running = std::collections::VecDeque::new();
    for _ in 0..50_000 {
        running.push_back(client.after(Duration::from_millis(1)).open());
        client.wrote(60);
        if running.len() > 600 {
            let stream = running.pop_front().expect("one");
            client.fair(RST_STREAM, stream, 4);
        }
    }
}
