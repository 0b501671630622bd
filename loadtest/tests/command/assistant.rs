//! A stand-in for a sidecar with its assistant, on real sockets, with a manner that a test needs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How it answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    AtOnce,
    /// 503, at once.
    Refusing,
    /// At once, but for a time since the first request in which it answers nothing.
    Stall {
        from: Duration,
        length: Duration,
    },
    /// Each after so long, as many at once as come.
    Slow(Duration),
    /// Each takes so long, one after the other.
    OneAtATime(Duration),
}

#[derive(Debug)]
pub(crate) struct Assistant {
    pub(crate) url: String,
}

struct Shared {
    manner: Manner,
    first: OnceLock<Instant>,
    turn: Mutex<()>,
}

impl Assistant {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            manner,
            first: OnceLock::new(),
            turn: Mutex::default(),
        });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Assistant { url }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut writer = stream;
        let status = match self.manner {
            Manner::Refusing => 503,
            _ => 200,
        };
        loop {
            read(&mut reader)?;
            self.work();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}");
            writer.write_all(answer.as_bytes()).ok()?;
        }
    }

    /// Not a wait for something: this is how long the work takes.
    fn work(&self) {
        let now = weir::clock::now();
        let begun = *self.first.get_or_init(|| now);
        match self.manner {
            Manner::AtOnce | Manner::Refusing => {}
            Manner::Slow(each) => std::thread::park_timeout(each),
            Manner::OneAtATime(each) => {
                let _mine = self.turn.lock().expect("nobody panics with it");
                std::thread::park_timeout(each);
            }
            Manner::Stall { from, length } => {
                let (since, until) = (now.saturating_duration_since(begun), from + length);
                if since >= from && since < until {
                    std::thread::park_timeout(until - since);
                }
            }
        }
    }
}

/// A request to its end; `None` where the client is gone.
fn read(reader: &mut BufReader<TcpStream>) -> Option<()> {
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
    reader.read_exact(&mut vec![0; length]).ok()
}
