//! A fake backend on a real socket. It implements HTTP/1.1 itself, so that a test can also violate it.
//!
//! Responses come from a function ([`Backend::responding`]), from the test itself, request by request
//! ([`Backend::manual`]), or the test takes over the connection ([`Backend::raw`]). All requests are recorded, so that a
//! test can check what arrived and what did not.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::client::{Client, ClientRequest, StreamingResponse};
use crate::wait;

mod http2;
mod pending;
mod response;
mod scripted_http2;
mod tls;
mod unix;
mod whole;
mod wire;

pub use http2::Http2Backend;
pub use pending::PendingRequest;
pub use response::{BackendResponse, chat_event};
pub use scripted_http2::{ScriptedHttp2, StreamPosition, StreamScript};
pub use tls::TlsTargets;
pub use unix::UnixSocket;
pub use whole::WHOLE_RESPONSE;
pub use wire::{Framing, ReceivedRequest};

use wire::Reader;

/// The path of health checks, which are answered and not recorded.
const HEALTH_PATH: &str = "/healthz";

/// A backend that listens until it is dropped or stopped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    record: Arc<RequestLog>,
    accepting: JoinHandle<()>,
    pending: tokio::sync::Mutex<mpsc::Receiver<PendingRequest>>,
}

/// The requests that a backend received.
#[derive(Debug, Default)]
struct RequestLog {
    requests: Mutex<Vec<ReceivedRequest>>,
    /// Violations of HTTP by the client.
    faults: Mutex<Vec<String>>,
    connections: AtomicUsize,
    open: AtomicUsize,
}

/// How requests are answered.
#[derive(Clone)]
enum Behaviour {
    Function(Arc<dyn Fn(&ReceivedRequest) -> BackendResponse + Send + Sync>),
    Hand(mpsc::Sender<PendingRequest>),
}

impl Backend {
    /// Answers every request with the result of `function`.
    pub async fn responding(
        function: impl Fn(&ReceivedRequest) -> BackendResponse + Send + Sync + 'static,
    ) -> Self {
        Self::with_behaviour(|_| Behaviour::Function(Arc::new(function))).await
    }

    /// Answers every request with a description of it: see [`BackendResponse::echo`].
    pub async fn echo() -> Self {
        Self::responding(BackendResponse::echo).await
    }

    /// A chat service: a request with `"stream": true` gets a stream. See [`BackendResponse::chat_for`].
    pub async fn chat() -> Self {
        Self::responding(BackendResponse::chat_for).await
    }

    /// The test takes each request with [`Backend::next_request`] and answers it.
    pub async fn manual() -> Self {
        Self::with_behaviour(Behaviour::Hand).await
    }

    async fn with_behaviour(
        behaviour: impl FnOnce(mpsc::Sender<PendingRequest>) -> Behaviour,
    ) -> Self {
        let (sender, pending) = mpsc::channel(64);
        let behaviour = behaviour(sender);
        Self::listen(pending, move |stream, record, connection| {
            serve(stream, record, connection, behaviour.clone())
        })
        .await
    }

    /// Passes every connection to `serve`; only their number is recorded.
    pub async fn raw<F>(serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (_, pending) = mpsc::channel(1);
        Self::listen(pending, move |stream, record, _| {
            let serving = serve(stream);
            async move {
                record.connections.fetch_add(1, Ordering::SeqCst);
                serving.await;
            }
        })
        .await
    }

