//! Requests to services other than backends: the index, Alertmanager, webhooks, a trace collector.

use std::error::Error;
use std::io::Read;
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, ClientBuilder};

use crate::clock;

/// The maximum size of a response; all of these services send far less.
pub(crate) const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// The timeout of a whole request.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// A client that follows no redirects and uses no proxy. It contains a runtime, so it must be created and dropped on a
/// thread without one.
pub(crate) fn client(connect_timeout: Duration) -> ClientBuilder {
    Client::builder()
        .connect_timeout(connect_timeout)
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

/// Whether a request with this status may succeed later: the server is overloaded, unavailable or too slow (RFC 9110,
/// sections 15.5.9 and 15.6; RFC 8470, section 5.2; RFC 6585, section 4).
pub(crate) const fn is_retryable(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// The innermost cause of an error: the outer errors repeat the URL, which may be secret.
pub(crate) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Why a response could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the response broke off: {0}")]
    Broken(#[from] std::io::Error),
    #[error("the response did not end in time")]
    TimedOut,
}

/// Reads a response up to `bytes_max` and until a deadline for all of it: the timeout of a client applies to each
/// read, so that a server that sends one byte per second would never time out.
///
/// # Errors
/// [`ReadError`].
pub(crate) fn read_until(
    response: &mut impl Read,
    bytes_max: usize,
    deadline: Instant,
) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8 * 1024];
    while bytes.len() < bytes_max {
        match response.read(&mut buffer)? {
            0 => break,
            read => bytes.extend_from_slice(buffer.get(..read).unwrap_or_default()),
        }
        if clock::now() > deadline {
            return Err(ReadError::TimedOut);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one byte per read, forever.
    struct Drip;

    impl Read for Drip {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            std::thread::park_timeout(Duration::from_millis(1));
            buffer[0] = b'x';
            Ok(1)
        }
    }

    #[test]
    fn a_response_is_read_until_the_deadline_and_up_to_the_size_limit() {
        let now = clock::now();
        let late = read_until(&mut Drip, usize::MAX, now + Duration::from_millis(50));
        assert!(matches!(late, Err(ReadError::TimedOut)));
        let long = now + Duration::from_secs(60);
        let large = read_until(&mut std::io::repeat(b'x'), 10_000, long).expect("bytes");
        assert!((10_000..20_000).contains(&large.len()));
        assert_eq!(
            read_until(&mut &b"abc"[..], 100, long).expect("bytes"),
            b"abc"
        );
    }

    #[test]
    fn only_temporary_errors_are_retryable() {
        for status in [408, 425, 429, 500, 503, 599] {
            assert!(is_retryable(status), "{status}");
        }
        for status in [200, 302, 400, 401, 403, 404, 409, 413] {
            assert!(!is_retryable(status), "{status}");
        }
    }

    #[test]
    fn the_root_cause_is_the_innermost_error() {
        let inner = std::io::Error::other("connection refused");
        assert_eq!(root_cause(&ReadError::Broken(inner)), "connection refused");
    }
}
