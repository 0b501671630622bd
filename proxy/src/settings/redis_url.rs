//! The address of a Redis.

use std::net::IpAddr;

use ::redis::IntoConnectionInfo as _;
use serde_json::{Value, json};

use super::decode::{FromScalar, Invalid};
use super::secret::SecretText;
use super::url::{
    BAD_PORT, MayFollow, SOCKET_PATH_BYTES_MAX, is_bare, scheme_and_rest, split_authority,
};

/// The address of a Redis, which may contain a password. No message repeats a part of it, which may be that of a password.
pub(crate) struct RedisUrl(pub(crate) SecretText);

impl FromScalar for RedisUrl {
    const SECRET: bool = true;
    const IS_ADDRESS: bool = true;

    fn expected() -> String {
        "an address such as redis://127.0.0.1:6379/0".to_owned()
    }

    fn is_secret(written: &str) -> bool {
        !is_bare(written, MayFollow::Number)
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        let (scheme, rest) = scheme_and_rest(text, &["redis", "rediss", "unix"])?;
        let checked = match scheme.as_str() {
            "unix" => check_socket(rest),
            _ => check_server(rest),
        };
        checked.map_err(|why| Invalid::Because(why.to_owned()))?;
        let url = ::redis::parse_redis_url(text).ok_or(Invalid::Unexpected)?;
        // What else is wrong may be in the password.
        let info = url.into_connection_info();
        info.map_err(|_| Invalid::Unexpected)?;
        Ok(RedisUrl(SecretText::from(text)))
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^(rediss?|unix)://.+$"})
    }
}

/// What follows `redis://`: `USER:PASSWORD@HOST:PORT/DATABASE`.
fn check_server(rest: &str) -> Result<(), &'static str> {
    let (authority, after) = split_authority(rest);
    if after.contains('@') {
        return Err("a `/`, `?` or `#` in the user or the password is written %2F, %3F or %23");
    }
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match host_and_port.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (host_and_port, ""),
    };
    if host.is_empty() {
        return Err("the address names no host; write one, as in redis://127.0.0.1:6379/0");
    }
    if !port.is_empty() && !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(BAD_PORT);
    }
    let address = host.trim_start_matches('[').trim_end_matches(']');
    if address.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()) {
        return Err(
            "this is where a server listens, not its address; for this host write 127.0.0.1",
        );
    }
    let (database, query) = after.split_once('?').unwrap_or((after, ""));
    let database = database.trim_matches('/');
    if database.contains('#') || query.contains('#') {
        return Err("an address of Redis has no fragment");
    }
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return Err("what follows host and port is the number of a database, such as /0");
    }
    check_query(
        query,
        &["protocol"],
        "after `?`, an address of Redis takes protocol; user and password are written before the host, as in \
         redis://user:password@host:6379/0",
    )
}

/// What follows `unix://`: `/PATH?db=NUMBER&user=USER&pass=PASSWORD`.
fn check_socket(rest: &str) -> Result<(), &'static str> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("the path of a Unix socket is absolute, as in unix:///run/redis.sock");
    }
    if path.len() > SOCKET_PATH_BYTES_MAX {
        return Err("the path of a Unix socket has at most 107 bytes");
    }
    if rest.contains('#') {
        return Err("an address of Redis has no fragment; a `#` in a password is written %23");
    }
    let is_number = |pair: &str| match pair.strip_prefix("db=") {
        Some(number) => number.parse::<u16>().is_ok(),
        None => true,
    };
    if !query.split('&').all(is_number) {
        return Err("`db` is the number of a database, such as ?db=0");
    }
    check_query(
        query,
        &["db", "user", "pass", "protocol"],
        "after `?`, the address of a Unix socket takes db, user, pass and protocol",
    )
}

/// Anything else would be ignored.
fn check_query(query: &str, known: &[&str], why: &'static str) -> Result<(), &'static str> {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
    match pairs.all(|pair| known.contains(&name(pair).as_str())) {
        true => Ok(()),
        false => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_stated_without_repeating_a_password() {
        for (text, part) in [
            (
                "localhost:6379",
                "must begin with redis:// or rediss:// or unix://",
            ),
            ("S3CRET", "must begin with redis://"),
            ("http://:S3CRET@h", "must begin with redis://"),
            ("redis://", "names no host"),
            ("redis://:6379/0", "names no host"),
            ("redis://:S3CRET@/0", "names no host"),
            ("redis://h:0/0", "a number from 1 to 65535"),
            ("redis://h:65536/0", "a number from 1 to 65535"),
            ("redis://user:S3CRET", "a number from 1 to 65535"),
            ("redis://:S3CRET@[::1]:x/0", "a number from 1 to 65535"),
            ("redis://h/main", "the number of a database, such as /0"),
            ("redis://h/-1", "the number of a database, such as /0"),
            ("redis://h/0/1", "the number of a database, such as /0"),
            ("redis://h/0#insecure", "no fragment"),
            ("redis://u:S3/CRET@h/0", "written %2F, %3F or %23"),
            ("redis://u:1?S3CRET@h/0", "written %2F, %3F or %23"),
            ("redis://u:1#S3CRET@h/0", "written %2F, %3F or %23"),
            ("redis://h/0?password=S3CRET", "written before the host"),
            ("redis://h?protocol=4", "an address such as"),
            ("redis://0.0.0.0:6379", "for this host write 127.0.0.1"),
            ("rediss://[::]/0", "for this host write 127.0.0.1"),
            ("redis://a b/0", "an address such as"),
            (
                "unix://run/redis.sock",
                "is absolute, as in unix:///run/redis.sock",
            ),
            ("unix:///run/", "is absolute"),
            (
                "unix:///run/r.sock?db=x&pass=S3CRET",
                "`db` is the number of a database",
            ),
            (
                "unix:///run/r.sock?password=S3CRET",
                "takes db, user, pass and protocol",
            ),
        ] {
            let message = match RedisUrl::read(text) {
                Ok(_) => panic!("{text} is valid"),
                Err(Invalid::Because(message)) => message,
                Err(_) => RedisUrl::expected(),
            };
            assert!(message.contains(part), "{text}: {message}");
            assert!(
                !message.contains("S3") && !message.contains("CRET"),
                "{message}"
            );
        }
        for valid in [
            "redis://h",
            "redis://h:/0",
            "REDIS://user:pa%2Fss%40%23@redis.example:6380/15",
            "rediss://:a:b@c@[::1]:6379/0?protocol=resp3",
            "unix:///run/redis.sock",
            "unix:///run/redis.sock?db=1&user=u&pass=p@ss",
        ] {
            assert!(RedisUrl::read(valid).is_ok(), "{valid}");
        }
    }
}
