//! Posts JSON to an external service.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::blocking::Client;

use super::NotifyFailure;
use crate::clock;
use crate::http::retry_after::retry_after;
use crate::outbound::{self, is_retryable, root_cause};
use crate::settings::secret::SecretText;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Shorter parts of an address are words and no secrets.
const SECRET_LENGTH_MIN: usize = 8;
const REASON_CHARACTERS_MAX: usize = 200;

/// An address and its credentials.
pub struct PostTarget {
    /// Created by the sending thread: it must be neither created nor dropped within an async runtime.
    client: OnceLock<Client>,
    url: SecretText,
    /// Secrets that must not be logged, the longest first.
    secrets: Vec<SecretText>,
    authorization: Option<SecretText>,
}

// A webhook's address is its credential.
impl fmt::Debug for PostTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PostTarget")
    }
}

impl PostTarget {
    #[must_use]
    pub fn new(url: &SecretText, authorization: Option<SecretText>) -> Self {
        PostTarget {
            client: OnceLock::new(),
            url: url.clone(),
            secrets: secrets(url.expose_secret(), authorization.as_ref()),
            authorization,
        }
    }

    /// Masks the secret parts of the address, and the credential.
    fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.expose_secret(), "***");
        }
        text
    }

    fn client(&self) -> Result<&Client, NotifyFailure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = outbound::client(CONNECT_TIMEOUT)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| NotifyFailure::Permanent(root_cause(&error.without_url())))?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Posts a body. Returns the body of a 2xx response.
    ///
    /// # Errors
    /// Any other outcome. The error contains neither the address nor a credential.
    pub fn post(&self, body: Vec<u8>) -> Result<Vec<u8>, NotifyFailure> {
        let mut request = self
            .client()?
            .post(self.url.expose_secret())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            let value = authorization.header_value();
            let value = value.map_err(|error| NotifyFailure::Permanent(error.to_string()))?;
            request = request.header(AUTHORIZATION, value);
        }
        let deadline = clock::now() + outbound::TIMEOUT;
        let response = request.body(body).send();
        let mut response = response
            .map_err(|error| NotifyFailure::Retryable(root_cause(&error.without_url()), None))?;
        let status = response.status();
        let after = retry_after(response.headers(), clock::unix_now());
        let bytes = outbound::read_until(&mut response, outbound::RESPONSE_BYTES_MAX, deadline)
            .map_err(|error| NotifyFailure::Retryable(self.masked(&error.to_string()), None))?;
        if status.is_success() {
            return Ok(bytes);
        }
        // An error page may echo the request.
        let text = self.masked(&String::from_utf8_lossy(&bytes));
        let text: String = text.chars().take(REASON_CHARACTERS_MAX).collect();
        let why = format!("it responds with {}: {}", status.as_u16(), text.trim());
        match is_retryable(status.as_u16()) {
            true => Err(NotifyFailure::Retryable(why, after)),
            false => Err(NotifyFailure::Permanent(why)),
        }
    }
}

/// The path and query of an address and their longer parts, and a credential and its parts.
fn secrets(url: &str, authorization: Option<&SecretText>) -> Vec<SecretText> {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..));
    let path = path.unwrap_or_default();
    let parts = path.split(['/', '?', '&', '=']).chain([path]);
    let credential = authorization.map_or("", SecretText::expose_secret);
    let all = parts.chain(credential.split(' ')).chain([credential]);
    let long = all.filter(|part| part.len() >= SECRET_LENGTH_MIN);
    let mut secrets: Vec<SecretText> = long.map(SecretText::from).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_echoed_by_a_service_are_masked() {
        let token = SecretText::from("Bearer t0ken-t0ken");
        let target = PostTarget::new(
            &SecretText::from("https://a.example/hook/v2/s3cret-s3cret?key=0123456789"),
            Some(token),
        );
        let page = "Cannot POST /hook/v2/s3cret-s3cret?key=0123456789 (s3cret-s3cret, 0123456789) \
                    authorization: Bearer t0ken-t0ken, t0ken-t0ken";
        let masked = target.masked(page);
        for secret in ["s3cret-s3cret", "0123456789", "t0ken"] {
            assert!(!masked.contains(secret), "{masked}");
        }
        assert!(masked.starts_with("Cannot POST ***"));
    }
}
