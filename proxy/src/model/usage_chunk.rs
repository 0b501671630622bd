//! Recognises the usage chunk of a stream of chat completions, which is sent on request: `choices` is an empty array
//! and `usage` an object (platform.openai.com/docs/api-reference/chat-streaming).

use super::json::{
    Container, DocumentEnd, Interest, JsonPosition, JsonScanner, JsonValue, Visitor,
};

/// Members that belong to the response, of any provider. A chunk with a non-empty one must not be stripped: the client
/// would miss it.
const RESPONSE_MEMBERS: [&[u8]; 17] = [
    b"annotations",
    b"citations",
    b"content_filter_results",
    b"delta",
    b"documents",
    b"grounding_metadata",
    b"images",
    b"message",
    b"prompt_annotations",
    b"prompt_filter_results",
    b"references",
    b"related_questions",
    b"search_info",
    b"search_results",
    b"sources",
    b"warnings",
    b"web_search",
];

/// Checks the data of one event, piece by piece.
#[derive(Debug, Default)]
pub struct UsageChunk {
    scanner: JsonScanner<ChunkPosition>,
    visitor: ChunkVisitor,
}

/// Whether the data may be a usage chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageChunkMatch {
    /// So far it may be.
    Possible,
    /// It is not, whatever follows.
    Excluded,
}

#[derive(Debug, Default)]
struct ChunkVisitor {
    no_choices: bool,
    usage: bool,
    closed: bool,
    anything_else: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkPosition {
    Root,
    Choices,
    Choice,
    Usage,
    Error,
    /// Must be empty in a usage chunk.
    ResponseMember,
    Ignored,
}

impl UsageChunk {
    /// Checks the next piece of the data.
    pub fn feed(&mut self, piece: &[u8]) -> UsageChunkMatch {
        self.scanner.feed(piece, &mut self.visitor);
        match self.visitor.anything_else {
            true => UsageChunkMatch::Excluded,
            false => UsageChunkMatch::Possible,
        }
    }

    /// Whether the data is complete and a usage chunk.
    #[must_use]
    pub fn is_usage_chunk(&self) -> bool {
        let ChunkVisitor {
            no_choices,
            usage,
            closed,
            anything_else,
        } = self.visitor;
        no_choices && usage && closed && !anything_else
    }
}

impl JsonPosition for ChunkPosition {
    const ROOT: Self = ChunkPosition::Root;
    const IGNORED: Self = ChunkPosition::Ignored;

    fn interest(self) -> Interest {
        match self {
            ChunkPosition::Ignored => Interest::Nothing,
            _ => Interest::Short,
        }
    }
}

impl Visitor for ChunkVisitor {
    type Position = ChunkPosition;

    fn member(&mut self, of: ChunkPosition, name: &[u8]) -> ChunkPosition {
        match (of, name) {
            (ChunkPosition::Root, b"choices") => ChunkPosition::Choices,
            (ChunkPosition::Root, b"usage") => ChunkPosition::Usage,
            (ChunkPosition::Root, b"error") => ChunkPosition::Error,
            (ChunkPosition::Root, name) if RESPONSE_MEMBERS.contains(&name) => {
                ChunkPosition::ResponseMember
            }
            (ChunkPosition::ResponseMember, _) => {
                self.anything_else = true;
                ChunkPosition::Ignored
            }
            _ => ChunkPosition::Ignored,
        }
    }

    fn element(&mut self, of: ChunkPosition) -> ChunkPosition {
        match of {
            ChunkPosition::Choices => ChunkPosition::Choice,
            ChunkPosition::ResponseMember => {
                self.anything_else = true;
                ChunkPosition::Ignored
            }
            _ => ChunkPosition::Ignored,
        }
    }

    fn open(&mut self, at: ChunkPosition, container: Container) {
        match (at, container) {
            (ChunkPosition::Root, Container::Object) if !self.closed => {}
            (ChunkPosition::Choices, Container::Array) => self.no_choices = true,
            (ChunkPosition::Usage, Container::Object) => self.usage = true,
            (ChunkPosition::ResponseMember, _) => {}
            _ => self.anything_else = true,
        }
    }

