//! Clients that send requests without a pause. They are strict: a request fails if its connection is refused, or if it
//! was written to a connection that had not been closed and is not answered completely.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use weir_tests::backend::WHOLE_RESPONSE;
use weir_tests::client::{CHAT, Client, ClientRequest, chat_request};
use weir_tests::raw::Raw;
use weir_tests::wait;

/// How many requests are in flight on a connection of HTTP/2.
const STREAMS: usize = 8;

/// How a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connections {
    KeptAlive,
    NewEach,
    Http2,
}

/// The number of requests of a run; each is sent by whichever client is the first to be free.
#[derive(Debug)]
pub(super) struct Quota {
    total: usize,
    begun: AtomicUsize,
}

impl Quota {
    pub(super) fn new(total: usize) -> Arc<Self> {
        Arc::new(Quota {
            total,
            begun: AtomicUsize::new(0),
        })
    }

    /// The number of the next request, if any is left.
    fn next(&self) -> Option<usize> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst);
        (number < self.total).then_some(number)
    }

    /// Waits until this many requests have begun.
    pub(super) async fn begun(&self, count: usize) {
        while self.begun.load(Ordering::SeqCst) < count {
            wait::tick().await;
        }
    }
}

/// What came of requests.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// The ids of complete responses.
    pub(super) ids: Vec<String>,
    pub(super) failures: Vec<String>,
}

impl Results {
    fn add(&mut self, result: Result<String, String>) {
        match result {
            Ok(id) => self.ids.push(id),
            Err(failure) => self.failures.push(failure),
        }
    }

    pub(super) fn append(&mut self, mut other: Results) {
        self.ids.append(&mut other.ids);
        self.failures.append(&mut other.failures);
    }
}

impl Connections {
    /// Sends requests until none is left.
    pub(super) async fn send(self, address: SocketAddr, quota: Arc<Quota>) -> Results {
        match self {
            Connections::KeptAlive | Connections::NewEach => self.send_http1(address, &quota).await,
            Connections::Http2 => send_http2(address, &quota).await,
        }
    }

    async fn send_http1(self, address: SocketAddr, quota: &Quota) -> Results {
        let mut results = Results::default();
        let mut kept: Option<Raw> = None;
        while let Some(number) = quota.next() {
            let open = kept.take().filter(|raw| !raw.is_closed());
            let raw = match open {
                Some(raw) => Some(raw),
                None => Raw::try_connect(address).await,
            };
            let sent = match raw {
                Some(raw) => exchange(raw, number).await,
                None => Err("refused".to_owned()),
            };
            let sent = sent.map(|(id, raw)| {
                kept = raw.filter(|_| self == Connections::KeptAlive);
                id
            });
            results.add(sent.map_err(|failure| format!("{self:?}, request {number}: {failure}")));
        }
        results
    }
}

/// Sends one request; returns its id, and the connection if it stays open.
async fn exchange(mut raw: Raw, number: usize) -> Result<(String, Option<Raw>), String> {
    let request = match number % 4 {
        0 => "GET /any HTTP/1.1\r\nHost: weir.test\r\n\r\n".to_owned(),
        1 => post("/any", "{}"),
        2 => post(CHAT, &chat_request("hello", false).to_string()),
        _ => post(CHAT, &chat_request("hello", true).to_string()),
    };
    raw.try_write(request)
        .await
        .map_err(|error| format!("not written: {error}"))?;
    let response = raw.try_response().await.ok_or("no complete response")?;
    check(response.status, &response.body, number)?;
    let id = response.header("x-request-id").ok_or("no id")?.to_owned();
    let is_last = response
        .header("connection")
        .is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok((id, (!is_last).then_some(raw)))
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: weir.test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn send_http2(address: SocketAddr, quota: &Quota) -> Results {
    let mut results = Results::default();
    let mut client = Client::h2(address).await;
    // Requests that found their connection closed before they were sent.
    let mut unsent: Vec<usize> = Vec::new();
    loop {
        let new = std::iter::from_fn(|| quota.next());
        let numbers: Vec<usize> = std::mem::take(&mut unsent)
            .into_iter()
            .chain(new)
            .take(STREAMS)
            .collect();
        if numbers.is_empty() {
            return results;
        }
        let mut opening = Vec::new();
        for number in numbers {
            let begun = client.begin(http2_request(number)).await;
            opening.push(async move {
                let response = async {
                    let response = begun?.await?;
                    let id = response.header("x-request-id").map(str::to_owned);
                    Ok::<_, hyper::Error>((id, response.status, response.rest().await))
                };
                (number, response.await)
            });
        }
        for (number, answered) in join_all(opening).await {
            let result = match answered {
                Err(error) if error.is_canceled() || error.is_closed() => {
                    unsent.push(number);
                    continue;
                }
                Err(error) => Err(format!("{error:?}")),
                Ok((id, status, body)) => body
                    .map_err(|error| format!("{error:?}"))
                    .and_then(|body| check(status, &body, number))
                    .and_then(|()| id.ok_or("no id".to_owned())),
            };
            let failed = |failure| format!("HTTP/2, request {number}: {failure}");
            results.add(result.map_err(failed));
        }
        if !unsent.is_empty() {
            client = Client::h2(address).await;
        }
    }
}

fn http2_request(number: usize) -> ClientRequest {
    match number % 4 {
        0 => ClientRequest::get("/any"),
        1 => ClientRequest::json("/any", &serde_json::json!({})),
        2 => ClientRequest::chat("hello"),
        _ => ClientRequest::chat_stream("hello"),
    }
}

fn check(status: u16, body: &[u8], number: usize) -> Result<(), String> {
    let is_whole = match number % 4 {
        3 => body.ends_with(b"data: [DONE]\n\n"),
        _ => body == WHOLE_RESPONSE.as_bytes(),
    };
    match status == 200 && is_whole {
        true => Ok(()),
        false => Err(format!("{status}: {:?}", String::from_utf8_lossy(body))),
    }
}
