//! A bare pingora proxy, the 1.0 of `make bench`: pingora's defaults, one backend, nothing on the way.
//!
//! `bare_pingora LISTEN BACKEND`, for example `bare_pingora 127.0.0.1:8090 127.0.0.1:8000`.

#![expect(
    clippy::expect_used,
    reason = "a program for measuring may end where it cannot go on"
)]

use async_trait::async_trait;
use pingora::Result;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::upstreams::peer::HttpPeer;
use std::net::SocketAddr;

struct Forward {
    backend: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.backend, false, String::new())))
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments
        .next()
        .expect("usage: bare_pingora LISTEN BACKEND");
    let backend = arguments
        .next()
        .expect("usage: bare_pingora LISTEN BACKEND");
    let backend = backend
        .parse()
        .expect("BACKEND is an address with a port, like 127.0.0.1:8000");

    let mut server = Server::new(None).expect("pingora starts with its defaults");
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Forward { backend });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
