//! The file as it is written: every key of `weir.yaml`, its type, its default, and what it means.
//! This is also where the JSON Schema takes its words from.

use std::net::SocketAddr;

use crate::settings::declare::{choice, settings};
use crate::settings::lists::List;
use crate::settings::url::RedisUrl;
use crate::settings::values::{Count, Network, PlainText, SecretText, Size, TimeSpan};

pub(super) mod alerts;
pub(super) mod backend;
pub(super) mod events;
pub(super) mod notifiers;
pub(super) mod route;

settings! {
    /// The configuration of weir.
    struct File {
        /// The addresses that requests are accepted on.
        listen: List<Listen, 1> [default "[{address: 0.0.0.0:8080}]"] restart,
        /// The bounds of every connection; the body_ ones are the routes' defaults.
        limits: Limits [default "{}"] reload,
        /// Rules for request paths.
        paths: Paths [default "{}"] reload,
        /// The networks whose X-Forwarded-For is trusted.
        trusted_proxies: List<Network> [default "['127.0.0.0/8', '::1/128']"] reload,
        /// The admin API: /, /healthz, /readyz, /metrics, /api/.
        admin: Admin [default "{}"] restart,
        /// Shared by all replicas; left out, all state stays in this process.
        redis: Redis [optional] restart,
        /// The services that requests are forwarded to.
        backends: List<backend::Backend, 1> [required] reload,
        /// The first that matches wins.
        routes: List<route::Route, 1> [required] reload,
        /// One structured event a request.
        events: events::Events [default "{}"] reload,
        /// Trace context is validated and forwarded in any case.
        traces: events::Traces [default "{}"] reload,
        /// Alert rules and notifiers.
        alerts: alerts::Alerts [default "{}"] reload,
        /// How the process ends.
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
    /// The bounds of every connection.
    struct Limits {
        /// The largest request head.
        header_bytes: Size<1024> [default "32KiB"] restart,
        /// For the whole request head, not per read.
        header_timeout: TimeSpan [default "10s"] restart,
        /// The largest body; a route may set its own.
        body_bytes: Size<0> [default "10MiB"] reload,
        /// For the whole body; a route may set its own.
        body_timeout: TimeSpan [default "30s"] reload,
        /// Of all buffered bodies; beyond it requests are rejected with 503.
        buffered_bytes: Size [default "256MiB"] restart,
        /// Connections at once.
        connections: Count [default "10000"] restart,
        /// How long a connection may be idle between two requests.
        idle_timeout: TimeSpan [default "60s"] restart,
        /// How long an upgraded connection (a WebSocket) or a stream of gRPC may be silent.
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
        /// Must be set when the address is not a loopback one.
        token: SecretText [optional] restart,
    }
}

settings! {
    /// A Redis shared by all replicas.
    struct Redis {
        /// Where it is.
        url: RedisUrl [required] restart,
        /// Of one command; past it the request goes on without Redis.
        timeout: TimeSpan [default "100ms"] restart,
    }
}

settings! {
    /// How the process ends.
    struct Shutdown {
        /// How long running requests may take after SIGTERM.
        drain: TimeSpan<0> [default "30s"] restart,
    }
}
