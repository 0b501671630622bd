//! The stand-in assistant: an OpenAI-like backend for the demo, the tests and load tests.
//!
//! It answers the chat, embeddings, models and audio calls of the OpenAI format over HTTP/1.1 and HTTP/2
//! without TLS, as fast, as unsteadily and as often wrong as its options say. Its answers are made
//! up: the text of an answer depends on the question alone and quotes a hash of it, so that a test
//! can tell whose answer it got. `X-Assistant-Requests` counts the requests it was asked, so that a
//! test can tell whether it was asked at all. It is no part of the way of a request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

mod calls;
mod chat;
mod random;

#[cfg(test)]
mod tests;

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 10_000;
/// For a request's head, and so for a connection that is kept open: longer than clients keep one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// How long running answers may take once it is told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// After an error of `accept`, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How the assistant behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Before an answer begins.
    pub latency: Duration,
    /// The latency varies by so much both ways.
    pub jitter: Duration,
    /// Of the calls, from 0 to 1, that are answered with 500 or 503.
    pub error_rate: f64,
    /// Of an answer, unless the question asks for fewer.
    pub tokens: u32,
    /// Between two tokens of a stream.
    pub token_interval: Duration,
    /// Of everything random: the same seed gives the same run.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            latency: Duration::from_millis(120),
            jitter: Duration::from_millis(30),
            error_rate: 0.0,
            tokens: 64,
            token_interval: Duration::from_millis(20),
            seed: 1,
        }
    }
}

/// Answers on `listener` until `shutdown` is ready, then
/// lets running answers end for up to five seconds.
pub async fn serve(options: Options, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let assistant = Arc::new(calls::Assistant::new(options));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(Arc::clone(&assistant), stream, stopping.clone()));
                }
                Err(error) => {
                    log::warn!("assistant: a connection could not be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    drop(stop);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        log::warn!("assistant: answers that did not end in time were cut");
    }
}

async fn connection(
    assistant: Arc<calls::Assistant>,
    stream: TcpStream,
    mut stopping: watch::Receiver<()>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("assistant: TCP_NODELAY: {error}");
    }
    let service = service_fn(move |request| {
        let assistant = Arc::clone(&assistant);
        async move { Ok::<_, Infallible>(assistant.answer(request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // The sender is dropped to stop: the error is the signal.
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        log::debug!("assistant: a connection ended: {error}");
    }
}
