//! What calls of services outside have in common.

use std::io::Read;
use std::time::Instant;

use crate::clock;

/// Reads an answer up to `bytes_max` and until a deadline for all of it: a client's own time is for each
/// read, and who sends a byte a second would never be done.
///
/// # Errors
/// Why there is none, for a person to read.
pub(crate) fn read_until(
    answer: &mut impl Read,
    bytes_max: usize,
    deadline: Instant,
) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8 * 1024];
    while bytes.len() < bytes_max {
        match answer.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) => return Err(format!("its answer breaks off: {error}")),
        }
        if clock::now() > deadline {
            return Err("its answer does not come to an end".to_owned());
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Gives one byte at each read, for ever.
    struct Drip;

    impl Read for Drip {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            std::thread::park_timeout(Duration::from_millis(1));
            buffer[0] = b'x';
            Ok(1)
        }
    }

    #[test]
    fn an_answer_that_drips_is_read_for_its_time_and_a_large_one_up_to_its_bound() {
        let now = clock::now();
        let late = read_until(&mut Drip, usize::MAX, now + Duration::from_millis(50));
        assert!(
            late.expect_err("no end")
                .contains("does not come to an end")
        );
        let long = now + Duration::from_secs(60);
        let large = read_until(&mut std::io::repeat(b'x'), 10_000, long).expect("bytes");
        assert!((10_000..20_000).contains(&large.len()));
        assert_eq!(
            read_until(&mut &b"abc"[..], 100, long).expect("bytes"),
            b"abc"
        );
    }
}
