//! Ports for the demo, which needs fixed numbers.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ephemeral ports, so that they do not collide with connections of other tests.
const FIRST: u32 = 10_000;
const END: u32 = 32_000;

/// How many were requested in this process.
static REQUESTED: AtomicU32 = AtomicU32::new(0);

/// The first of three consecutive free ports: proxy, admin and assistant of a demo. Each call starts to search at a
/// different port.
///
/// # Panics
/// There are none.
#[must_use]
pub fn three_consecutive() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (0..1000)
        .find_map(|_| {
            let requested = REQUESTED.fetch_add(1, Ordering::Relaxed);
            let place = std::process::id()
                .wrapping_mul(31)
                .wrapping_add(requested)
                .wrapping_mul(3);
            let first = u16::try_from(FIRST + place % (END - FIRST)).ok()?;
            (first..first + 3).all(is_free).then_some(first)
        })
        .expect("three consecutive free ports")
}