    fn value(&mut self, at: ChunkPosition, value: JsonValue<'_>) {
        self.anything_else |= match (at, value) {
            (ChunkPosition::Error | ChunkPosition::ResponseMember, JsonValue::Null) => false,
            (ChunkPosition::ResponseMember, JsonValue::String(text)) => !text.is_empty(),
            _ => true,
        };
    }

    fn end(&mut self, end: DocumentEnd) {
        match end {
            DocumentEnd::Closed if !self.closed => self.closed = true,
            _ => self.anything_else = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_usage(pieces: &[&[u8]]) -> bool {
        let mut chunk = UsageChunk::default();
        for piece in pieces {
            chunk.feed(piece);
        }
        chunk.is_usage_chunk()
    }

    #[test]
    fn usage_chunks_are_recognised_in_any_pieces() {
        for (data, expected) in [
            (r#"{"choices":[],"usage":{"total_tokens":3}}"#, true),
            (r#" { "usage" : { } , "choices" : [ ] } "#, true),
            (
                r#"{"id":"x","choices":[],"obfuscation":"[{","usage":{"a":[1]},"error":null}"#,
                true,
            ),
            (r#"{"\u0063hoices":[],"us\u0061ge":{}}"#, true),
            (
                r#"{"x":{"choices":[1]},"choices":[],"usage":{"usage":null}}"#,
                true,
            ),
            (
                r#"{"choices":[],"usage":{},"citations":[],"search_results":null,"sources":""}"#,
                true,
            ),
            (
                r#"{"choices":[],"usage":{},"service_tier":"x","system_fingerprint":"y","timings":{"ms":1}}"#,
                true,
            ),
            (r#"{"choices":[],"usage":{},"citations":["a"]}"#, false),
            (
                r#"{"search_results":[{"url":"a"}],"choices":[],"usage":{}}"#,
                false,
            ),
            (
                r#"{"choices":[],"usage":{},"grounding_metadata":{"chunks":[]}}"#,
                false,
            ),
            (r#"{"choices":[],"usage":{},"sources":"a"}"#, false),
            (r#"{"choices":[{}],"usage":{}}"#, false),
            (r#"{"choices":[null],"usage":{}}"#, false),
            (r#"{"choices":[],"usage":null}"#, false),
            (r#"{"choices":[],"usage":[]}"#, false),
            (r#"{"choices":[],"prompt_filter_results":[{}]}"#, false),
            (r#"{"choices":null,"usage":{}}"#, false),
            (r#"{"choices":{},"usage":{}}"#, false),
            (r#"{"usage":{}}"#, false),
            (
                r#"{"choices":[],"usage":{},"choices":[{"index":0}]}"#,
                false,
            ),
            (r#"{"choices":[],"usage":{},"usage":null}"#, false),
            (
                r#"{"choices":[],"usage":{},"error":{"message":"x"}}"#,
                false,
            ),
            (r#"{"choices":[],"usage":{}"#, false),
            (r#"{"choices":[],"usage":{},}"#, false),
            (r#"{"choices":[],"usage":{}}{}"#, false),
            (r#"[{"choices":[],"usage":{}}]"#, false),
            ("[DONE]", false),
            ("", false),
            ("null", false),
            ("7", false),
        ] {
            let bytes = data.as_bytes();
            for at in 0..=bytes.len() {
                let (before, after) = bytes.split_at(at);
                assert_eq!(is_usage(&[before, after]), expected, "{data} cut at {at}");
            }
        }
    }

    #[test]
    fn other_chunks_are_excluded_early() {
        for (begin, expected) in [
            (
                r#"{"id":"x","model":"m","choices":"#,
                UsageChunkMatch::Possible,
            ),
            (
                r#"{"id":"x","model":"m","choices":["#,
                UsageChunkMatch::Possible,
            ),
            (
                r#"{"id":"x","model":"m","choices":[{"#,
                UsageChunkMatch::Excluded,
            ),
            (
                r#"{"usage":{"completion_tokens":"#,
                UsageChunkMatch::Possible,
            ),
            (r#"{"usage":null,"#, UsageChunkMatch::Excluded),
            ("[", UsageChunkMatch::Excluded),
            ("hello", UsageChunkMatch::Possible),
            ("<", UsageChunkMatch::Excluded),
        ] {
            assert_eq!(
                UsageChunk::default().feed(begin.as_bytes()),
                expected,
                "{begin}"
            );
        }
    }
}
