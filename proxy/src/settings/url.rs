//! Addresses of other services.

use std::path::PathBuf;

use http::Uri;
use http::uri::Authority;
use serde_json::{Value, json};

use super::decode::{FromScalar, Invalid};
use super::quote::names_a_source;
use super::secret::SecretText;

/// Where an endpoint listens.
#[derive(Clone, Debug)]
pub(crate) struct EndpointUrl {
    pub(crate) location: EndpointLocation,
    /// As it is shown.
    pub(crate) text: String,
}

/// `http://HOST:PORT`, `https://HOST:PORT` or `h2c://HOST:PORT` and nothing after it, or `unix:/PATH`.
#[derive(Clone, Debug)]
pub(crate) enum EndpointLocation {
    Http(Authority),
    Https(Authority),
    H2c(Authority),
    Unix(PathBuf),
}

/// The address of an external service: a path may follow.
pub(crate) struct ServiceUrl(pub(crate) SecretText);

/// The address of a node of Elasticsearch: a [`ServiceUrl`] whose credentials have keys of their own.
pub(crate) struct IndexUrl(pub(crate) SecretText);

impl FromScalar for EndpointUrl {
    const IS_ADDRESS: bool = true;

    fn expected() -> String {
        "an address such as http://127.0.0.1:8000".to_owned()
    }

    fn is_secret(written: &str) -> bool {
        !is_bare(written, MayFollow::AnyPath)
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        if let Some(path) = strip_unix_scheme(text) {
            return unix_socket(path);
        }
        let (scheme, rest) = scheme_and_rest(text, &["http", "https", "h2c"])?;
        let (authority, after) = split_authority(rest);
        check_authority(authority, "; set `request_headers` instead")?;
        match after {
            "" | "/" => {}
            after if after.starts_with('/') && !after.contains(['?', '#']) => {
                return Err(Invalid::Because(
                    "an endpoint has no path; write it as `path_prefix` of the backend".to_owned(),
                ));
            }
            _ => {
                return Err(Invalid::Because(
                    "an endpoint ends with its host and port; no path, query or fragment"
                        .to_owned(),
                ));
            }
        }
        let authority = authority.to_ascii_lowercase();
        let text = format!("{scheme}://{authority}");
        let authority = authority.parse().map_err(|_| Invalid::Unexpected)?;
        let location = match scheme.as_str() {
            "https" => EndpointLocation::Https(authority),
            "h2c" => EndpointLocation::H2c(authority),
            _ => EndpointLocation::Http(authority),
        };
        Ok(EndpointUrl { location, text })
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^((https?|h2c)://[^/?#@]+/?|unix:/.+)$"})
    }
}

/// What follows `unix:`, if the text begins with it.
fn strip_unix_scheme(text: &str) -> Option<&str> {
    let (scheme, path) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("unix").then_some(path)
}

fn unix_socket(path: &str) -> Result<EndpointUrl, Invalid> {
    // As a URI, an absolute path may follow an empty authority.
    let path = match path.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => "",
        None => path,
    };
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(Invalid::Because(
            "the path of a Unix socket is absolute, as in unix:/run/assistant.sock".to_owned(),
        ));
    }
    if path.len() > SOCKET_PATH_BYTES_MAX {
        return Err(Invalid::Because(format!(
            "the path of a Unix socket has at most {SOCKET_PATH_BYTES_MAX} bytes"
        )));
    }
    Ok(EndpointUrl {
        location: EndpointLocation::Unix(PathBuf::from(path)),
        text: format!("unix:{path}"),
    })
}

impl FromScalar for ServiceUrl {
    // A webhook's address is its credential.
    const SECRET: bool = true;
    const IS_ADDRESS: bool = true;

    fn expected() -> String {
        "an address such as http://127.0.0.1:9200".to_owned()
    }

    fn is_secret(written: &str) -> bool {
        !is_bare(written, MayFollow::Nothing)
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        service(text, "").map(ServiceUrl)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^https?://[^@]+$"})
    }
}

impl FromScalar for IndexUrl {
    const SECRET: bool = ServiceUrl::SECRET;
    const IS_ADDRESS: bool = ServiceUrl::IS_ADDRESS;

