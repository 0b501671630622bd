//! Refusals of the admin side as `application/problem+json` (RFC 9457).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

/// Why a request to the admin side was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NoToken,
    ForeignHost,
    NoPage,
    WrongMethod,
    WrongLimit,
}

impl Problem {
    const fn status(self) -> StatusCode {
        match self {
            Problem::NoToken => StatusCode::UNAUTHORIZED,
            Problem::ForeignHost => StatusCode::FORBIDDEN,
            Problem::NoPage => StatusCode::NOT_FOUND,
            Problem::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Problem::WrongLimit => StatusCode::BAD_REQUEST,
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Problem::NoToken => "send the token of the configuration: Authorization: Bearer TOKEN",
            Problem::ForeignHost => {
                "without admin.token this listener answers only to localhost and its own address"
            }
            Problem::NoPage => "there is no such page; / lists those that there are",
            Problem::WrongMethod => "this page is only read: use GET",
            Problem::WrongLimit => "limit must be a whole number, 0 to 100: ?limit=20",
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.detail(),
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self == Problem::NoToken {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"weir\""),
            );
        }
        response
    }
}
