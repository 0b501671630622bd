//! `routes`, without their signatures.

use http::HeaderName;
use serde_json::{Value, json};

use super::cache::Cache;
use crate::limit;
use crate::settings::declare::{choice, settings};
use crate::settings::decode::{FromScalar, Invalid};
use crate::settings::lists::{List, OneOrMany};
use crate::settings::values::{Count, Network, PlainText, Size, Slug, TimeSpan};
use crate::signature::entry::Signature;
use crate::units::Rate;

settings! {
    /// Which requests are forwarded where, and what they must satisfy.
    struct Route {
        /// Its name in metrics and events.
        name: Slug [required] reload,
        /// An exact path, or a prefix with a trailing *.
        path: PlainText [required] reload,
        /// Left out: every method.
        methods: List<MethodName, 1> [optional] reload,
        /// The name of the backend.
        backend: Slug [required] reload,
        /// The platform label; api by default, or the platform of the signature scheme.
        platform: Slug [optional] reload,
        /// Source networks; left out: every address.
        allow: List<Network, 1> [guard] reload,
        /// One scheme or a list; the first whose headers are present is used. Left out: no signature is required.
        signature: OneOrMany<Signature> [guard] reload,
        /// Rate limits; all of them apply.
        rate_limits: List<RateLimit> [optional] reload,
        /// Concurrent requests on this route; beyond it requests are rejected with 503.
        concurrency: Count [optional] reload,
        /// Stored responses.
        cache: Cache [optional] reload,
        /// Turns stored per conversation.
        conversation: Conversation [optional] reload,
        /// The largest body; `limits.body_bytes` by default.
        body_bytes: Size<0> [optional] reload,
        /// The timeout of the whole body; `limits.body_timeout` by default.
        body_timeout: TimeSpan [optional] reload,
    }
}

settings! {
    /// A rate limit (GCRA): requests or tokens per period.
    struct RateLimit {
        /// Its name in headers and metrics.
        name: Slug [required] reload,
        /// Sustained rate of requests.
        rate: Rate [optional] reload,
        /// Sustained rate of model tokens.
        tokens: Rate [optional] reload,
        /// Requests at once; one second's worth by default.
        burst: Count [optional] reload,
        /// What is counted separately: client, address, platform, route or header:NAME.
        by: LimitBy [default "client"] reload,
        /// The clients that the limit applies to; left out: all.
        clients: List<Slug, 1> [guard] reload,
        /// Counted in Redis, over all replicas.
        shared: bool [default "false"] reload,
    }
}

settings! {
    /// Turns stored per conversation.
    struct Conversation {
        /// Turns that are stored; 0: off.
        rounds: Count<0> [default "5"] reload,
        /// How long a conversation is stored without a new turn.
        idle: TimeSpan [default "30m"] reload,
        /// The request header that names the conversation; consistent load balancing uses it too.
        header: HeaderName [default "x-conversation-id"] reload,
    }
}

choice! {
    /// The methods of RFC 9110, section 9, and RFC 5789; CONNECT has no path to route by.
    enum MethodName {
        Get = "GET",
        Head = "HEAD",
        Post = "POST",
        Put = "PUT",
        Patch = "PATCH",
        Delete = "DELETE",
        Options = "OPTIONS",
        Trace = "TRACE",
    }
}

/// What a limit counts separately.
pub(crate) struct LimitBy(pub(crate) limit::By);

impl FromScalar for LimitBy {
    fn expected() -> String {
        "one of `client`, `address`, `platform`, `route`, `header:NAME`".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        if let Some(name) = text.strip_prefix("header:") {
            return HeaderName::from_bytes(name.as_bytes())
                .map(|name| LimitBy(limit::By::Header(name)))
                .map_err(|_| Invalid::Because("no header can have this name".to_owned()));
        }
        const WORDS: &[&str] = &["client", "address", "platform", "route", "header:NAME"];
        let by = match text {
            "client" => limit::By::Client,
            "address" => limit::By::Address,
            "platform" => limit::By::Platform,
            "route" => limit::By::Route,
            other => {
                return Err(match crate::settings::nearest::nearest(other, WORDS) {
                    Some(near) => Invalid::Near(near),
                    None => Invalid::Unexpected,
                });
            }
        };
        Ok(LimitBy(by))
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^(client|address|platform|route|header:.+)$"})
    }
}
