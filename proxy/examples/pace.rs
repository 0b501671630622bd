//! Sends requests at a constant rate and prints their latencies, for `make bench`.
//!
//! A request's latency counts from the moment it was due, so that a slow response also counts for those
//! that had to wait behind it. Each connection is a thread with a blocking socket, because a runtime's
//! timer is a millisecond coarse and what is measured here is tens of microseconds.
//!
//! `pace ADDRESS REQUESTS_FILE RATE SECONDS [CONNECTIONS]`; the file holds whole HTTP/1.1 requests with a
//! length, one after the other, each used in turn and again from the start when they run out. The first
//! half second warms up and is not counted.

#![expect(
    clippy::expect_used,
    reason = "a program for measuring may end where it cannot go on"
)]
#![expect(
    clippy::print_stdout,
    reason = "the driver reads the result from stdout"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the real clock is what it measures with"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_millis(500);
/// A sleep ends late by about the kernel's timer slack; the rest is waited for awake.
const WAKE_EARLY: Duration = Duration::from_micros(80);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What all connections share.
struct Plan {
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    start: Instant,
    interval: Duration,
    /// Of all connections, warm-up included.
    total: u32,
    connections: u32,
}

/// Latencies in nanoseconds, and responses whose status was not 200.
#[derive(Default)]
struct Outcome {
    latencies_ns: Vec<u64>,
    not_ok: u64,
}

/// The length of a head with its blank line, and of the body that it announces.
fn message_lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let body = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    Some((head, body.unwrap_or(0)))
}

fn split_requests(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        let (head, body) = message_lengths(bytes).expect("the file holds whole requests");
        let (request, rest) = bytes
            .split_at_checked(head + body)
            .expect("the last request is whole");
        requests.push(request.to_vec());
        bytes = rest;
    }
    requests
}

fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if left > WAKE_EARLY {
        std::thread::sleep(left - WAKE_EARLY);
    }
    while Instant::now() < due {
        std::thread::yield_now();
    }
}

/// Sends one request and reads its whole response; true when the status is 200.
fn exchange(
    connection: &mut TcpStream,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> std::io::Result<bool> {
    connection.write_all(request)?;
    buffer.clear();
    let mut chunk = [0_u8; 8 * 1024];
    loop {
        let read = connection.read(&mut chunk)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&chunk[..read]);
        if let Some((head, body)) = message_lengths(buffer)
            && buffer.len() >= head + body
        {
            return Ok(buffer.starts_with(b"HTTP/1.1 200"));
        }
    }
}

fn run_connection(plan: &Plan, number: u32) -> Outcome {
    let mut connection = TcpStream::connect(plan.address).expect("the subject listens");
    connection
        .set_nodelay(true)
        .expect("a socket takes TCP_NODELAY");
    connection
        .set_read_timeout(Some(RESPONSE_TIMEOUT))
        .expect("a socket takes a timeout");
    let mut outcome = Outcome::default();
    let mut buffer = Vec::with_capacity(8 * 1024);
    for position in (number..plan.total).step_by(plan.connections as usize) {
        let due = plan.start + plan.interval * position;
        wait_until(due);
        let request = &plan.requests[position as usize % plan.requests.len()];
        let ok = exchange(&mut connection, request, &mut buffer)
            .expect("the subject responds to every request");
        let latency = Instant::now().duration_since(due);
        if due < plan.start + WARM_UP {
            continue;
        }
        outcome.not_ok += u64::from(!ok);
        outcome
            .latencies_ns
            .push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }
    outcome
}

fn percentile_us(sorted_ns: &[u64], per_mille: usize) -> f64 {
    let at = (sorted_ns.len() * per_mille)
        .div_ceil(1000)
        .saturating_sub(1);
    sorted_ns
        .get(at)
        .map_or(0.0, |latency_ns| *latency_ns as f64 / 1000.0)
}

fn main() {
    let usage = "usage: pace ADDRESS REQUESTS_FILE RATE SECONDS [CONNECTIONS]";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, file, rate, seconds, rest @ ..] = arguments.as_slice() else {
        println!("{usage}");
        std::process::exit(2);
    };
    let rate: u32 = rate.parse().expect(usage);
    let seconds: f64 = seconds.parse().expect(usage);
    let connections: u32 = rest.first().map_or(16, |text| text.parse().expect(usage));
    let requests = split_requests(&std::fs::read(file).expect("REQUESTS_FILE can be read"));
    assert!(
        !requests.is_empty() && rate > 0 && connections > 0,
        "{usage}"
    );
    let whole = WARM_UP + Duration::from_secs_f64(seconds);
    let plan = Arc::new(Plan {
        address: address.parse().expect(usage),
        requests,
        start: Instant::now() + Duration::from_millis(100),
        interval: Duration::from_secs(1) / rate,
        total: (whole.as_secs_f64() * f64::from(rate)) as u32,
        connections,
    });
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let plan = Arc::clone(&plan);
            std::thread::spawn(move || run_connection(&plan, number))
        })
        .collect();
    let mut latencies_ns = Vec::new();
    let mut not_ok = 0;
    for thread in threads {
        let outcome = thread.join().expect("every connection ran to its end");
        latencies_ns.extend(outcome.latencies_ns);
        not_ok += outcome.not_ok;
    }
    latencies_ns.sort_unstable();
    println!(
        "{{\"requests\":{},\"not_ok\":{not_ok},\"p50_us\":{:.1},\"p99_us\":{:.1},\"max_us\":{:.1}}}",
        latencies_ns.len(),
        percentile_us(&latencies_ns, 500),
        percentile_us(&latencies_ns, 990),
        percentile_us(&latencies_ns, 1000),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_file_into_its_requests() {
        let first = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi".as_slice();
        let second = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".as_slice();
        assert_eq!(
            split_requests(&[first, second].concat()),
            vec![first, second]
        );
    }

    #[test]
    fn a_percentile_is_the_smallest_latency_that_covers_its_share() {
        let sorted_ns: Vec<u64> = (1..=100).map(|us| us * 1000).collect();
        assert_eq!(percentile_us(&sorted_ns, 500), 50.0);
        assert_eq!(percentile_us(&sorted_ns, 990), 99.0);
        assert_eq!(percentile_us(&sorted_ns[..1], 990), 1.0);
        assert_eq!(percentile_us(&[], 990), 0.0);
    }
}
