//! A fake backend on a real socket: HTTP/1.1 spoken by hand, so that a test can also say it wrong.
//!
//! It answers by a function ([`Backend::answering`]), by the test's own hand, one request after the
//! other ([`Backend::by_hand`]), or the test gets the bare connection ([`Backend::raw`]). Whatever
//! it was sent is written down, so that a test can say what did, and what did not, arrive.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::wait;

mod pending;
mod response;
mod tls;
mod wire;

pub use pending::PendingRequest;
pub use response::{BackendResponse, chat_event};
pub use wire::{Framing, ReceivedRequest};

use wire::Reader;

/// What health checks ask for; such requests are answered and not written down.
const HEALTH_PATH: &str = "/healthz";

/// A backend that listens until it is dropped or stopped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    record: Arc<RequestLog>,
    accepting: JoinHandle<()>,
    calls: tokio::sync::Mutex<mpsc::Receiver<PendingRequest>>,
}

/// What a backend has seen.
#[derive(Debug, Default)]
struct RequestLog {
    requests: Mutex<Vec<ReceivedRequest>>,
    /// What no correct client sends.
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
    /// Every request is answered as `function` says.
    pub async fn responding(
        function: impl Fn(&ReceivedRequest) -> BackendResponse + Send + Sync + 'static,
    ) -> Self {
        Self::with_behaviour(|_| Behaviour::Function(Arc::new(function))).await
    }

    /// Every request is answered with what was received: see [`Answer::echo`].
    pub async fn echo() -> Self {
        Self::responding(BackendResponse::echo).await
    }

    /// A chat service: a question with `"stream": true` gets a stream. See [`Answer::chat_for`].
    pub async fn chat() -> Self {
        Self::responding(BackendResponse::chat_for).await
    }

    /// The test takes each request with [`Backend::call`] and answers it by hand.
    pub async fn manual() -> Self {
        Self::with_behaviour(Behaviour::Hand).await
    }

    async fn with_behaviour(
        behaviour: impl FnOnce(mpsc::Sender<PendingRequest>) -> Behaviour,
    ) -> Self {
        let (sender, calls) = mpsc::channel(64);
        let behaviour = behaviour(sender);
        Self::listen(calls, move |stream, record, connection| {
            serve(stream, record, connection, behaviour.clone())
        })
        .await
    }

    /// Every connection goes to `serve` as it is; nothing is written down but its number.
    pub async fn raw<F>(serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (_, calls) = mpsc::channel(1);
        Self::listen(calls, move |stream, record, _| {
            let serving = serve(stream);
            async move {
                record.connections.fetch_add(1, Ordering::SeqCst);
                serving.await;
            }
        })
        .await
    }

    async fn listen<F>(
        calls: mpsc::Receiver<PendingRequest>,
        serve: impl Fn(TcpStream, Arc<RequestLog>, usize) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
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
            calls: tokio::sync::Mutex::new(calls),
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As an endpoint of a config.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes the listener and every connection.
    pub fn stop(&self) {
        self.accepting.abort();
    }

    /// The next request to answer by hand.
    ///
    /// # Panics
    /// When none comes in good time.
    pub async fn next_request(&self) -> PendingRequest {
        wait::within("a request at the backend", wait::PATIENCE, async {
            self.calls.lock().await.recv().await
        })
        .await
        .expect("a backend that is answered by hand")
    }

    /// Whether no request comes for `time`: for what must not reach the backend.
    pub async fn no_request_for(&self, time: Duration) -> bool {
        wait::still_waiting_after(time, async { self.calls.lock().await.recv().await }).await
    }

    /// Every request so far, also those whose body never ended.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        lock(&self.record.requests).clone()
    }

    /// The only request.
    ///
    /// # Panics
    /// When there was none, or another.
    #[must_use]
    pub fn only_request(&self) -> ReceivedRequest {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }

    /// # Panics
    /// When anything, even half a request, has reached this backend.
    pub fn assert_untouched(&self) {
        let requests = self.requests();
        assert!(requests.is_empty(), "reached the backend: {requests:#?}");
        self.assert_faultless();
    }

    /// # Panics
    /// When it was sent what is no HTTP.
    pub fn assert_faultless(&self) {
        let faults = lock(&self.record.faults);
        assert!(faults.is_empty(), "sent to the backend: {faults:#?}");
    }

    /// How many connections have carried a request so far.
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

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl RequestLog {
    fn add(&self, seen: &ReceivedRequest) -> usize {
        let mut requests = lock(&self.requests);
        requests.push(seen.clone());
        requests.len() - 1
    }

    fn complete(&self, place: usize, seen: &ReceivedRequest) {
        lock(&self.requests)[place] = seen.clone();
    }
}

/// Serves one connection until either side has enough of it.
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
                    // A peer that goes away is no fault; a peer that talks nonsense is.
                    if fault.kind() == std::io::ErrorKind::Other {
                        lock(&record.faults).push(fault.to_string());
                    }
                    return;
                }
            };
        (stream, reader) = (next_stream, next_reader);
    }
}

/// One request and its answer; gives the connection back when it can carry another.
async fn serve_one(
    mut stream: TcpStream,
    mut reader: Reader,
    record: &RequestLog,
    carried: &mut bool,
    behaviour: &Behaviour,
) -> std::io::Result<Option<(TcpStream, Reader)>> {
    let Some(mut seen) = reader.head(&mut stream).await? else {
        return Ok(None);
    };
    if seen.target == HEALTH_PATH {
        let whole = BackendResponse::status(200)
            .send(&mut stream, &seen)
            .await?;
        return Ok(whole.then_some((stream, reader)));
    }
    if !std::mem::replace(carried, true) {
        record.connections.fetch_add(1, Ordering::SeqCst);
    }
    let place = record.add(&seen);
    if seen
        .header("expect")
        .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    {
        pending::send_continue(&mut stream).await?;
    }
    reader.body(&mut stream, &mut seen).await?;
    record.complete(place, &seen);
    match behaviour {
        Behaviour::Function(function) => {
            let answer = function(&seen);
            let reset = answer.ends_with_reset();
            let whole = answer.send(&mut stream, &seen).await?;
            if reset {
                stream.set_zero_linger()?;
            }
            Ok(whole.then_some((stream, reader)))
        }
        Behaviour::Hand(calls) => {
            let (call, back) = PendingRequest::new(seen, stream, reader);
            if calls.send(call).await.is_err() {
                return Ok(None);
            }
            // The call gives the connection back when it was answered whole.
            Ok(back.await.ok())
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
