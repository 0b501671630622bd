//! Responses: complete ones, and those whose body is still arriving.

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::wait::{PATIENCE, within};

/// The largest response in the tests.
const RESPONSE_BYTES_MAX: usize = 128 << 20;

/// A complete response.
#[derive(Clone, Debug)]
pub struct ClientResponse {
    pub status: u16,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A response whose head has arrived, and whose body is still arriving.
pub struct StreamingResponse {
    pub status: u16,
    pub version: Version,
    pub headers: HeaderMap,
    pub(super) incoming: Incoming,
}

/// A body that ended prematurely.
#[derive(Debug)]
pub struct Truncated {
    /// What had arrived by then.
    pub received: Vec<u8>,
    pub reason: String,
}

impl StreamingResponse {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The next chunk of the body; `None` at its end.
    ///
    /// # Errors
    /// The body is truncated.
    ///
    /// # Panics
    /// Nothing arrives in time.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = within("more of a response", PATIENCE, self.incoming.frame()).await?;
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                // Trailers are not part of the body.
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads until the body contains `text`; returns everything read.
    ///
    /// # Panics
    /// The body ends before.
    pub async fn until(&mut self, text: &str) -> String {
        let mut received = String::new();
        while !received.contains(text) {
            let chunk = self
                .chunk()
                .await
                .unwrap_or_else(|| panic!("the response ended before {text:?}: {received:?}"))
                .expect("more of the response");
            received.push_str(&String::from_utf8_lossy(&chunk));
        }
        received
    }

    /// The rest of the body.
    ///
    /// # Errors
    /// The body is truncated.
    ///
    /// # Panics
    /// The body is larger than any response in the tests.
    pub async fn rest(mut self) -> Result<Vec<u8>, Truncated> {
        let mut received = Vec::new();
        while let Some(chunk) = self.chunk().await {
            match chunk {
                Ok(chunk) => received.extend_from_slice(&chunk),
                Err(error) => {
                    return Err(Truncated {
                        received,
                        reason: error.to_string(),
                    });
                }
            }
            assert!(received.len() <= RESPONSE_BYTES_MAX, "an endless response");
        }
        Ok(received)
    }

    /// The rest of the body, and its trailers.
    ///
    /// # Panics
    /// It ends early.
    pub async fn with_trailers(mut self) -> (Vec<u8>, HeaderMap) {
        let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
        let frames = within("the end of a response", PATIENCE, async {
            let mut frames = Vec::new();
            while let Some(frame) = self.incoming.frame().await {
                frames.push(frame.expect("a complete response"));
            }
            frames
        });
        for frame in frames.await {
            match frame.into_data() {
                Ok(piece) => data.extend_from_slice(&piece),
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        (data, trailers)
    }

    /// The complete response.
    ///
    /// # Panics
    /// The body is truncated.
    pub async fn whole(self) -> ClientResponse {
        let (status, version, headers) = (self.status, self.version, self.headers.clone());
        let body = self.rest().await.expect("a complete body").into();
        ClientResponse {
            status,
            version,
            headers,
            body,
        }
    }
}

impl ClientResponse {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Panics
    /// The body is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The `error.code` of an error response, whose documented format is checked.
    ///
    /// # Panics
    /// The format differs.
    #[must_use]
    pub fn rejection(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{} {}",
            self.status,
            self.text()
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(
            problem["request_id"].as_str(),
            self.header("x-request-id"),
            "{problem}"
        );
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "no {member} in {problem}");
        }
        for member in ["message", "type", "code"] {
            assert!(problem["error"][member].is_string(), "no error.{member}");
        }
        let code = problem["error"]["code"].as_str().expect("a code");
        code.to_owned()
    }
}

impl std::fmt::Debug for StreamingResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Live")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
