//! Reads the text of a response while it is delivered.

use serde_json::Value;

use crate::content::texts::{BODY_BYTES_MAX, KeyKind, TEXT_BYTES_MAX, TextCollector};
use crate::model::response::ResponseFormat;
use crate::model::sse::SseDataReader;

/// The longest JSON response that is read; it is held until its end.
const JSON_BYTES_MAX: usize = BODY_BYTES_MAX / 4;

/// The reader of one response.
#[derive(Debug)]
pub(crate) enum ResponseText {
    Json(Vec<u8>),
    Stream {
        scanner: SseDataReader,
        texts: Box<StreamText>,
    },
}

/// The text of a stream so far.
#[derive(Debug)]
pub(crate) struct StreamText(TextCollector);

impl ResponseText {
    pub(crate) fn new(format: ResponseFormat) -> Self {
        match format {
            ResponseFormat::Json => ResponseText::Json(Vec::new()),
            ResponseFormat::Sse => ResponseText::Stream {
                scanner: SseDataReader::new(),
                texts: Box::new(StreamText(TextCollector::joined_by(""))),
            },
        }
    }

    /// Reads the next chunk.
    pub(crate) fn feed(&mut self, chunk: &[u8]) {
        match self {
            ResponseText::Json(body) => {
                // One byte more than is read shows that it is too long.
                let free = (JSON_BYTES_MAX + 1).saturating_sub(body.len());
                body.extend_from_slice(&chunk[..free.min(chunk.len())]);
            }
            ResponseText::Stream { scanner, texts } if !texts.0.is_full() => {
                scanner.feed(chunk, |data| texts.event(data));
            }
            ResponseText::Stream { .. } => {}
        }
    }

    /// The text, even if the response was cut short; empty if there is none.
    pub(crate) fn finish(self) -> String {
        match self {
            ResponseText::Json(body) => {
                let mut texts = TextCollector::joined_by("\n");
                if body.len() <= JSON_BYTES_MAX
                    && let Ok(value) = serde_json::from_slice(&body)
                {
                    texts.walk(&value, KeyKind::Other, 0);
                }
                texts.text
            }
            ResponseText::Stream { scanner, mut texts } => {
                scanner.finish(|data| texts.event(data));
                let mut text = texts.0.text;
                text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
                text
            }
        }
    }
}

impl StreamText {
    /// Adds the text of an event: OpenAI's chat and completions, its responses, Anthropic's messages.
    fn event(&mut self, data: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Value>(data) else {
            return;
        };
        for choice in event["choices"].as_array().into_iter().flatten() {
            for text in [&choice["delta"]["content"], &choice["text"]] {
                self.0.push(text.as_str().unwrap_or_default());
            }
        }
        let kind = event["type"].as_str().unwrap_or_default();
        let text = match kind {
            "content_block_delta" => &event["delta"]["text"],
            "response.output_text.delta" => &event["delta"],
            _ => return,
        };
        self.0.push(text.as_str().unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: ResponseFormat, chunks: &[&str]) -> String {
        let mut reader = ResponseText::new(format);
        chunks
            .iter()
            .for_each(|chunk| reader.feed(chunk.as_bytes()));
        reader.finish()
    }

    #[test]
    fn a_response_is_read_in_all_formats() {
        for (body, expected) in [
            (
                r#"{"id":"x","choices":[{"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}"#,
                "hello",
            ),
            (r#"{"choices":[{"text":"a"},{"text":"b"}]}"#, "a\nb"),
            (
                r#"{"type":"message","content":[{"type":"text","text":"hello"}]}"#,
                "hello",
            ),
            (
                r#"{"output":[{"type":"message","content":[{"type":"output_text","text":"hello"}]}]}"#,
                "hello",
            ),
            ("{\"choices\":[{\"mess", ""),
        ] {
            let middle = body.len() / 2;
            assert_eq!(
                read(ResponseFormat::Json, &[&body[..middle], &body[middle..]]),
                expected
            );
        }
    }

    #[test]
    fn a_stream_is_read_as_one_text() {
        for (events, expected) in [
            (
                vec![
                    r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
                    r#"{"choices":[{"delta":{"content":"138"}}]}"#,
                    r#"{"choices":[{"delta":{"content":"12345678"},"finish_reason":"stop"}]}"#,
                    "[DONE]",
                ],
                "13812345678",
            ),
            (
                vec![
                    r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"he"}}"#,
                    r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"llo"}}"#,
                ],
                "hello",
            ),
            (
                vec![
                    r#"{"type":"response.output_text.delta","delta":"hello"}"#,
                    r#"{"type":"response.output_text.done","text":"hello"}"#,
                ],
                "hello",
            ),
        ] {
            let stream: String = events
                .iter()
                .map(|event| format!("data: {event}\n\n"))
                .collect();
            for cut in [1, 7, stream.len() / 2, stream.len() - 1] {
                let chunks = [&stream[..cut], &stream[cut..]];
                assert_eq!(read(ResponseFormat::Sse, &chunks), expected);
            }
        }
    }

    #[test]
    fn memory_is_bounded() {
        let event = format!(
            r#"data: {{"choices":[{{"text":"{}"}}]}}{}"#,
            "é".repeat(1000),
            "\n\n"
        );
        let mut stream = ResponseText::new(ResponseFormat::Sse);
        (0..1000).for_each(|_| stream.feed(event.as_bytes()));
        assert_eq!(stream.finish().len(), TEXT_BYTES_MAX);
        let mut json = ResponseText::new(ResponseFormat::Json);
        (0..1000).for_each(|_| json.feed(&[b' '; 1000]));
        assert!(matches!(&json, ResponseText::Json(body) if body.len() == JSON_BYTES_MAX + 1));
        assert_eq!(json.finish(), "");
    }
}
