//! Every rejection: the error code, its status, and the body of the response.
//!
//! A rejection is `application/problem+json` (RFC 9457) and also carries the `error` object that OpenAI
//! clients show.

use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// Why a request failed. The text of a code is a label of metrics, the `error_code` of an event and the
/// `error.code` of the response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    HeaderTimeout,
    HeaderTooLarge,
    TooManyConnections,
    BadRequest,
    LoopDetected,
    NoRoute,
    MethodNotAllowed,
    AddressDenied,
    BodyTooLarge,
    BodyTimeout,
    SignatureMissing,
    SignatureInvalid,
    SignatureExpired,
    SignatureReplayed,
    DeliveryPending,
    RateLimited,
    OverCapacity,
    /// The request accepts a stored response only, and there is none.
    NotCached,
    UpstreamConnect,
    UpstreamTimeout,
    UpstreamReset,
    UpstreamStatus,
    /// A 200 response that contains an error.
    UpstreamError,
    /// A stream that ended before its terminal event.
    UpstreamIncomplete,
    CircuitOpen,
    NoEndpoint,
    ClientClosed,
    Internal,
}

/// Who has to change something for the next request to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Client,
    Upstream,
    Proxy,
}

impl ErrorCode {
    /// Every code, for tables and for metrics that are created at zero.
    pub const ALL: [ErrorCode; 28] = [
        ErrorCode::HeaderTimeout,
        ErrorCode::HeaderTooLarge,
        ErrorCode::TooManyConnections,
        ErrorCode::BadRequest,
        ErrorCode::LoopDetected,
        ErrorCode::NoRoute,
        ErrorCode::MethodNotAllowed,
        ErrorCode::AddressDenied,
        ErrorCode::BodyTooLarge,
        ErrorCode::BodyTimeout,
        ErrorCode::SignatureMissing,
        ErrorCode::SignatureInvalid,
        ErrorCode::SignatureExpired,
        ErrorCode::SignatureReplayed,
        ErrorCode::DeliveryPending,
        ErrorCode::RateLimited,
        ErrorCode::OverCapacity,
        ErrorCode::NotCached,
        ErrorCode::UpstreamConnect,
        ErrorCode::UpstreamTimeout,
        ErrorCode::UpstreamReset,
        ErrorCode::UpstreamStatus,
        ErrorCode::UpstreamError,
        ErrorCode::UpstreamIncomplete,
        ErrorCode::CircuitOpen,
        ErrorCode::NoEndpoint,
        ErrorCode::ClientClosed,
        ErrorCode::Internal,
    ];

