//! Posts JSON to a service outside.

use std::fmt;
use std::io::Read as _;
use std::sync::OnceLock;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::blocking::Client;

use super::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(10);
/// More than any of these services has to say.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
const REASON_CHARACTERS_MAX: usize = 200;

/// One address, and how weir says who it is.
pub struct Target {
    /// Made by the thread that sends: it may not be made, nor dropped, where a runtime is.
    client: OnceLock<Client>,
    url: String,
    authorization: Option<HeaderValue>,
}

// A webhook's address is its credential.
impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Target")
    }
}

impl Target {
    #[must_use]
    pub fn new(url: &str, authorization: Option<HeaderValue>) -> Self {
        Target {
            client: OnceLock::new(),
            url: url.to_owned(),
            authorization,
        }
    }

    fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::Refused(reason(error)))?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Posts a body; the answer's own is returned when its status is 2xx.
    ///
    /// # Errors
    /// Everything else; neither the address nor a credential is in it.
    pub fn post(&self, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let mut request = self
            .client()?
            .post(&self.url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let answer = request.body(body).send();
        let answer = answer.map_err(|error| Failure::NotNow(reason(error), None))?;
        let status = answer.status();
        let after = answer.headers().get(RETRY_AFTER).and_then(seconds);
        let mut bytes = Vec::new();
        // What cannot be read of an answer is not needed: its status tells.
        let _ = answer.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
        if status.is_success() {
            return Ok(bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let text: String = text.chars().take(REASON_CHARACTERS_MAX).collect();
        let why = format!("it answers {}: {}", status.as_u16(), text.trim());
        match status.as_u16() {
            408 | 425 | 429 | 500..=599 => Err(Failure::NotNow(why, after)),
            _ => Err(Failure::Refused(why)),
        }
    }
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The innermost cause says what happened; the address is left out.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
