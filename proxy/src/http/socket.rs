//! The connection of a client below HTTP: TCP, or TLS over it.
//!
//! It has no buffers of its own. pingora's HTTP/2 reads from it as from pingora's own streams; the frames
//! are then watched for floods.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::connections::Connections;
use super::h2_flood::{FloodDetector, FloodVerdict};
use crate::clock;

/// How often the receive queue of a client that sends too far ahead is checked.
const QUEUE_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// One client's connection.
#[derive(Debug)]
pub(crate) struct ClientStream {
    io: Io,
    /// Bytes that were read already and are replayed first.
    replayed: Bytes,
    /// Present on an HTTP/2 connection.
    watch: Option<Box<Watch>>,
}

#[derive(Debug)]
enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Watches the frames of an HTTP/2 connection.
#[derive(Debug)]
struct Watch {
    flood: FloodDetector,
    connections: Arc<Connections>,
}

/// The version of HTTP that was negotiated in the TLS handshake (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl ClientStream {
    pub(crate) fn tcp(tcp: TcpStream) -> Self {
        ClientStream::new(Io::Tcp(tcp))
    }

    pub(crate) fn tls(tls: TlsStream<TcpStream>) -> Self {
        ClientStream::new(Io::Tls(Box::new(tls)))
    }

    fn new(io: Io) -> Self {
        ClientStream {
            io,
            replayed: Bytes::new(),
            watch: None,
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        match &self.io {
            Io::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2") => Protocol::Http2,
            Io::Tls(_) | Io::Tcp(_) => Protocol::Http1,
        }
    }

    /// The same connection as HTTP/2, after its first bytes were `read`.
    pub(crate) fn into_http2(mut self, read: Bytes, connections: Arc<Connections>) -> Self {
        self.replayed = read;
        self.watch = Some(Box::new(Watch {
            flood: FloodDetector::new(clock::now()),
            connections,
        }));
        self
    }

    fn socket(&self) -> &TcpStream {
        match &self.io {
            Io::Tcp(tcp) => tcp,
            Io::Tls(tls) => tls.get_ref().0,
        }
    }

    /// The bare TCP connection, to be read only to its end.
    pub(crate) fn into_socket(self) -> TcpStream {
        match self.io {
            Io::Tcp(tcp) => tcp,
            Io::Tls(tls) => tls.into_inner().0,
        }
    }

    /// Resolves when the client has closed its side, even if there are unread bytes before the end.
    pub(crate) async fn hung_up(&self) {
        // With this interest the socket is ready when its peer has closed, and not when bytes arrive.
        #[cfg(target_os = "linux")]
        let _ = self.socket().ready(tokio::io::Interest::PRIORITY).await;
        #[cfg(not(target_os = "linux"))]
        std::future::pending::<()>().await;
    }

    /// Resolves when at least `bytes` unread bytes have been queued for a while.
    pub(crate) async fn receive_queue_exceeds(&self, bytes: u64) {
        loop {
            pingora::time::sleep(QUEUE_CHECK_INTERVAL).await;
            let waiting = rustix::io::ioctl_fionread(self.socket());
            if waiting.is_ok_and(|waiting| waiting >= bytes) {
                return;
            }
        }
    }

    /// Whether the client has sent bytes that have not been read.
    pub(crate) fn has_unread(&self) -> bool {
        rustix::io::ioctl_fionread(self.socket()).is_ok_and(|bytes| bytes > 0)
    }
}

impl Watch {
    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.flood.read(bytes, clock::now()) {
            FloodVerdict::Fair => Ok(()),
            FloodVerdict::Flood(what) => {
                self.connections.flooded();
                log::debug!("closed an HTTP/2 connection: {what}");
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, what))
            }
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if !this.replayed.is_empty() {
            let length = this.replayed.len().min(buffer.remaining());
            buffer.put_slice(&this.replayed[..length]);
            this.replayed.advance(length);
        } else {
            std::task::ready!(match &mut this.io {
                Io::Tcp(tcp) => Pin::new(tcp).poll_read(context, buffer),
                Io::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
            })?;
        }
        match &mut this.watch {
            None => Poll::Ready(Ok(())),
            Some(watch) => Poll::Ready(watch.read(&buffer.filled()[before..])),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = std::task::ready!(match &mut this.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Io::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        })?;
        if let Some(watch) = &mut this.watch {
            watch.flood.wrote(written);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Io::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = std::task::ready!(match &mut this.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(context, pieces),
            Io::Tls(tls) => Pin::new(tls).poll_write_vectored(context, pieces),
        })?;
        if let Some(watch) = &mut this.watch {
            watch.flood.wrote(written);
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

// What pingora requires of a stream.

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // The connection is closed afterwards in any case.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.socket().as_raw_fd()
    }
}

impl Ssl for ClientStream {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.watch.is_some().then_some(ALPN::H2)
    }
}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        let digest = SocketDigest::from_raw_fd(self.socket().as_raw_fd());
        Some(Arc::new(digest))
    }
}

impl Peek for ClientStream {}
