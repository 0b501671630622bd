//! The file as it is written: every key of `weir.yaml`, its type, its default, and what it means.
//! This is also where the JSON Schema takes its words from.

use std::net::SocketAddr;

use crate::settings::declare::{choice, settings};
use crate::settings::lists::List;
use crate::settings::url::RedisUrl;
use crate::settings::values::{Count, Network, Secret, Size, Text, Time};

pub(super) mod alerts;
pub(super) mod backend;
pub(super) mod events;
pub(super) mod notifiers;
pub(super) mod route;

settings! {
    /// The configuration of weir.
    struct File {
        /// The addresses that requests are taken on.
        listen: List<Listen, 1> [default "[{address: 0.0.0.0:8080}]"],
        /// The bounds of every connection; the body_ ones are the routes' defaults.
        limits: Limits [default "{}"],
        /// What paths may hold.
        paths: Paths [default "{}"],
        /// The networks whose X-Forwarded-For is believed.
        trusted_proxies: List<Network> [default "['127.0.0.0/8', '::1/128']"],
        /// The operator's side: /, /healthz, /readyz, /metrics, /api/.
        admin: Admin [default "{}"],
        /// Shared by all replicas; left out, everything stays in this process.
        redis: Redis [optional],
        /// The services that requests go on to.
        backends: List<backend::Backend, 1> [required],
        /// The first that matches wins.
        routes: List<route::Route, 1> [required],
        /// One structured event a request.
        events: events::Events [default "{}"],
        /// Trace context is checked and handed on in any case.
        traces: events::Traces [default "{}"],
        /// Alert rules and notifiers.
        alerts: alerts::Alerts [default "{}"],
        /// How the process ends.
        shutdown: Shutdown [default "{}"],
    }
}

settings! {
    /// One address that requests are taken on.
    struct Listen {
        /// An IP address and a port; port 0 lets the system choose.
        address: SocketAddr [required],
        /// Left out: without TLS.
        tls: Tls [guard],
    }
}

settings! {
    /// PEM files, read again when they change.
    struct Tls {
        /// The certificate with its chain.
        certificate: Text [required],
        /// Its private key.
        key: Text [required],
    }
}

settings! {
    /// The bounds of every connection.
    struct Limits {
        /// The largest request head.
        header_bytes: Size<1024> [default "32KiB"],
        /// For the whole request head, not per read.
        header_timeout: Time [default "10s"],
        /// The largest body; a route may set its own.
        body_bytes: Size<0> [default "10MiB"],
        /// For the whole body; a route may set its own.
        body_timeout: Time [default "30s"],
        /// Of all bodies held at once; past it requests are refused with 503.
        buffered_bytes: Size [default "256MiB"],
        /// Connections at once.
        connections: Count [default "10000"],
        /// How long a connection may rest between two requests.
        idle_timeout: Time [default "60s"],
        /// How long an upgraded connection (a WebSocket) or a stream of gRPC may be silent.
        upgrade_idle_timeout: Time [default "1h"],
    }
}

settings! {
    /// What paths may hold.
    struct Paths {
        /// keep: %2F goes on as it is, and never separates segments; reject: 400.
        encoded_slash: EncodedSlash [default "keep"],
    }
}

choice! {
    /// What becomes of %2F in a path.
    enum EncodedSlash {
        Keep = "keep",
        Reject = "reject",
    }
}

settings! {
    /// The operator's side.
    struct Admin {
        /// An IP address and a port.
        address: SocketAddr [default "127.0.0.1:8081"],
        /// Must be set when the address is not a loopback one.
        token: Secret [optional],
    }
}

settings! {
    /// A Redis shared by all replicas.
    struct Redis {
        /// Where it is.
        url: RedisUrl [required],
        /// Of one command; past it the request goes on without Redis.
        timeout: Time [default "100ms"],
    }
}

settings! {
    /// How the process ends.
    struct Shutdown {
        /// How long running requests may take after SIGTERM.
        drain: Time<0> [default "30s"],
    }
}
