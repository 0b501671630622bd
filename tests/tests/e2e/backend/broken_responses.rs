//! Responses that are cut at every place, by FIN and by reset, or arrive in pieces of one byte: with a length, in chunks,
//! until the connection closes, and as streams of events. None of them ends as if it were complete, unless HTTP cannot
//! tell: a body that ends with its connection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use weir_tests::backend::Backend;
use weir_tests::client::ClientRequest;
use weir_tests::fault_proxy::{Cut, CutKind, Direction, FaultProxy, Faults, Slices};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;

use super::variants::{VARIANTS, Variant};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
const EVENTS_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
const TOKEN: &str = "data: {\"object\":\"chat.completion.chunk\",\"model\":\"m\",\
                     \"choices\":[{\"index\":0,\"delta\":{\"content\":\"well\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// How a response is framed, and whether it is a stream of a model call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Length,
    Chunked,
    UntilClose,
    ChunkedEvents,
    EventsUntilClose,
}

const FORMATS: [Format; 5] = [
    Format::Length,
    Format::Chunked,
    Format::UntilClose,
    Format::ChunkedEvents,
    Format::EventsUntilClose,
];

/// The outcome of a cut response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutOutcome {
    /// 502, and nothing of the response.
    Rejected,
    /// Truncated; or rejected, if the cut was noticed with the head.
    Truncated,
    /// A complete message, whose content is incomplete: `upstream_incomplete`.
    Incomplete,
    /// As complete as HTTP can tell.
    Complete,
}

impl Format {
    fn response(self) -> (String, String) {
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let end = "0\r\n\r\n";
        match self {
            Format::Length => (
                format!("{HEAD}Content-Length: 26\r\n\r\n"),
                "abcdefghijklmnopqrstuvwxyz".to_owned(),
            ),
            Format::Chunked => (
                format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n"),
                format!("{}{}{end}", chunk("abcdefghijklm"), chunk("nopqrstuvwxyz")),
            ),
            Format::UntilClose => (
                format!("{HEAD}Connection: close\r\n\r\n"),
                "abcdefghijklmnopqrstuvwxyz".to_owned(),
            ),
            Format::ChunkedEvents => (
                format!("{EVENTS_HEAD}Transfer-Encoding: chunked\r\n\r\n"),
                format!("{}{}{end}", chunk(TOKEN), chunk(DONE)),
            ),
            Format::EventsUntilClose => (
                format!("{EVENTS_HEAD}Connection: close\r\n\r\n"),
                format!("{TOKEN}{DONE}"),
            ),
        }
    }

    /// The content of the whole response.
    fn content(self) -> String {
        match self {
            Format::Length | Format::Chunked | Format::UntilClose => {
                "abcdefghijklmnopqrstuvwxyz".to_owned()
            }
            Format::ChunkedEvents | Format::EventsUntilClose => format!("{TOKEN}{DONE}"),
        }
    }

    fn request(self, variant: Variant) -> ClientRequest {
        match self {
            Format::ChunkedEvents | Format::EventsUntilClose => variant.chat_stream(),
            Format::Length | Format::Chunked | Format::UntilClose => variant.post("/any"),
        }
    }

    /// The outcome of a cut after `sent` bytes.
    fn outcome(self, sent: usize, kind: CutKind) -> CutOutcome {
        let (head, body) = self.response();
        if sent < head.len() {
            return CutOutcome::Rejected;
        }
        // The terminal event ends a stream, even without its empty line.
        let terminal = body.find(DONE);
        let terminal = terminal.map(|at| head.len() + at + DONE.trim_end().len());
        if terminal.is_some_and(|terminal| sent >= terminal) {
            return CutOutcome::Complete;
        }
        match (self, kind) {
            (Format::UntilClose, CutKind::Close) => CutOutcome::Complete,
            (Format::EventsUntilClose, CutKind::Close) => CutOutcome::Incomplete,
            _ => CutOutcome::Truncated,
        }
    }
}

/// A backend that sends this response to every request and closes the connection.
async fn backend_with(format: Format) -> (Arc<Backend>, tokio::task::JoinHandle<()>) {
    let (head, body) = format.response();
    let backend = Arc::new(Backend::manual().await);
    let serving = backend.clone();
    let task = tokio::spawn(async move {
        loop {
            let mut call = serving.next_request().await;
            // The fault proxy may be gone.
            call.write(format!("{head}{body}")).await;
        }
    });
    (backend, task)
}

