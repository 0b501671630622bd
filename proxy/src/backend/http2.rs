//! Exchanges with an endpoint over HTTP/2 (RFC 9113): streams of few connections.
//!
//! Each connection has a task that reads and writes its frames; it belongs to the worker that opened it, and ends
//! with the last stream once the pool has given the connection up. The task of a request drives its own stream,
//! as with HTTP/1.1: it sends its body while it waits for the response, and dropping it resets the stream.

mod connection;
mod head;
mod request_sender;
mod stream;

pub(super) use connection::{Http2Connection, StreamSlot};
pub(super) use stream::Http2Stream;

#[cfg(test)]
mod tests;
