//! What a client of a scheme has and sends, for `weir sign`, the load tester and tests. Each scheme implements it in its
//! own file.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::error::SignError;

/// Names and values of headers.
pub(crate) type SignedHeaders = Vec<(String, String)>;

/// A request to sign.
#[derive(Clone, Copy)]
pub(crate) struct ToSign<'a> {
    pub(crate) secret: &'a str,
    pub(crate) at_unix_s: u64,
    /// The request's own; see [`visible`].
    pub(crate) id: &'a str,
    pub(crate) body: &'a [u8],
    /// The client's name, where the scheme has a header for it.
    pub(crate) client: Option<&'a str>,
}

/// A text that a header can contain unchanged. The error does not repeat it: it may be a secret.
pub(super) fn visible(text: &str) -> Result<&str, SignError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text);
    }
    Err(SignError::NotVisible)
}

/// One way to be authenticated by a scheme of a route.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// Where the scheme has named clients.
    pub(crate) client: Option<Arc<str>>,
    pub(crate) credential: Credential,
    /// How old a request may be; `None`: its age is not checked.
    pub(crate) age_max: Option<Duration>,
    pub(crate) again: Again,
    pub(crate) distinct: Distinct,
}

#[derive(Clone)]
pub(crate) enum Credential {
    /// Signs the headers.
    Secret(SecretString),
    /// Is part of the body, where a platform has no key.
    Token(SecretString),
}

/// The treatment of a request that was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Admitted,
    /// 401.
    Rejected,
    /// With the success response of the platform, since platforms redeliver what they consider lost.
    Acknowledged,
}

/// What makes a signature valid for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinct {
    Always,
    /// It covers only a time in whole seconds: one request per second.
    BySecond,
}
