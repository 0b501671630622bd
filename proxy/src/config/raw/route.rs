//! `routes`, without their signatures.

use http::HeaderName;
use serde_json::{Value, json};

use crate::limit;
use crate::settings::declare::{choice, settings};
use crate::settings::decode::{FromScalar, Invalid};
use crate::settings::lists::{List, OneOrMany};
use crate::settings::values::{Count, Network, PlainText, Size, Slug, TimeSpan};
use crate::signature::entry::Signature;
use crate::units::Rate;

settings! {
    /// Which requests go where, and what they must satisfy.
    struct Route {
        /// Its name in metrics and events.
        name: Slug [required] reload,
        /// Exact; with a trailing * a prefix.
        path: PlainText [required] reload,
        /// Left out: every method.
        methods: List<MethodName, 1> [optional] reload,
        /// The name of the backend.
        backend: Slug [required] reload,
        /// The label; api by default, or what the signature's platform is called.
        platform: Slug [optional] reload,
        /// Source networks; left out: every address.
        allow: List<Network, 1> [guard] reload,
        /// One, or a list: the first whose headers are present decides. Left out: no signature is required.
        signature: OneOrMany<Signature> [guard] reload,
        /// All of them are checked; the first that rejects decides.
        rate_limits: List<RateLimit> [optional] reload,
        /// Requests at once on this route; past it 503 at once.
        concurrency: Count [optional] reload,
        /// Stored responses.
        cache: Cache [optional] reload,
        /// Turns kept per conversation.
        conversation: Conversation [optional] reload,
        /// The largest body; that of limits by default.
        body_bytes: Size<0> [optional] reload,
        /// For the whole body; that of limits by default.
        body_timeout: TimeSpan [optional] reload,
    }
}

settings! {
    /// Requests or tokens per time.
    struct RateLimit {
        /// Its name in headers and metrics.
        name: Slug [required] reload,
        /// Requests.
        rate: Rate [optional] reload,
        /// Tokens of models.
        tokens: Rate [optional] reload,
        /// How many at once; one second's worth by default.
        burst: Count [optional] reload,
        /// client, address, platform, route or header:NAME.
        by: LimitBy [default "client"] reload,
        /// Only for these clients; left out: for all.
        clients: List<Slug, 1> [guard] reload,
        /// Counted in Redis, over all replicas.
        shared: bool [default "false"] reload,
    }
}

settings! {
    /// Stored responses.
    struct Cache {
        /// Equal requests get the same response; true unless http is.
        answers: bool [optional] reload,
        /// In this process; the least recently used is evicted first.
        memory: Size [default "100MiB"] reload,
        /// In Redis and in memory.
        ttl: TimeSpan [default "1h"] reload,
        /// Who shares a response.
        scope: Scope [default "client"] reload,
        /// Forwarded headers that do not change a response, beside the known harmless ones.
        ignore_headers: List<HeaderName> [optional] reload,
        /// Equal requests in flight are sent once.
        coalesce: bool [default "true"] reload,
        /// RFC 9111, by what the backend's headers allow.
        http: bool [default "false"] reload,
    }
}

settings! {
    /// Turns kept per conversation.
    struct Conversation {
        /// 0: off.
        rounds: Count<0> [default "5"] reload,
        /// How long a conversation is kept without a turn.
        idle: TimeSpan [default "30m"] reload,
    }
}

choice! {
    /// Who shares a response.
    enum Scope {
        Client = "client",
        Route = "route",
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

/// What a limit counts by.
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
