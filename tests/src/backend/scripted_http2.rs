//! A backend that speaks HTTP/2 frame by frame (RFC 9113), so that a test decides what becomes of every stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Mutex;

use super::Backend;
use crate::wait;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;

/// How often a response that drips gets a piece.
const DRIPS_EVERY: Duration = Duration::from_millis(50);

/// What becomes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamScript {
    /// A response with status 200 and no body.
    Respond,
    /// It is reset as not processed.
    Refuse,
    /// The connection is shut down, and this stream was not processed.
    GoAway,
    /// The connection is closed.
    Close,
    /// There is no response.
    Hang,
    /// A stream of events begins with `data: first`, and nothing follows.
    Begin,
    /// As `Begin`, and comments follow forever.
    Drip,
}

/// The position of a stream: its connection, and its number there, both from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    pub connection: usize,
    pub stream: usize,
}

/// A backend that plays a script.
#[derive(Debug)]
pub struct ScriptedHttp2 {
    backend: Backend,
    record: Arc<StreamRecord>,
}

#[derive(Debug, Default)]
struct StreamRecord {
    connections: AtomicUsize,
    begun: AtomicUsize,
    reset: AtomicUsize,
}

impl ScriptedHttp2 {
    /// # Panics
    /// There is no free port.
    pub async fn start(
        script: impl Fn(StreamPosition) -> StreamScript + Clone + Send + Sync + 'static,
    ) -> Self {
        let record = Arc::new(StreamRecord::default());
        let of_backend = record.clone();
        let backend = Backend::raw(move |stream| {
            let (script, record) = (script.clone(), of_backend.clone());
            async move {
                let connection = record.connections.fetch_add(1, Ordering::SeqCst);
                let script = |stream| script(StreamPosition { connection, stream });
                // weir has closed the connection, or the script did.
                let _ = serve(stream, script, &record).await;
            }
        })
        .await;
        ScriptedHttp2 { backend, record }
    }

    /// Its URL, for an endpoint in a configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("h2c://{}", self.backend.address())
    }

    /// How many streams have begun.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.record.begun.load(Ordering::SeqCst)
    }

    /// How many streams weir has reset.
    #[must_use]
    pub fn resets(&self) -> usize {
        self.record.reset.load(Ordering::SeqCst)
    }

    /// How many connections have been opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default();
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `:status: 200`, and `content-type: text/event-stream` (RFC 7541, sections 6.1 and 6.2.2).
fn event_stream_head(stream: u32) -> Vec<u8> {
    let mut block = vec![0x88, 0x0f, 0x10, 17];
    block.extend(b"text/event-stream");
    frame(HEADERS, END_HEADERS, stream, &block)
}

async fn serve(
    stream: TcpStream,
    script: impl Fn(usize) -> StreamScript,
    record: &StreamRecord,
) -> std::io::Result<()> {
    let (mut reader, writer) = stream.into_split();
    let writer = Arc::new(Mutex::new(writer));
    let mut preface = [0; 24];
    reader.read_exact(&mut preface).await?;
    let settings = frame(SETTINGS, 0, 0, &[]);
    writer.lock().await.write_all(&settings).await?;
    let mut streams = 0;
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head).await?;
        let [a, b, c, kind, _, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        reader.read_exact(&mut payload).await?;
        let id = u32::from_be_bytes(id);
        match kind {
            RST_STREAM => {
                record.reset.fetch_add(1, Ordering::SeqCst);
            }
            // Trailers of a request have the number of a stream that has begun.
            HEADERS if id as usize == 2 * streams + 1 => {
                record.begun.fetch_add(1, Ordering::SeqCst);
                let play = script(streams);
                streams += 1;
                if play == StreamScript::Close {
                    return Ok(());
                }
                begin(&writer, play, id).await?;
            }
            _ => {}
        }
    }
}

async fn begin(
    writer: &Arc<Mutex<OwnedWriteHalf>>,
    play: StreamScript,
    id: u32,
) -> std::io::Result<()> {
    let first = || frame(DATA, 0, id, b"data: first\n\n");
    let frames = match play {
        StreamScript::Respond => frame(HEADERS, END_HEADERS | END_STREAM, id, &[0x88]),
        StreamScript::Refuse => frame(RST_STREAM, 0, id, &REFUSED_STREAM.to_be_bytes()),
        StreamScript::GoAway => {
            let last = id.saturating_sub(2).to_be_bytes();
            frame(GOAWAY, 0, 0, &[last, [0; 4]].concat())
        }
        StreamScript::Close | StreamScript::Hang => Vec::new(),
        StreamScript::Begin | StreamScript::Drip => [event_stream_head(id), first()].concat(),
    };
    writer.lock().await.write_all(&frames).await?;
    if play == StreamScript::Drip {
        let writer = writer.clone();
        tokio::spawn(async move {
            let comment = frame(DATA, 0, id, b":\n\n");
            // Until the connection is closed; what follows a reset is ignored.
            while writer.lock().await.write_all(&comment).await.is_ok() {
                wait::sleep(DRIPS_EVERY).await;
            }
        });
    }
    Ok(())
}