    fn expected() -> String {
        ServiceUrl::expected()
    }

    fn is_secret(written: &str) -> bool {
        ServiceUrl::is_secret(written)
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        service(text, "; set `username` and `password` instead").map(IndexUrl)
    }

    fn schema() -> Value {
        ServiceUrl::schema()
    }
}

/// An address with any path; `instead` is where its credentials belong.
fn service(text: &str, instead: &str) -> Result<SecretText, Invalid> {
    let (_, rest) = scheme_and_rest(text, &["http", "https"])?;
    check_authority(split_authority(rest).0, instead)?;
    text.parse::<Uri>()
        .map(|_| SecretText::from(text))
        .map_err(|_| Invalid::Unexpected)
}

/// What may follow host and port in an address that contains no secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MayFollow {
    Nothing,
    Number,
    AnyPath,
}

/// Whether an address has only scheme, host and port, and therefore no credential. One without a scheme
/// has to be an IP address or `localhost`: a user and a password look like a host and a port.
pub(super) fn is_bare(written: &str, may_follow: MayFollow) -> bool {
    // A variable may have any value; a fallback is part of the text.
    let mut text = written.to_owned();
    while let Some((before, rest)) = text.split_once("${") {
        match rest.split_once('}') {
            Some((inside, after)) if names_a_source(inside) => text = format!("{before}1{after}"),
            _ => return false,
        }
    }
    if text.contains(['@', '?', '#', '\\', '%']) {
        return false;
    }
    if may_follow == MayFollow::AnyPath && text.starts_with("unix:/") {
        return true;
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let is_local = text
            .strip_prefix("localhost:")
            .is_some_and(|port| port.parse::<u16>().is_ok());
        return is_local || text.parse::<std::net::SocketAddr>().is_ok();
    };
    let (authority, after) = split_authority(rest);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-[]:_".contains(&byte);
    scheme.bytes().all(|byte| byte.is_ascii_lowercase())
        && host.bytes().all(is_host)
        && (host.starts_with('[') || !host.contains(':'))
        && port.len() <= 5
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && match may_follow {
            MayFollow::Nothing => matches!(after, "" | "/"),
            MayFollow::Number => {
                after.len() <= 4 && after.bytes().skip(1).all(|byte| byte.is_ascii_digit())
            }
            MayFollow::AnyPath => true,
        }
}

/// The size of `sun_path` on Linux, without its NUL.
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 107;

pub(super) const BAD_PORT: &str = "the port of the address is a number from 1 to 65535";
const NO_HOST: &str = "the address names no host";

pub(super) fn scheme_and_rest<'t>(
    text: &'t str,
    schemes: &[&str],
) -> Result<(String, &'t str), Invalid> {
    let schemes_text = || {
        schemes
            .iter()
            .map(|scheme| format!("{scheme}://"))
            .collect::<Vec<_>>()
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(|| {
        Invalid::Because(format!(
            "the address must begin with {}",
            schemes_text().join(" or ")
        ))
    })?;
    let scheme = scheme.to_ascii_lowercase();
    if !schemes.contains(&scheme.as_str()) {
        return Err(Invalid::Because(format!(
            "the address must begin with {}",
            schemes_text().join(" or ")
        )));
    }
    Ok((scheme, rest))
}

pub(super) fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// Host and an optional port. The message never repeats what may be a password.
fn check_authority(authority: &str, instead: &str) -> Result<(), Invalid> {
    if authority.contains('@') {
        return Err(Invalid::Because(format!(
            "an address must not contain a user and password{instead}"
        )));
    }
    let parsed: Authority = match authority.parse() {
        Ok(parsed) => parsed,
        Err(_) if authority.is_empty() => return Err(Invalid::Because(NO_HOST.to_owned())),
        Err(_) => return Err(Invalid::Unexpected),
    };
    if parsed.host().is_empty() {
        return Err(Invalid::Because(NO_HOST.to_owned()));
    }
    let written_port = authority.strip_prefix(parsed.host());
    match (written_port, parsed.port_u16()) {
        (Some(""), None) => Ok(()),
        (Some(_), Some(port)) if port > 0 => Ok(()),
        _ => Err(Invalid::Because(BAD_PORT.to_owned())),
    }
}
