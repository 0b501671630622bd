//! Whether an answer of success is one by its own words, as weir reads them: the same failures count, under
//! the same names.

use http::{HeaderMap, Method, header};
use weir::coding::{Decoder, Progress};
use weir::model::answer::{AnswerReader, Ending, Kind};
use weir::model::operation::Operation;
use weir::refusal::ErrorCode;

/// Reads one answer to its end.
pub(super) struct Verdict {
    /// `None` where there is nothing to read.
    reading: Option<(Decoder, AnswerReader)>,
}

impl Verdict {
    /// Of an answer with this head to a question that was sent to `path`.
    pub(super) fn new(method: &Method, path: &str, status: u16, headers: &HeaderMap) -> Self {
        Verdict {
            reading: Self::reading(method, path, status, headers),
        }
    }

    fn reading(
        method: &Method,
        path: &str,
        status: u16,
        headers: &HeaderMap,
    ) -> Option<(Decoder, AnswerReader)> {
        let path = path.split('?').next().unwrap_or_default();
        let operation = Operation::of(path).filter(|_| *method == Method::POST)?;
        let kind = Kind::of_answer(headers.get(header::CONTENT_TYPE)).filter(|_| status == 200)?;
        Some((
            Decoder::of(headers)?,
            AnswerReader::new(kind, Some(operation)),
        ))
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let Some((decoder, reader)) = &mut self.reading else {
            return;
        };
        let now = weir::clock::now();
        decoder.feed(bytes, |plain| reader.feed(plain, now));
        if let Progress::Stopped(_) = decoder.progress() {
            self.reading = None;
        }
    }

    /// What went wrong, now that the answer has ended.
    pub(super) fn failure(self) -> Option<&'static str> {
        let (_, reader) = self.reading?;
        match reader.finish().ending {
            Ending::Failed => Some(ErrorCode::UpstreamError.as_str()),
            Ending::Open => Some(ErrorCode::UpstreamIncomplete.as_str()),
            Ending::Unknown | Ending::Finished | Ending::Terminal => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, status, type and pieces of an answer, and the error code that it has.
    type Case = (
        &'static str,
        u16,
        &'static str,
        &'static [&'static str],
        Option<&'static str>,
    );

    #[test]
    fn an_answer_is_a_failure_by_its_own_words() {
        const CHAT: &str = "/v1/chat/completions";
        const SSE: &str = "text/event-stream; charset=utf-8";
        const WORD: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
        const REASON: &str =
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        const ERROR: &str = "data: {\"error\":{\"message\":\"no\"}}\n\n";
        const DONE: &str = "data: [DONE]\n\n";
        const JSON_ERROR: &str = "{\"error\":{\"message\":\"no\"}}";
        let cases: [Case; 9] = [
            (CHAT, 200, SSE, &[WORD, REASON, DONE], None),
            (CHAT, 200, SSE, &[WORD, REASON], None),
            (CHAT, 200, SSE, &[WORD], Some("upstream_incomplete")),
            (CHAT, 200, SSE, &[WORD, ERROR, DONE], Some("upstream_error")),
            (
                CHAT,
                200,
                "application/json",
                &[JSON_ERROR],
                Some("upstream_error"),
            ),
            (
                "/v1/messages?beta=true",
                200,
                SSE,
                &[ERROR],
                Some("upstream_error"),
            ),
            // The status says it, or nobody knows what it means.
            (CHAT, 500, "application/json", &[JSON_ERROR], None),
            ("/status", 200, "application/json", &[JSON_ERROR], None),
            (CHAT, 200, "text/html", &[JSON_ERROR], None),
        ];
        for (path, status, kind, pieces, failure) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().expect("a value"));
            let mut verdict = Verdict::new(&Method::POST, path, status, &headers);
            pieces
                .iter()
                .for_each(|piece| verdict.feed(piece.as_bytes()));
            assert_eq!(
                verdict.failure(),
                failure,
                "{path} {status} {kind} {pieces:?}"
            );
        }
    }
}
