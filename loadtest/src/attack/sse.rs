//! Counts the events of a server-sent event stream (html.spec.whatwg.org/multipage/server-sent-events.html).

/// The longest prefix of a line that matters: `data: [DONE]` and a carriage return.
const LINE_BYTES: usize = 16;

/// Counts events in chunks that may end anywhere within a line.
#[derive(Debug, Default)]
pub(super) struct EventCounter {
    /// The prefix of the current line.
    line: [u8; LINE_BYTES],
    /// The length of the current line, including what is not buffered.
    length: usize,
    pub(super) events: u64,
}

impl EventCounter {
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            self.append(line);
            self.end_line();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.append(bytes);
    }

    fn append(&mut self, part: &[u8]) {
        let buffered = self.length.min(LINE_BYTES);
        let more = part.len().min(LINE_BYTES - buffered);
        self.line[buffered..buffered + more].copy_from_slice(&part[..more]);
        self.length += part.len();
    }

    fn end_line(&mut self) {
        let line = &self.line[..self.length.min(LINE_BYTES)];
        if let Some(data) = line.strip_prefix(b"data:") {
            let is_end = data.trim_ascii() == b"[DONE]" && self.length <= LINE_BYTES;
            self.events += u64::from(!is_end);
        }
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_across_chunk_boundaries() {
        let text = b"data: {\"a\":\"data: [DONE]\"}\n\n: a comment\ndata:{}\r\n\nevent: x\ndata: [DONE]\r\n\n";
        for size in 1..text.len() {
            let mut stream = EventCounter::default();
            text.chunks(size).for_each(|chunk| stream.feed(chunk));
            assert_eq!(stream.events, 2, "{size}");
        }
        let mut stream = EventCounter::default();
        stream.feed(b"data: [DONE], he said\n\ndata: is continued");
        assert_eq!(stream.events, 1);
    }
}