/// Sends a request, asserts what its client sees, and returns its id and the expected error code.
async fn assert_outcome(
    proxy: &Proxy,
    variant: Variant,
    (format, sent, kind): (Format, usize, CutKind),
) -> (String, Option<&'static str>) {
    let expected = format.outcome(sent, kind);
    let what = format!("{format:?}, {kind:?} after {sent}, {variant:?}: {expected:?}");
    let mut client = variant.client(proxy).await;
    let streaming = client.open(format.request(variant)).await;
    let id = streaming.header("x-request-id").expect("an id").to_owned();
    let status = streaming.status;
    let (received, is_whole) = match streaming.rest().await {
        Ok(received) => (received, true),
        Err(truncated) => (truncated.received, false),
    };
    let received = String::from_utf8(received).expect("text");
    if status == 200 {
        // Only what the backend has sent.
        assert!(
            format.content().starts_with(&received),
            "{what}: {received}"
        );
    }
    let code = match expected {
        CutOutcome::Rejected => {
            assert_eq!(status, 502, "{what}");
            Some("upstream_reset")
        }
        CutOutcome::Truncated => {
            let is_truncated = status == 200 && !is_whole;
            assert!(status == 502 || is_truncated, "{what}: {status} {received}");
            Some("upstream_reset")
        }
        CutOutcome::Incomplete => {
            assert_eq!(status, 200, "{what}");
            assert_ne!(received, format.content(), "{what}");
            Some("upstream_incomplete")
        }
        CutOutcome::Complete => {
            assert!(status == 200 && is_whole, "{what}: {status} {received}");
            None
        }
    };
    (id, code)
}

async fn cut_everywhere(format: Format) {
    let (backend, responding) = backend_with(format).await;
    let faults = FaultProxy::start(backend.address());
    let proxy = Setup::behind(&faults).start().await;
    let (head, body) = format.response();
    let whole = head.len() + body.len();
    // Some places in the head, every place in the body.
    let places = (0..head.len()).step_by(9).chain(head.len() - 3..whole);
    let mut expected = Vec::new();
    for (number, sent) in places.enumerate() {
        for kind in [CutKind::Close, CutKind::Reset] {
            let cut = Faults {
                cut: Some(Cut::after(sent as u64, kind)),
                ..Faults::default()
            };
            faults.set(Direction::ToClient, cut);
            let variant = VARIANTS[number % VARIANTS.len()];
            let (id, code) = assert_outcome(&proxy, variant, (format, sent, kind)).await;
            expected.push((format!("{kind:?} after {sent} of {whole}"), id, code));
        }
    }
    responding.abort();
    let events = proxy.events_when(expected.len()).await;
    for (what, id, code) in expected {
        let event = events
            .iter()
            .find(|event| event["http"]["request"]["id"] == id);
        let event = event.expect("its event");
        let reported = event.get("error_code").and_then(|code| code.as_str());
        assert_eq!(reported, code, "{format:?}, {what}: {event}");
        let outcome = match code {
            Some(_) => "failure",
            None => "success",
        };
        assert_eq!(
            event["event"]["outcome"], outcome,
            "{format:?}, {what}: {event}"
        );
    }
}

#[tokio::test]
async fn a_response_with_a_length_is_cut_everywhere() {
    cut_everywhere(Format::Length).await;
}

#[tokio::test]
async fn a_chunked_response_is_cut_everywhere() {
    cut_everywhere(Format::Chunked).await;
}

#[tokio::test]
async fn a_response_until_the_connection_closes_is_cut_everywhere() {
    cut_everywhere(Format::UntilClose).await;
}

#[tokio::test]
async fn a_chunked_stream_of_events_is_cut_everywhere() {
    cut_everywhere(Format::ChunkedEvents).await;
}

#[tokio::test]
async fn a_stream_of_events_until_the_connection_closes_is_cut_everywhere() {
    cut_everywhere(Format::EventsUntilClose).await;
}

#[tokio::test]
async fn responses_in_pieces_of_any_size_are_unchanged() {
    for format in FORMATS {
        let (backend, responding) = backend_with(format).await;
        let faults = FaultProxy::start(backend.address());
        let proxy = Setup::behind(&faults).start().await;
        for bytes in [1, 5, 64] {
            let slices = |bytes| Faults {
                slices: Some(Slices {
                    bytes,
                    pause: Duration::from_millis(1),
                }),
                ..Faults::default()
            };
            faults.set(Direction::ToClient, slices(bytes));
            faults.set(Direction::ToTarget, slices(8 * bytes));
            let exchanges = VARIANTS.map(|variant| {
                let proxy = &proxy;
                async move {
                    let mut client = variant.client(proxy).await;
                    let response = client.send(format.request(variant)).await;
                    let what = format!("{format:?}, {bytes} bytes, {variant:?}");
                    assert_eq!(response.status, 200, "{what}");
                    assert_eq!(response.text(), format.content(), "{what}");
                    let event = proxy.event_of(&response).await;
                    assert!(event.get("error_code").is_none(), "{what}: {event}");
                }
            });
            join_all(exchanges).await;
        }
        responding.abort();
    }
}

#[tokio::test]
async fn a_reset_before_the_first_byte_of_a_response() {
    let backend = Backend::echo().await;
    let faults = FaultProxy::start(backend.address());
    faults.reset_responses();
    let proxy = Setup::behind(&faults).start().await;
    for variant in VARIANTS {
        let mut client = variant.client(&proxy).await;
        let response = client.send(variant.post("/any")).await;
        assert_eq!(response.status, 502, "{variant:?}: {}", response.text());
        assert_eq!(response.rejection(), "upstream_reset", "{variant:?}");
    }
    // Not repeated: another POST may have been carried out.
    assert_eq!(backend.requests().len(), VARIANTS.len());
}
