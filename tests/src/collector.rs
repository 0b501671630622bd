//! A real trace collector, rotel, that logs every span that it receives.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};

use tempfile::TempDir;

use crate::node;
use crate::process::{self, Process};
use crate::wait;

/// A running collector; killed when dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    process: Process,
    _directory: TempDir,
}

/// A span as the collector received it.
#[derive(Clone, Debug, Default)]
pub struct Span {
    pub trace: String,
    /// Empty for the root span of a trace.
    pub parent: String,
    pub id: String,
    pub name: String,
    /// `SPAN_KIND_SERVER`, ...
    pub kind: String,
    pub tracestate: String,
    /// `STATUS_CODE_UNSET`, ...
    pub status: String,
    /// Values with their types: `Str(x)`, `Int(1)`.
    pub attributes: BTreeMap<String, String>,
}

impl Collector {
    /// Starts a collector. `None` if it is not installed: the test is skipped, with a message on stderr.
    ///
    /// # Panics
    /// It is not installed and `CI=true`, or it does not start.
    pub async fn start(test: &str) -> Option<Self> {
        let Some(program) = process::tool("rotel-agent") else {
            node::skip(test, "rotel-agent is missing, see build/setup.sh");
            return None;
        };
        let directory = TempDir::new().expect("a temporary directory");
        // It does not report a port chosen by the system, so a free one is chosen here.
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let endpoint = address.to_string();
        let arguments = [
            "start",
            "--exporter=blackhole",
            "--otlp-http-endpoint",
            &endpoint,
            "--otlp-grpc-endpoint=127.0.0.1:0",
            "--debug-log=traces",
            "--debug-log-verbosity=detailed",
        ];
        let process = Process::program(&program, directory.path(), &arguments);
        wait::eventually("the collector", wait::PATIENCE, || {
            let exit = process.exit();
            assert!(
                exit.is_none(),
                "it ended with {exit:?}: {}",
                process.stderr()
            );
            std::net::TcpStream::connect(address).is_ok()
        })
        .await;
        Some(Collector {
            address,
            process,
            _directory: directory,
        })
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its output so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.stdout() + &self.process.stderr()
    }

    /// The spans of a trace, in order of arrival.
    #[must_use]
    pub fn spans(&self, trace: &str) -> Vec<Span> {
        let mut all = self.all();
        all.retain(|span| span.trace == trace);
        all
    }

    /// All spans so far.
    #[must_use]
    pub fn all(&self) -> Vec<Span> {
        let reported = self.output();
        // The last span may be incomplete until the next poll.
        let whole = reported.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.split("Span #").skip(1).map(span).collect()
    }

    /// Waits until this many complete spans of a trace have arrived.
    pub async fn wait_for(&self, trace: &str, count: usize) -> Vec<Span> {
        let what = format!("{count} spans of {trace}");
        wait::found(&what, wait::PATIENCE, || {
            let spans = self.spans(trace);
            let whole = spans.iter().all(|span| span.attributes.len() > 5);
            (spans.len() >= count && whole).then_some(spans)
        })
        .await
    }
}

fn span(text: &str) -> Span {
    let mut span = Span::default();
    for line in text.lines() {
        if let Some(attribute) = line.trim().strip_prefix("-> ") {
            if let Some((key, value)) = attribute.split_once(": ") {
                span.attributes.insert(key.to_owned(), value.to_owned());
            }
            continue;
        }
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim().to_owned();
        match key.trim() {
            "Trace ID" => span.trace = value,
            "Parent ID" => span.parent = value,
            "ID" => span.id = value,
            "Name" => span.name = value,
            "Kind" => span.kind = value,
            "TraceState" => span.tracestate = value,
            "Status code" => span.status = value,
            _ => {}
        }
    }
    span
}
