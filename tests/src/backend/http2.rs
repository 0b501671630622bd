//! A backend that speaks HTTP/2 in clear text, and nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Describes every request in its response; a gRPC request gets its body back, and a status in the trailers.
#[derive(Debug)]
pub struct Http2Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: AtomicUsize,
    open: AtomicUsize,
    shutdown: Notify,
    /// Whether requests are not answered.
    hangs: AtomicBool,
    hanging: AtomicUsize,
}

/// A request that is not answered, until its stream is reset.
struct HangingRequest(Arc<Shared>);

impl HangingRequest {
    fn new(shared: Arc<Shared>) -> Self {
        shared.hanging.fetch_add(1, Ordering::SeqCst);
        HangingRequest(shared)
    }
}

impl Drop for HangingRequest {
    fn drop(&mut self) {
        self.0.hanging.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Http2Backend {
    /// # Panics
    /// There is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its number");
        let shared = Arc::new(Shared::default());
        let of_task = shared.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                of_task.connections.fetch_add(1, Ordering::SeqCst);
                of_task.open.fetch_add(1, Ordering::SeqCst);
                let shared = of_task.clone();
                tokio::spawn(async move {
                    let of_service = shared.clone();
                    let service = service_fn(move |request| respond(request, of_service.clone()));
                    let mut builder = http2::Builder::new(TokioExecutor::new());
                    builder.max_concurrent_streams(200);
                    let connection = builder.serve_connection(TokioIo::new(stream), service);
                    let mut connection = std::pin::pin!(connection);
                    tokio::select! {
                        _ = &mut connection => {}
                        () = shared.shutdown.notified() => {
                            connection.as_mut().graceful_shutdown();
                            let _ = connection.await;
                        }
                    }
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Http2Backend {
            address,
            shared,
            accepting,
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, for an endpoint in a configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("h2c://{}", self.address)
    }

    /// How many connections have been opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    #[must_use]
    pub fn connections_open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Whether requests are not answered from now on.
    pub fn hang(&self, hangs: bool) {
        self.shared.hangs.store(hangs, Ordering::SeqCst);
    }

    /// How many requests are not answered, and whose streams are open.
    #[must_use]
    pub fn hanging(&self) -> usize {
        self.shared.hanging.load(Ordering::SeqCst)
    }

    /// Shuts every connection down in order (GOAWAY); new ones are accepted.
    pub fn shut_connections_down(&self) {
        self.shared.shutdown.notify_waiters();
    }
}

impl Drop for Http2Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn respond(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<
    Response<StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>>>>,
    Infallible,
> {
    let (head, mut body) = request.into_parts();
    let mut received = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        received.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    if shared.hangs.load(Ordering::SeqCst) {
        let _hanging = HangingRequest::new(shared);
        std::future::pending::<()>().await;
    }
    let is_grpc = head
        .headers
        .get("content-type")
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    let (content_type, data) = match is_grpc {
        true => ("application/grpc", received),
        false => {
            let text = |name| {
                let value = head.headers.get(name);
                value
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned)
            };
            let description = json!({
                "method": head.method.as_str(),
                "path": head.uri.path(),
                "authority": head.uri.authority().map(ToString::to_string),
                "scheme": head.uri.scheme_str(),
                "bytes": received.len(),
                "length": text("content-length"),
                "host": text("host"),
                "forwarded_host": text("x-forwarded-host"),
            });
            ("application/json", description.to_string().into_bytes())
        }
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("a value"));
    let frames = [Ok(Frame::data(data.into())), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let response = Response::builder().header("content-type", content_type);
    Ok(response.body(body).expect("a response"))
}
