//! A stand-in for a sidecar with its assistant, on real sockets, with a manner that a test needs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How it answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    AtOnce,
    /// 503, at once.
    Refusing,
    /// 200, and an error inside.
    FailingInside,
    /// At once, but for a time since the first request in which it answers nothing.
    Stall {
        from: Duration,
        length: Duration,
    },
    /// Each after so long, as many at once as come.
    Slow(Duration),
    /// Each takes so long, one after the other.
    OneAtATime(Duration),
    /// Takes a request, and closes without an answer.
    Closing,
    /// 503 to every question that was not asked before and has this number or a higher one: so many requests it can
    /// do in a run, whatever the machine can.
    UpTo(u64),
}

pub(crate) struct Assistant {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    requests: AtomicU64,
    manner: Manner,
    first: OnceLock<Instant>,
    turn: Mutex<()>,
}

impl Assistant {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            requests: AtomicU64::new(0),
            manner,
            first: OnceLock::new(),
            turn: Mutex::default(),
        });
        let theirs = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = theirs.clone();
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Assistant { url, shared }
    }

    /// Those that came whole.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut writer = stream;
        loop {
            let body = read(&mut reader)?;
            self.requests.fetch_add(1, Ordering::Relaxed);
            let status = match self.manner {
                Manner::Closing => return None,
                Manner::Refusing => 503,
                Manner::UpTo(count) if number(&body) >= Some(count) => 503,
                _ => 200,
            };
            self.work();
            let text = match self.manner {
                Manner::FailingInside => r#"{"error":{"message":"no"}}"#,
                _ => "{}",
            };
            let length = text.len();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{text}");
            writer.write_all(answer.as_bytes()).ok()?;
        }
    }

    /// Not a wait for something: this is how long the work takes.
    fn work(&self) {
        let now = weir::clock::now();
        let begun = *self.first.get_or_init(|| now);
        match self.manner {
            Manner::AtOnce
            | Manner::Refusing
            | Manner::FailingInside
            | Manner::Closing
            | Manner::UpTo(_) => {}
            Manner::Slow(each) => work_until(now + each),
            Manner::OneAtATime(each) => {
                let _mine = self.turn.lock().expect("nobody panics with it");
                work_until(weir::clock::now() + each);
            }
            Manner::Stall { from, length } => {
                let (since, until) = (now.saturating_duration_since(begun), from + length);
                if since >= from && since < until {
                    work_until(begun + until);
                }
            }
        }
    }
}

/// Never less than that: a park may end early.
fn work_until(end: Instant) {
    loop {
        let left = end.saturating_duration_since(weir::clock::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

/// The number of a question that was not asked before: `new SEED NUMBER: ...`.
fn number(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, after) = text.split_once("new ")?;
    let (_, after) = after.split_once(' ')?;
    after.split(':').next()?.parse().ok()
}

/// The body of a request, at its end; `None` where the client is gone.
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