    async fn listen<F>(
        pending: mpsc::Receiver<PendingRequest>,
        serve: impl Fn(TcpStream, Arc<RequestLog>, usize) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = listen_for_many();
        let address = listener.local_addr().expect("its number");
        let record = Arc::new(RequestLog::default());
        let shared = record.clone();
        let accepting = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let serving = serve(stream, shared.clone(), connection);
                let open = shared.clone();
                tasks.spawn(async move {
                    serving.await;
                    open.open.fetch_sub(1, Ordering::SeqCst);
                });
                connection += 1;
                while tasks.try_join_next().is_some() {}
            }
        });
        Backend {
            address,
            record,
            accepting,
            pending: tokio::sync::Mutex::new(pending),
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, for an endpoint in a configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Opens a stream: the client has the head of the response, and the test sends the rest.
    ///
    /// # Panics
    /// The request does not arrive, or gets no response.
    pub async fn open_stream(
        &self,
        client: &mut Client,
        request: ClientRequest,
    ) -> (StreamingResponse, PendingRequest) {
        tokio::join!(client.open(request), async {
            let mut call = self.next_request().await;
            call.send_event_stream_head().await;
            call
        })
    }

    /// Closes the listener and every connection.
    pub fn stop(&self) {
        self.accepting.abort();
    }

    /// The next request, to be answered by the test.
    ///
    /// # Panics
    /// No request arrives in time.
    pub async fn next_request(&self) -> PendingRequest {
        wait::within("a request at the backend", wait::PATIENCE, async {
            self.pending.lock().await.recv().await
        })
        .await
        .expect("a manual backend")
    }

    /// Whether no request arrives for `time`.
    pub async fn no_request_for(&self, time: Duration) -> bool {
        wait::still_waiting_after(time, async { self.pending.lock().await.recv().await }).await
    }

    /// All requests so far, including those with an incomplete body.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        lock(&self.record.requests).clone()
    }

    /// The only request.
    ///
    /// # Panics
    /// There was none, or more than one.
    #[must_use]
    pub fn only_request(&self) -> ReceivedRequest {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }

    /// # Panics
    /// Anything has reached this backend, even an incomplete request.
    pub fn assert_untouched(&self) {
        let requests = self.requests();
        assert!(requests.is_empty(), "reached the backend: {requests:#?}");
        self.assert_faultless();
    }

    /// # Panics
    /// The client violated HTTP.
    pub fn assert_faultless(&self) {
        let faults = lock(&self.record.faults);
        assert!(faults.is_empty(), "sent to the backend: {faults:#?}");
    }

    /// How many connections have carried a request.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    #[must_use]
    pub fn connections_open(&self) -> usize {
        self.record.open.load(Ordering::SeqCst)
    }
}

/// A listener that has room for all connections that a test opens at once: one that overflows is a connect error of the
/// proxy.
fn listen_for_many() -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(address).expect("a port");
    socket.listen(4096).expect("a listener")
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl RequestLog {
    fn add(&self, received: &ReceivedRequest) -> usize {
        let mut requests = lock(&self.requests);
        requests.push(received.clone());
        requests.len() - 1
    }

    fn complete(&self, place: usize, received: &ReceivedRequest) {
        lock(&self.requests)[place] = received.clone();
    }
}

/// Serves a connection until either side closes it.
async fn serve(
    stream: TcpStream,
    record: Arc<RequestLog>,
    connection: usize,
    behaviour: Behaviour,
) {
    let mut reader = Reader::new(connection);
    let mut carried = false;
    let mut stream = stream;
    loop {
        let (next_stream, next_reader) =
            match serve_one(stream, reader, &record, &mut carried, &behaviour).await {
                Ok(Some(connection)) => connection,
                Ok(None) => return,
                Err(fault) => {
                    // A disconnect is no fault; malformed HTTP is.
                    if fault.kind() == std::io::ErrorKind::Other {
                        lock(&record.faults).push(fault.to_string());
                    }
                    return;
                }
            };
        (stream, reader) = (next_stream, next_reader);
    }
}

/// Serves one request; returns the connection if it can be reused.
async fn serve_one(
    mut stream: TcpStream,
    mut reader: Reader,
    record: &RequestLog,
    carried: &mut bool,
    behaviour: &Behaviour,
) -> std::io::Result<Option<(TcpStream, Reader)>> {
    let Some(mut received) = reader.head(&mut stream).await? else {
        return Ok(None);
    };
    if received.target == HEALTH_PATH {
        let whole = BackendResponse::status(200)
            .send(&mut stream, &received)
            .await?;
        return Ok(whole.then_some((stream, reader)));
    }
    if !std::mem::replace(carried, true) {
        record.connections.fetch_add(1, Ordering::SeqCst);
    }
    let place = record.add(&received);
    if received
        .header("expect")
        .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    {
        pending::send_continue(&mut stream).await?;
    }
    reader.body(&mut stream, &mut received).await?;
    record.complete(place, &received);
    match behaviour {
        Behaviour::Function(function) => {
            let backend_response = function(&received);
            let reset = backend_response.ends_with_reset();
            let whole = backend_response.send(&mut stream, &received).await?;
            if reset {
                stream.set_zero_linger()?;
            }
            Ok(whole.then_some((stream, reader)))
        }
        Behaviour::Hand(pending) => {
            let (request, back) = PendingRequest::new(received, stream, reader);
            if pending.send(request).await.is_err() {
                return Ok(None);
            }
            // The pending request returns the connection once it is answered completely.
            Ok(back.await.ok())
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
