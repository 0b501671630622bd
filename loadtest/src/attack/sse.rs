//! Reads along a stream of events (html.spec.whatwg.org/multipage/server-sent-events.html): how many
//! pieces came.

/// No beginning that matters is longer: `data: [DONE]` and a carriage return.
const LINE_BYTES: usize = 16;

/// A stream that is under way; lines may be cut anywhere by the network.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The beginning of the line that is not at its end yet.
    line: [u8; LINE_BYTES],
    /// Of that line, also what is not kept.
    length: usize,
    pub(super) pieces: u64,
}

impl Stream {
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
        let kept = self.length.min(LINE_BYTES);
        let more = part.len().min(LINE_BYTES - kept);
        self.line[kept..kept + more].copy_from_slice(&part[..more]);
        self.length += part.len();
    }

    fn end_line(&mut self) {
        let line = &self.line[..self.length.min(LINE_BYTES)];
        if let Some(data) = line.strip_prefix(b"data:") {
            let is_end = data.trim_ascii() == b"[DONE]" && self.length <= LINE_BYTES;
            self.pieces += u64::from(!is_end);
        }
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_counted_wherever_the_network_cuts() {
        let text = b"data: {\"a\":\"data: [DONE]\"}\n\n: a comment\ndata:{}\r\n\nevent: x\ndata: [DONE]\r\n\n";
        for size in 1..text.len() {
            let mut stream = Stream::default();
            text.chunks(size).for_each(|chunk| stream.feed(chunk));
            assert_eq!(stream.pieces, 2, "{size}");
        }
        let mut stream = Stream::default();
        stream.feed(b"data: [DONE], he said\n\ndata: goes on");
        assert_eq!(stream.pieces, 1);
    }
}
