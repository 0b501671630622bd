//! Ports for the one program that takes them by their numbers: the demo.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below those that the system gives to whoever asks for any, so that no connection of another test is in
/// the way.
const FIRST: u32 = 10_000;
const END: u32 = 32_000;

/// How many have been asked for in this process.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// The first of three free ports in a row: proxy, admin and assistant of a demo. Each call of each
/// process begins to look elsewhere.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn three_in_a_row() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (0..1000)
        .find_map(|_| {
            let asked = ASKED.fetch_add(1, Ordering::Relaxed);
            let place = std::process::id()
                .wrapping_mul(31)
                .wrapping_add(asked)
                .wrapping_mul(3);
            let first = u16::try_from(FIRST + place % (END - FIRST)).ok()?;
            (first..first + 3).all(is_free).then_some(first)
        })
        .expect("three free ports in a row")
}
