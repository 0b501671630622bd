//! The demo assistant: an OpenAI-compatible mock backend for the demo, the tests and load tests.
//!
//! It implements the chat, embeddings, models and audio calls of the OpenAI API over HTTP/1.1 and HTTP/2
//! without TLS. Latency, jitter and error rate are configurable. Responses are synthetic: the text depends
//! only on the request and starts with a hash of it, so that a test can match responses to requests.
//! `X-Assistant-Requests` counts the requests received, so that a test can check whether a request reached
//! the backend. It is not part of the request pipeline.

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

/// Concurrent connections; further ones wait in the accept queue.
const CONNECTIONS_MAX: usize = 10_000;
/// For a request head, and therefore for an idle connection: longer than clients keep one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// How long active responses may take after the shutdown began.
const DRAIN: Duration = Duration::from_secs(5);
/// After an error of `accept`, usually a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How the assistant behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Before a response begins.
    pub latency: Duration,
    /// The latency varies by up to this much in both directions.
    pub jitter: Duration,
    /// The share of calls, from 0 to 1, that fail with 500 or 503.
    pub error_rate: f64,
    /// Tokens of a response, unless the request limits them to fewer.
    pub tokens: u32,
    /// The interval between the tokens of a stream.
    pub token_interval: Duration,
    /// Seed of the random numbers: the same seed gives the same run.
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

/// Serves `listener` until `shutdown` is ready, then waits up to five seconds for active responses.
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
                    log::warn!("assistant: cannot accept a connection: {error}");
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
        log::warn!("assistant: responses still active after the drain period were aborted");
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
        async move { Ok::<_, Infallible>(assistant.respond(request).await) }
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
        // Dropping the sender is the stop signal.
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        log::debug!("assistant: a connection failed: {error}");
    }
}
