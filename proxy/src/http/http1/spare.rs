//! Write buffers of responses: each worker keeps a spare one, so that an idle connection holds none and a
//! response does not have to grow its own.

use std::cell::RefCell;

/// Enough for the head of most responses and a short body.
const BYTES: usize = 2 * 1024;
/// A buffer that has grown past this is not kept.
const BYTES_MAX: usize = 16 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Provides capacity to a buffer that has none.
pub(super) fn provide(buffer: &mut Vec<u8>) {
    if buffer.capacity() == 0 {
        *buffer = SPARE.take();
        buffer.reserve(BYTES);
    }
}

/// Keeps a buffer for the next response of this worker.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    if (BYTES..=BYTES_MAX).contains(&buffer.capacity()) {
        buffer.clear();
        SPARE.set(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_reused_and_empty() {
        let mut first = Vec::new();
        provide(&mut first);
        assert!(first.capacity() >= BYTES);
        first.extend_from_slice(b"secret");
        let place = first.as_ptr();
        give_back(first);
        let mut second = Vec::new();
        provide(&mut second);
        assert_eq!(second.as_ptr(), place);
        assert!(second.is_empty());
        let mut third = Vec::new();
        provide(&mut third);
        assert_ne!(third.as_ptr(), place);
        give_back(Vec::with_capacity(BYTES_MAX + 1));
        give_back(Vec::new());
        let mut fourth = Vec::new();
        provide(&mut fourth);
        assert!(fourth.capacity() <= BYTES_MAX);
    }
}