    /// The text of the code, the same in responses, events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::HeaderTimeout => "header_timeout",
            ErrorCode::HeaderTooLarge => "header_too_large",
            ErrorCode::TooManyConnections => "too_many_connections",
            ErrorCode::BadRequest => "bad_request",
            ErrorCode::LoopDetected => "loop_detected",
            ErrorCode::NoRoute => "no_route",
            ErrorCode::MethodNotAllowed => "method_not_allowed",
            ErrorCode::AddressDenied => "address_denied",
            ErrorCode::BodyTooLarge => "body_too_large",
            ErrorCode::BodyTimeout => "body_timeout",
            ErrorCode::SignatureMissing => "signature_missing",
            ErrorCode::SignatureInvalid => "signature_invalid",
            ErrorCode::SignatureExpired => "signature_expired",
            ErrorCode::SignatureReplayed => "signature_replayed",
            ErrorCode::DeliveryPending => "delivery_pending",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::OverCapacity => "over_capacity",
            ErrorCode::UpstreamConnect => "upstream_connect",
            ErrorCode::UpstreamTimeout => "upstream_timeout",
            ErrorCode::UpstreamReset => "upstream_reset",
            ErrorCode::UpstreamStatus => "upstream_status",
            ErrorCode::UpstreamError => "upstream_error",
            ErrorCode::UpstreamIncomplete => "upstream_incomplete",
            ErrorCode::CircuitOpen => "circuit_open",
            ErrorCode::NoEndpoint => "no_endpoint",
            ErrorCode::NotCached => "not_cached",
            ErrorCode::ClientClosed => "client_closed",
            ErrorCode::Internal => "internal",
        }
    }

    /// The status of the response. `client_closed` is recorded with 499 and never sent; `upstream_status` keeps
    /// the backend's own 5xx; `upstream_error` and `upstream_incomplete` are detected after the head has been
    /// sent, and its status is final.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
            ErrorCode::SignatureMissing
            | ErrorCode::SignatureInvalid
            | ErrorCode::SignatureExpired
            | ErrorCode::SignatureReplayed => StatusCode::UNAUTHORIZED,
            ErrorCode::AddressDenied => StatusCode::FORBIDDEN,
            ErrorCode::NoRoute => StatusCode::NOT_FOUND,
            ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::HeaderTimeout | ErrorCode::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            ErrorCode::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ErrorCode::ClientClosed => CLIENT_CLOSED,
            ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::UpstreamConnect
            | ErrorCode::UpstreamReset
            | ErrorCode::UpstreamStatus
            | ErrorCode::UpstreamError
            | ErrorCode::UpstreamIncomplete => StatusCode::BAD_GATEWAY,
            ErrorCode::UpstreamTimeout | ErrorCode::NotCached => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::LoopDetected => StatusCode::LOOP_DETECTED,
            ErrorCode::TooManyConnections
            | ErrorCode::DeliveryPending
            | ErrorCode::OverCapacity
            | ErrorCode::CircuitOpen
            | ErrorCode::NoEndpoint => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Who is to blame for a rejection with this code.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            ErrorCode::UpstreamConnect
            | ErrorCode::UpstreamTimeout
            | ErrorCode::UpstreamReset
            | ErrorCode::UpstreamStatus
            | ErrorCode::DeliveryPending
            | ErrorCode::UpstreamError
            | ErrorCode::UpstreamIncomplete
            | ErrorCode::CircuitOpen
            | ErrorCode::NoEndpoint => Blame::Upstream,
            ErrorCode::TooManyConnections
            | ErrorCode::OverCapacity
            | ErrorCode::LoopDetected
            | ErrorCode::Internal => Blame::Proxy,
            _ => Blame::Client,
        }
    }

    /// One sentence for people; the `title` of the problem.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            ErrorCode::HeaderTimeout => "The request head did not arrive in time",
            ErrorCode::HeaderTooLarge => "The request head is too large",
            ErrorCode::TooManyConnections => "Too many connections",
            ErrorCode::BadRequest => "The request is malformed",
            ErrorCode::LoopDetected => "The request has returned to the proxy that forwarded it",
            ErrorCode::NoRoute => "No route matches this path",
            ErrorCode::MethodNotAllowed => "This route does not allow this method",
            ErrorCode::AddressDenied => "This route does not allow this source address",
            ErrorCode::BodyTooLarge => "The request body is too large",
            ErrorCode::BodyTimeout => "The request body did not arrive in time",
            ErrorCode::SignatureMissing => "The request is not signed",
            ErrorCode::SignatureInvalid => "The signature does not match",
            ErrorCode::SignatureExpired => {
                "The timestamp of the signature is too old or in the future"
            }
            ErrorCode::SignatureReplayed => "This request has been received before",
            ErrorCode::DeliveryPending => "The backend is still processing this delivery",
            ErrorCode::RateLimited => "Too many requests",
            ErrorCode::OverCapacity => "The proxy is at its capacity limit",
            ErrorCode::UpstreamConnect => "The backend cannot be reached",
            ErrorCode::UpstreamTimeout => "The backend did not respond in time",
            ErrorCode::UpstreamReset => "The backend closed the connection or sent invalid HTTP",
            ErrorCode::UpstreamStatus => "The backend responded with an error",
            ErrorCode::UpstreamError => "The backend's response contains an error",
            ErrorCode::UpstreamIncomplete => "The backend's response is incomplete",
            ErrorCode::CircuitOpen => "The backend is failing and is temporarily not used",
            ErrorCode::NoEndpoint => "No endpoint of the backend is available",
            ErrorCode::NotCached => "No stored response may be used for this request",
            ErrorCode::ClientClosed => "The client closed the connection",
            ErrorCode::Internal => "Internal error of the proxy",
        }
    }

    /// The `error.type` that OpenAI clients expect.
    #[must_use]
    pub const fn openai_type(self) -> &'static str {
        match self.status().as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }
}

