//! The file as it is written: every key of `weir.yaml`, its type, its default, and what it means.
//! The JSON Schema and docs/configuration.md take their descriptions from here.

use std::net::SocketAddr;

use crate::settings::declare::{choice, settings};
use crate::settings::lists::List;
use crate::settings::redis_url::RedisUrl;
use crate::settings::values::{
    Count, MaybeEmptyText, Network, PlainText, SecretText, Size, TimeSpan,
};

pub(super) mod alerts;
pub(super) mod backend;
pub(super) mod cache;
pub(super) mod events;
pub(super) mod notifiers;
pub(super) mod route;

settings! {
    /// The configuration of weir.
    struct File {
        /// The addresses that requests are accepted on.
        listen: List<Listen, 1> [default "[{address: 0.0.0.0:8080}]"] restart,
        /// Limits of connections and requests; a route may override those of bodies.
        limits: Limits [default "{}"] reload,
        /// Rules for request paths.
        paths: Paths [default "{}"] reload,
        /// The networks whose X-Forwarded-For is trusted.
        trusted_proxies: List<Network> [default "['127.0.0.0/8', '::1/128']"] reload,
        /// The admin API: /, /healthz, /readyz, /metrics, /api/.
        admin: Admin [default "{}"] restart,
        /// State that all replicas share; left out: all state stays in this process.
        redis: Redis [optional] reload,
        /// The services that requests are forwarded to.
        backends: List<backend::Backend, 1> [required] reload,
        /// Routes; the first match wins.
        routes: List<route::Route, 1> [required] reload,
        /// One structured event per request.
        events: events::Events [default "{}"] reload,
        /// Export of spans; trace context is validated and forwarded in any case.
        traces: events::Traces [default "{}"] reload,
        /// Alert rules and notifiers.
        alerts: alerts::Alerts [default "{}"] reload,
        /// Graceful shutdown, and upgrades without an interruption.
        shutdown: Shutdown [default "{}"] restart,
    }
}

settings! {
    /// One address that requests are accepted on.
    struct Listen {
        /// An IP address and a port; port 0 lets the system choose.
        address: SocketAddr [required] restart,
        /// Left out: without TLS.
        tls: Tls [guard] restart,
    }
}

settings! {
    /// PEM files, read again when they change.
    struct Tls {
        /// The certificate with its chain.
        certificate: PlainText [required] restart,
        /// Its private key.
        key: PlainText [required] restart,
    }
}

settings! {
    /// Limits of every connection.
    struct Limits {
        /// The largest request head.
        header_bytes: Size<1024> [default "32KiB"] restart,
        /// Timeout of the whole request head, not per read.
        header_timeout: TimeSpan [default "10s"] restart,
        /// The largest body; a route may set its own.
        body_bytes: Size<0> [default "10MiB"] reload,
        /// Timeout of the whole body; a route may set its own.
        body_timeout: TimeSpan [default "30s"] reload,
        /// All buffered bodies together; beyond it requests are rejected with 503.
        buffered_bytes: Size [default "256MiB"] restart,
        /// Concurrent connections.
        connections: Count [default "10000"] restart,
        /// How long a connection may be idle between two requests.
        idle_timeout: TimeSpan [default "60s"] restart,
        /// How long an upgraded connection (a WebSocket) or a gRPC stream may be idle.
        upgrade_idle_timeout: TimeSpan [default "1h"] reload,
    }
}

settings! {
    /// Rules for request paths.
    struct Paths {
        /// keep: %2F is forwarded as it is, and never separates segments; reject: 400.
        encoded_slash: EncodedSlash [default "keep"] reload,
    }
}

choice! {
    /// The treatment of %2F in a path.
    enum EncodedSlash {
        Keep = "keep",
        Reject = "reject",
    }
}

settings! {
    /// The admin API.
    struct Admin {
        /// An IP address and a port.
        address: SocketAddr [default "127.0.0.1:8081"] restart,
        /// A bearer token; required if the address is not a loopback address.
        token: SecretText [optional] restart,
    }
}

settings! {
    /// A Redis shared by all replicas.
    struct Redis {
        /// The address of the server: redis://, rediss:// (TLS, with the roots of the system or of SSL_CERT_FILE) or unix://; user, password and database as in redis://user:password@host:6379/0.
        url: RedisUrl [required] reload,
        /// Timeout of one command; after that the request continues without Redis.
        timeout: TimeSpan [default "100ms"] reload,
    }
}

settings! {
    /// Graceful shutdown, and upgrades without an interruption.
    struct Shutdown {
        /// How long requests in flight may take after SIGTERM, and after an upgrade.
        drain: TimeSpan<0> [default "30s"] restart,
        /// The Unix socket over which a running weir hands over to its successor; "" for none.
        upgrade_socket: MaybeEmptyText [default "data/upgrade.sock"] restart,
    }
}
