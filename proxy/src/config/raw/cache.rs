//! `routes[].cache`.

use http::HeaderName;
use serde_json::{Value, json};

use crate::cache::pointer::Pointer;
use crate::settings::declare::{choice, settings};
use crate::settings::decode::{FromScalar, Invalid};
use crate::settings::lists::List;
use crate::settings::values::{Size, TimeSpan};

settings! {
    /// Stored responses.
    struct Cache {
        /// Identical requests get the stored response; true unless http is set.
        answers: bool [optional] reload,
        /// Memory in this process; the least recently used entries are evicted first.
        memory: Size [default "100MiB"] reload,
        /// How long a response is stored, in Redis and in memory.
        ttl: TimeSpan [default "1h"] reload,
        /// Who shares a response.
        scope: Scope [default "client"] reload,
        /// JSON pointers (RFC 6901) to values of the body that do not change a response, such as /user.
        ignore: List<JsonPointer> [optional] reload,
        /// Forwarded headers that do not change a response, in addition to the known harmless ones.
        ignore_headers: List<HeaderName> [optional] reload,
        /// Requests that the cache is not used for; left out: none.
        unless: Unless [optional] reload,
        /// Identical requests in flight are sent once (against cache stampedes).
        coalesce: bool [default "true"] reload,
        /// HTTP caching (RFC 9111), as the backend's headers allow.
        http: bool [default "false"] reload,
    }
}

settings! {
    /// Requests that the cache is not used for: they are neither looked up nor stored.
    struct Unless {
        /// Those with a temperature above it; one that names no temperature has a temperature of 1.
        temperature_above: Temperature [optional] reload,
        /// Those with tools.
        tools: bool [default "false"] reload,
    }
}

choice! {
    /// Who shares a response.
    enum Scope {
        Client = "client",
        Route = "route",
    }
}

/// A JSON pointer into the body of a request.
#[derive(Clone)]
pub(crate) struct JsonPointer {
    pub(crate) text: Box<str>,
    pub(crate) pointer: Pointer,
}

impl FromScalar for JsonPointer {
    fn expected() -> String {
        "a JSON pointer such as /user".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        match text.parse() {
            Ok(pointer) => Ok(JsonPointer {
                text: text.into(),
                pointer,
            }),
            Err(error) => Err(Invalid::Because(format!("{error}"))),
        }
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^(/([^~/]|~[01])*)+$"})
    }
}

/// A sampling temperature.
#[derive(Clone, Copy)]
pub(crate) struct Temperature(pub(crate) f64);

impl Temperature {
    /// Far above what any provider accepts.
    const MAX: f64 = 100.0;
}

impl FromScalar for Temperature {
    fn expected() -> String {
        format!("a number from 0 to {} such as 0.5", Self::MAX)
    }

    fn is_equal(old: &str, new: &str) -> bool {
        old.parse::<f64>().ok() == new.parse().ok()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        let is_decimal = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        match text.parse() {
            Ok(number) if is_decimal && number <= Self::MAX => Ok(Temperature(number)),
            _ => Err(Invalid::Unexpected),
        }
    }

    fn schema() -> Value {
        json!({"type": "number", "minimum": 0, "maximum": Self::MAX})
    }
}
