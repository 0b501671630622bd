//! Finds failures in the body of a response with status 200, with weir's own reader: the same failures count, under the
//! same error codes.

use http::{HeaderMap, Method, header};
use weir::coding::{DecodeProgress, Decoder};
use weir::model::ending::Ending;
use weir::model::operation::Operation;
use weir::model::response::{ResponseFormat, ResponseReader};
use weir::refusal::ErrorCode;

/// Reads one response to its end.
pub(super) struct ResponseCheck {
    /// `None`: the response is not one of a model, or cannot be decoded.
    reading: Option<(Decoder, ResponseReader)>,
}

impl ResponseCheck {
    /// Checks a response with these headers to a request for `path`.
    pub(super) fn new(method: &Method, path: &str, status: u16, headers: &HeaderMap) -> Self {
        ResponseCheck {
            reading: Self::reading(method, path, status, headers),
        }
    }

    fn reading(
        method: &Method,
        path: &str,
        status: u16,
        headers: &HeaderMap,
    ) -> Option<(Decoder, ResponseReader)> {
        let path = path.split('?').next().unwrap_or_default();
        let operation = Operation::of(path).filter(|_| *method == Method::POST)?;
        let kind = ResponseFormat::of_response(headers.get(header::CONTENT_TYPE))
            .filter(|_| status == 200)?;
        Some((
            Decoder::of(headers)?,
            ResponseReader::new(kind, Some(operation)),
        ))
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let Some((decoder, reader)) = &mut self.reading else {
            return;
        };
        let now = weir::clock::now();
        decoder.feed(bytes, |plain| reader.feed(plain, now));
        if let DecodeProgress::Stopped(_) = decoder.progress() {
            self.reading = None;
        }
    }

    /// The error code of a failure, once the response has ended.
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

    /// Path, status, content type and chunks of a response, and its error code.
    type BodyCase = (
        &'static str,
        u16,
        &'static str,
        &'static [&'static str],
        Option<&'static str>,
    );

    #[test]
    fn failures_in_the_body_of_a_200_response_are_found() {
        const CHAT: &str = "/v1/chat/completions";
        const SSE: &str = "text/event-stream; charset=utf-8";
        const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
        const REASON: &str =
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        const ERROR: &str = "data: {\"error\":{\"message\":\"no\"}}\n\n";
        const DONE: &str = "data: [DONE]\n\n";
        const JSON_ERROR: &str = "{\"error\":{\"message\":\"no\"}}";
        let cases: [BodyCase; 9] = [
            (CHAT, 200, SSE, &[TOKEN, REASON, DONE], None),
            (CHAT, 200, SSE, &[TOKEN, REASON], None),
            (CHAT, 200, SSE, &[TOKEN], Some("upstream_incomplete")),
            (
                CHAT,
                200,
                SSE,
                &[TOKEN, ERROR, DONE],
                Some("upstream_error"),
            ),
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
            // Another status is an error by itself; other responses are not those of a model.
            (CHAT, 500, "application/json", &[JSON_ERROR], None),
            ("/status", 200, "application/json", &[JSON_ERROR], None),
            (CHAT, 200, "text/html", &[JSON_ERROR], None),
        ];
        for (path, status, kind, chunks, failure) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().expect("a value"));
            let mut check = ResponseCheck::new(&Method::POST, path, status, &headers);
            chunks.iter().for_each(|chunk| check.feed(chunk.as_bytes()));
            assert_eq!(
                check.failure(),
                failure,
                "{path} {status} {kind} {chunks:?}"
            );
        }
    }
}
