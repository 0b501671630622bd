//! Errors of the admin API as `application/problem+json` (RFC 9457).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

/// Why a request to the admin API was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NoToken,
    ForeignHost,
    ForeignOrigin,
    NoPage,
    WrongMethod,
    WrongLimit,
}

impl Problem {
    const fn status(self) -> StatusCode {
        match self {
            Problem::NoToken => StatusCode::UNAUTHORIZED,
            Problem::ForeignHost | Problem::ForeignOrigin => StatusCode::FORBIDDEN,
            Problem::NoPage => StatusCode::NOT_FOUND,
            Problem::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Problem::WrongLimit => StatusCode::BAD_REQUEST,
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Problem::NoToken => "send the configured admin token: Authorization: Bearer TOKEN",
            Problem::ForeignHost => {
                "without admin.token, only requests for localhost or the address of this listener are accepted"
            }
            Problem::ForeignOrigin => "a page of another site may not do this",
            Problem::NoPage => "no such page; / lists all pages",
            Problem::WrongMethod => "this page does not support this method; / lists all pages",
            Problem::WrongLimit => "limit must be a whole number, 0 to 100: ?limit=20",
        }
    }
}

/// A problem with a detail of its own.
#[derive(Clone, Debug)]
pub(super) struct DetailedProblem {
    status: StatusCode,
    detail: String,
}

impl DetailedProblem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        DetailedProblem { status, detail }
    }
}

impl From<Problem> for DetailedProblem {
    fn from(problem: Problem) -> Self {
        DetailedProblem::new(problem.status(), problem.detail())
    }
}

impl IntoResponse for DetailedProblem {
    fn into_response(self) -> Response {
        let status = self.status;
        let body = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, problem);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = DetailedProblem::from(self).into_response();
        if self == Problem::NoToken {
            response.headers_mut().insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"weir\""),
            );
        }
        response
    }
}