/// nginx's "client closed request"; recorded, never sent.
pub const CLIENT_CLOSED: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => panic!("499 is a valid status"),
};

/// A rejected request: the code, a detail for the person who sent it, and header fields of the response. The
/// detail never contains a secret, a signature or text of a prompt.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub code: ErrorCode,
    pub detail: String,
    /// Whole seconds for `Retry-After`.
    pub retry_after_s: Option<u64>,
    /// The value of `Allow`, with a 405.
    pub allow: Option<String>,
    /// The value of `WWW-Authenticate`, with a 401.
    pub challenge: Option<Box<HeaderValue>>,
    /// Replaces the title of the code.
    pub title: Option<&'static str>,
    /// Replaces the status of the code.
    pub status: Option<StatusCode>,
}

impl Refusal {
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Refusal {
            code,
            detail: detail.into(),
            retry_after_s: None,
            allow: None,
            challenge: None,
            title: None,
            status: None,
        }
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or(self.code.status())
    }

    /// A body that is larger than `bytes_max`.
    #[must_use]
    pub fn body_too_large(bytes_max: u64) -> Self {
        let detail = format!("a body may have at most {bytes_max} bytes on this route");
        Refusal::new(ErrorCode::BodyTooLarge, detail)
    }

    /// A body with this framing error.
    #[must_use]
    pub fn malformed_body(flaw: &str) -> Self {
        let detail = format!("the body is malformed: {flaw}");
        Refusal::new(ErrorCode::BadRequest, detail)
    }

    /// A body that stopped arriving.
    #[must_use]
    pub fn stalled_body() -> Self {
        Refusal::new(ErrorCode::BodyTimeout, "the body stalled")
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The body of the response: RFC 9457 members, `request_id`, and OpenAI's `error` object.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        let code = self.code;
        let kind = [ERROR_PAGES, code.as_str()].concat();
        let title = self.title.unwrap_or(code.title());
        let message = [title, ": ", &self.detail].concat();
        let problem = RefusalBody {
            kind: &kind,
            title,
            status: self.status().as_u16(),
            detail: &self.detail,
            request_id,
            error: OpenAiError {
                message: &message,
                kind: code.openai_type(),
                code: code.as_str(),
            },
        };
        // Serialising into memory cannot fail.
        serde_json::to_vec(&problem).unwrap_or_default()
    }
}

/// The prefix of the `type` of a problem, before its error code.
const ERROR_PAGES: &str = "urn:weir:error:";

/// RFC 9457, with `request_id` and OpenAI's `error`.
#[derive(Serialize)]
struct RefusalBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    code: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_have_an_error_status() {
        let texts: std::collections::HashSet<_> =
            ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert!(code.status().as_u16() >= 400, "{}", code.as_str());
        }
    }

    #[test]
    fn a_body_is_a_problem_and_an_openai_error() {
        let refusal = Refusal::new(ErrorCode::RateLimited, "limit \"per-client\" is exceeded");
        let body: serde_json::Value =
            serde_json::from_slice(&refusal.body("01KAN0X3S8Q5V4R8C9J2M7T6ZB")).expect("JSON");
        assert_eq!(body["status"], 429);
        assert_eq!(body["error"]["code"], "rate_limited");
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert_eq!(body["request_id"], "01KAN0X3S8Q5V4R8C9J2M7T6ZB");
    }
}
