//! Exchanges with a real HTTP/2 server.

use std::future::{Future, poll_fn};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::backend::Config;
use crate::backend::address::EndpointAddress;
use crate::backend::client::{self, CallDeadline, CallTarget, UsableConnections};
use crate::backend::connector::{Connector, UpstreamProtocol};
use crate::backend::failure::{ConnectionError, Failure, UnansweredRequest};
use crate::backend::informational::InformationalResponses;
use crate::backend::pool::PoolKey;
use crate::backend::request_body::RequestBody;
use crate::backend::response::UpstreamResponse;
use crate::backend::tls::TlsClients;
use crate::clock;
use crate::config;
use crate::http::response_body::{Piece, ResponseBody};

mod failures;
mod unprocessed;

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

const CONFIG: &str = "
backends:
  - {name: a, endpoints: ['h2c://a.test'], connect_timeout: 30s, first_byte_timeout: 30s, pool: {idle_timeout: 30s}}
routes: [{name: all, path: /*, backend: a}]
";

fn backend_config() -> Config {
    let loaded = config::parse(CONFIG, Path::new("weir.yaml"), &|_| None);
    let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
    Config::clone(&loaded.config.backends[0])
}

/// An endpoint with a pool of its own.
struct Caller {
    pool_key: PoolKey,
    connector: Connector,
    config: Config,
}

impl Caller {
    async fn of(listener: &TcpListener) -> Self {
        let authority = listener.local_addr().expect("an address").to_string();
        let authority = authority.parse().expect("an authority");
        let tls = TlsClients::with_system_roots().get(None);
        Caller {
            pool_key: PoolKey::new(),
            connector: Connector::new(&EndpointAddress::H2c(authority), tls),
            config: backend_config(),
        }
    }

    async fn send(&self, path: &str, body: RequestBody) -> Result<Box<UpstreamResponse>, Failure> {
        self.send_within(path, body, LONG, None).await
    }

    async fn send_within(
        &self,
        path: &str,
        body: RequestBody,
        limit: Duration,
        informational: Option<&InformationalResponses>,
    ) -> Result<Box<UpstreamResponse>, Failure> {
        let sent = self.attempt(path, body, limit, informational).await;
        sent.map_err(|unanswered| unanswered.failure)
    }

    async fn attempt(
        &self,
        path: &str,
        body: RequestBody,
        limit: Duration,
        informational: Option<&InformationalResponses>,
    ) -> Result<Box<UpstreamResponse>, UnansweredRequest> {
        let to = CallTarget {
            pool_key: self.pool_key,
            connector: &self.connector,
            config: &self.config,
        };
        let request = Request::post(path).header("host", "a.test").body(body);
        let call = CallDeadline {
            started_at: clock::now(),
            deadline: clock::now() + limit,
            connections: UsableConnections::PooledOrNew,
        };
        let request = (request.expect("a request"), UpstreamProtocol::Any);
        client::send(to, request, call, informational).await
    }

    async fn get(&self, path: &str) -> Result<Box<UpstreamResponse>, Failure> {
        self.send(path, RequestBody::whole(Bytes::new())).await
    }
}

/// A server of which each stream is served by `serve`.
struct Server {
    listener: Arc<TcpListener>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

type Stream = (Request<RecvStream>, SendResponse<Bytes>);

impl Server {
    async fn serving<F>(serve: impl Fn(Stream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve = Arc::new(serve);
        Server::accepting(move |mut connection| {
            let serve = serve.clone();
            async move {
                while let Some(Ok(stream)) = connection.accept().await {
                    tokio::spawn(serve(stream));
                }
            }
        })
        .await
    }

    async fn accepting<F>(
        serve: impl Fn(Connection<TcpStream, Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.expect("bound"));
        let (connections, open) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let server = Server {
            listener: listener.clone(),
            connections: connections.clone(),
            open: open.clone(),
        };
        let serve = Arc::new(serve);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                open.fetch_add(1, Ordering::SeqCst);
                let (serve, open) = (serve.clone(), open.clone());
                tokio::spawn(async move {
                    if let Ok(connection) = h2::server::handshake(stream).await {
                        serve(connection).await;
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn has_no_connection(&self) {
        let closed = async {
            while self.open.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, closed).await.expect("closed");
    }
}

/// Sends the request's body back, and a trailer.
async fn echo((mut request, mut respond): Stream) {
    let mut body = respond
        .send_response(Response::new(()), false)
        .expect("sent");
    while let Some(Ok(data)) = request.body_mut().data().await {
        let _ = request
            .body_mut()
            .flow_control()
            .release_capacity(data.len());
        body.reserve_capacity(data.len());
        body.send_data(data, false).expect("sent");
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-path", request.uri().path().parse().expect("a value"));
    trailers.insert(
        "x-authority",
        request
            .uri()
            .authority()
            .expect("one")
            .as_str()
            .parse()
            .expect("a value"),
    );
    body.send_trailers(trailers).expect("sent");
}

async fn read(response: &mut UpstreamResponse) -> Result<(Vec<u8>, HeaderMap), ConnectionError> {
    let (mut all, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(piece) = response
        .body
        .next(clock::now() + LONG)
        .await
        .expect("in time")
    {
        match piece? {
            Piece::Data(data) => all.extend_from_slice(&data),
            Piece::Trailers(fields) => trailers = fields,
        }
    }
    Ok((all, trailers))
}

fn whole(text: &'static str) -> RequestBody {
    RequestBody::whole(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn concurrent_requests_share_a_connection_and_get_their_own_trailers() {
    let server = Server::serving(echo).await;
    let caller = Caller::of(&server.listener).await;
    let (one, two, three) = tokio::join!(
        caller.send("/one", whole("1")),
        caller.send("/two", whole("2")),
        caller.get("/three")
    );
    for (path, text, response) in [
        ("/one", "1", one),
        ("/two", "2", two),
        ("/three", "", three),
    ] {
        let mut response = response.expect("a response");
        let (body, trailers) = read(&mut response).await.expect("whole");
        assert_eq!(body, text.as_bytes());
        assert_eq!(trailers["x-path"], path);
        assert_eq!(trailers["x-authority"], "a.test");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn large_bodies_pass_in_both_directions() {
    let server = Server::serving(echo).await;
    let caller = Caller::of(&server.listener).await;
    let body = Bytes::from(vec![7; 3 * 1024 * 1024]);
    let sent = caller.send("/large", RequestBody::whole(body.clone()));
    let mut response = sent.await.expect("a response");
    let (echoed, _) = read(&mut response).await.expect("whole");
    assert!(echoed == body);
}

#[tokio::test]
async fn informational_responses_are_passed_on() {
    let server = Server::serving(|(_request, mut respond)| async move {
        let hints = Response::builder().status(103).header("link", "</a.css>");
        respond
            .send_informational(hints.body(()).expect("a head"))
            .expect("sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
        respond
            .send_response(Response::new(()), true)
            .expect("sent");
    })
    .await;
    let caller = Caller::of(&server.listener).await;
    let informational = InformationalResponses::default();
    let sent = caller.send_within("/", whole("a"), LONG, Some(&informational));
    let response = sent.await.expect("a response");
    assert_eq!(response.head.status, 200);
    let arrived = informational.take();
    let arrived: Vec<_> = arrived.into_iter().collect();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].0, 103);
    assert_eq!(arrived[0].1["link"], "</a.css>");
}

#[tokio::test]
async fn a_client_that_reads_slowly_does_not_stall_other_streams() {
    let server = Server::serving(|(_request, mut respond)| async move {
        let mut body = respond
            .send_response(Response::new(()), false)
            .expect("sent");
        for _ in 0..64 {
            body.reserve_capacity(64 * 1024);
            while body.capacity() < 16 * 1024 {
                if poll_fn(|context| body.poll_capacity(context))
                    .await
                    .is_none()
                {
                    return;
                }
            }
            let piece = Bytes::from(vec![0; body.capacity()]);
            if body.send_data(piece, false).is_err() {
                return;
            }
        }
        let _ = body.send_data(Bytes::new(), true);
    })
    .await;
    let caller = Caller::of(&server.listener).await;
    let mut stalled = Vec::new();
    for _ in 0..30 {
        stalled.push(caller.get("/stalled").await.expect("a head"));
    }
    let mut response = caller.get("/read").await.expect("a head");
    let (body, _) = timeout(LONG, read(&mut response))
        .await
        .expect("not stalled")
        .expect("whole");
    assert!(body.len() > 1024 * 1024);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::serving(echo).await;
    let mut caller = Caller::of(&server.listener).await;
    caller.config.pool_idle_timeout = Duration::from_millis(300);
    for _ in 0..3 {
        let mut response = caller.send("/", whole("a")).await.expect("a response");
        read(&mut response).await.expect("whole");
    }
    assert_eq!(server.connections(), 1);
    server.has_no_connection().await;
    let mut response = caller.send("/", whole("a")).await.expect("a response");
    read(&mut response).await.expect("whole");
    assert_eq!(server.connections(), 2);
}
