//! A test server on real sockets, in place of a sidecar with its backend, with the behaviour that a test needs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How the server responds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    Immediate,
    /// 503, immediately.
    Unavailable,
    /// 200 with an error in the body.
    ErrorInBody,
    /// Immediately, except for an interval after the first request in which it does not respond.
    Stall {
        from: Duration,
        length: Duration,
    },
    /// Each request after this time, with unlimited concurrency.
    Slow(Duration),
    /// Each request takes this time, one after the other.
    Serial(Duration),
    /// Reads a request and closes the connection without a response.
    Closing,
    /// 503 to every new prompt with this number or a higher one: the number of requests that it can serve in a run,
    /// independent of the machine.
    FirstRequests(u64),
}

pub(crate) struct TestServer {
    pub(crate) url: String,
    state: Arc<ServerState>,
}

struct ServerState {
    requests: AtomicU64,
    behaviour: Behaviour,
    first: OnceLock<Instant>,
    turn: Mutex<()>,
}

impl TestServer {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(ServerState {
            requests: AtomicU64::new(0),
            behaviour,
            first: OnceLock::new(),
            turn: Mutex::default(),
        });
        let accepting = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = accepting.clone();
                std::thread::spawn(move || state.serve(stream));
            }
        });
        TestServer { url, state }
    }

    /// How many requests were received completely.
    pub(crate) fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }
}

impl ServerState {
    fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut writer = stream;
        loop {
            let body = read(&mut reader)?;
            self.requests.fetch_add(1, Ordering::Relaxed);
            let status = match self.behaviour {
                Behaviour::Closing => return None,
                Behaviour::Unavailable => 503,
                Behaviour::FirstRequests(count) if number(&body) >= Some(count) => 503,
                _ => 200,
            };
            self.work();
            let text = match self.behaviour {
                Behaviour::ErrorInBody => r#"{"error":{"message":"no"}}"#,
                _ => "{}",
            };
            let length = text.len();
            let response = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{text}");
            writer.write_all(response.as_bytes()).ok()?;
        }
    }

    /// Spends the time of the simulated work; nothing is waited for.
    fn work(&self) {
        let now = weir::clock::now();
        let started_at = *self.first.get_or_init(|| now);
        match self.behaviour {
            Behaviour::Immediate
            | Behaviour::Unavailable
            | Behaviour::ErrorInBody
            | Behaviour::Closing
            | Behaviour::FirstRequests(_) => {}
            Behaviour::Slow(each) => work_until(now + each),
            Behaviour::Serial(each) => {
                let _mine = self.turn.lock().expect("the lock is not poisoned");
                work_until(weir::clock::now() + each);
            }
            Behaviour::Stall { from, length } => {
                let (since, until) = (now.saturating_duration_since(started_at), from + length);
                if since >= from && since < until {
                    work_until(started_at + until);
                }
            }
        }
    }
}

/// Loops, because a park may end early.
fn work_until(end: Instant) {
    loop {
        let left = end.saturating_duration_since(weir::clock::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

/// The number of a new prompt: `new SEED NUMBER: ...`.
fn number(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, after) = text.split_once("new ")?;
    let (_, after) = after.split_once(' ')?;
    after.split(':').next()?.parse().ok()
}

/// Reads a request and returns its body; `None` if the client has disconnected.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}
