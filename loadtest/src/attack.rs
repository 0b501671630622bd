//! Sends the requests that are due. The senders are the virtual users of goose, without a think time between requests.
//!
//! goose starts the users and stops them; [`crate::pacer`] determines when a request is due and [`crate::stats`]
//! records it. goose's own metrics are not used: they start when a request is sent and stop at the response headers,
//! which hides stalls (coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{Scenario as GooseScenario, Transaction, TransactionFunction};
use goose::{GooseAttack, is_killswitch_triggered, trigger_killswitch};
use goose_reqwest::{Certificate, Client, Response};

use crate::pacer::{Arrival, Pacer};
use crate::request::{Outcome, RequestSpec, ResponseMode};
use crate::scenario::Scenario;
use crate::stats::{CacheStatus, Destination, Sample, StatsRecorder};

mod response_check;
mod sse;

use response_check::ResponseCheck;
use sse::EventCounter;

/// How long all users may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often idle senders check whether the test is over.
const IDLE_POLL: Duration = Duration::from_millis(20);
const EVENT_STREAM: &[u8] = b"text/event-stream";
const IDLE_CONNECTIONS_MAX: usize = 10_000;

/// What to send, where, and by how many senders.
pub struct Attack {
    pub client: Client,
    pub target: String,
    /// The backend without the sidecar; every second request goes there.
    pub direct: Option<String>,
    pub scenario: Scenario,
    pub users: usize,
    /// How long after the end of the schedule requests that are waiting may still be sent.
    pub drain: Duration,
}

/// The state that all senders share.
struct Shared {
    attack: Attack,
    pacer: Arc<Pacer>,
    recorder: Arc<StatsRecorder>,
    ready: AtomicUsize,
    left: AtomicUsize,
}

/// Options of the HTTP client.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// For one request, including its whole response.
    pub timeout: Duration,
    pub version: HttpVersion,
    /// CA certificates in PEM, trusted in addition to those of the system.
    pub ca: Option<Vec<u8>>,
}

/// The version of HTTP to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1; with TLS, what ALPN negotiates.
    Negotiated,
    /// HTTP/2 without negotiation (RFC 9113, section 3.3).
    Http2PriorKnowledge,
}

/// One client for all senders: two thousand clients would take seconds to create.
///
/// # Errors
/// Invalid CA certificates.
pub fn build_client(options: &ClientOptions) -> anyhow::Result<Client> {
    let mut client = Client::builder()
        .timeout(options.timeout)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .redirect(goose_reqwest::redirect::Policy::none())
        .no_proxy();
    if let Some(pem) = &options.ca {
        let certificates = Certificate::from_pem_bundle(pem)?;
        anyhow::ensure!(!certificates.is_empty(), "it contains no certificate");
        client = client.tls_certs_merge(certificates);
    }
    client = match options.version {
        HttpVersion::Negotiated => client,
        HttpVersion::Http2PriorKnowledge => client.http2_prior_knowledge(),
    };
    Ok(client.build()?)
}

/// Runs the schedule to its end, and returns the CPU time of the sending thread.
///
/// # Errors
/// goose cannot start, or its users do not start in time.
pub fn run(
    attack: Attack,
    pacer: &Arc<Pacer>,
    recorder: &Arc<StatsRecorder>,
) -> anyhow::Result<Duration> {
    let users = attack.users;
    let drain = attack.drain;
    let shared = Arc::new(Shared {
        pacer: pacer.clone(),
        recorder: recorder.clone(),
        ready: AtomicUsize::new(0),
        left: AtomicUsize::new(users),
        attack,
    });
    let pacing = {
        let shared = shared.clone();
        std::thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || pace_when_ready(&shared, users, drain))?
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let before = thread_time();
    let ended = runtime.block_on(goose(&shared, users));
    let spent = thread_time().saturating_sub(before);
    shared.pacer.close();
    let paced = pacing.join();
    ended?;
    match paced {
        Ok(PacerEnd::Drained) => Ok(spent),
        Ok(PacerEnd::UsersMissing) => {
            anyhow::bail!("the {users} users did not start within {START_TIMEOUT:?}")
        }
        Err(_) => anyhow::bail!("the pacer thread panicked"),
    }
}

/// How the pacer thread ended.
enum PacerEnd {
    Drained,
    /// Not all users had started in time.
    UsersMissing,
}

/// Waits for all users, runs the schedule, and drains the requests that are still waiting.
fn pace_when_ready(shared: &Shared, users: usize, drain: Duration) -> PacerEnd {
    let deadline = weir::clock::now() + START_TIMEOUT;
    while shared.ready.load(Ordering::Acquire) < users {
        if weir::clock::now() > deadline {
            shared.pacer.close();
            return PacerEnd::UsersMissing;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    shared.pacer.run();
    let until = weir::clock::now() + drain;
    while !shared.pacer.is_drained() && !shared.pacer.is_interrupted() && weir::clock::now() < until
    {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    shared.pacer.close();
    PacerEnd::Drained
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

async fn goose(shared: &Arc<Shared>, users: usize) -> anyhow::Result<()> {
    let senders = shared.clone();
    let function: TransactionFunction = Arc::new(move |_user| {
        let shared = senders.clone();
        Box::pin(async move {
            send_all(&shared).await;
            Ok(())
        })
    });
    let goose_scenario =
        GooseScenario::new("schedule").register_transaction(Transaction::new(function));
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(shared.attack.target.clone());
    configuration.users = Some(users);
    configuration.increase_rate = Some("100000".to_owned());
    configuration.no_print_metrics = true;
    configuration.no_error_summary = true;
    configuration.no_metrics = true;
    configuration.no_telnet = true;
    configuration.quiet = 2;
    let attack = GooseAttack::initialize_with_config(configuration)?;
    // It sends nothing, and one shared client is cheaper than one for each user.
    let shared = GooseClientBuilder::new().without_cookies();
    let attack = attack.set_client_builder_without_cookies(shared)?;
    attack.register_scenario(goose_scenario).execute().await?;
    Ok(())
}

/// One sender: takes the next request that is due, until the test ends.
async fn send_all(shared: &Shared) {
    shared.ready.fetch_add(1, Ordering::AcqRel);
    while let Some(arrival) = shared.pacer.next().await {
        let sample = send(shared, arrival).await;
        shared.recorder.record(&sample, arrival.phase);
        shared.pacer.complete();
    }
    // goose has no other way to stop before its run time ends.
    if shared.left.fetch_sub(1, Ordering::AcqRel) == 1 {
        trigger_killswitch("every request of the schedule has been sent");
    }
    // goose calls a user that returns again at once, until it notices the kill switch: without a pause it would have no
    // time to notice.
    loop {
        tokio::time::sleep(IDLE_POLL).await;
        if is_killswitch_triggered() {
            return;
        }
    }
}

async fn send(shared: &Shared, arrival: Arrival) -> Sample {
    let started_at = shared.pacer.started_at().unwrap_or(arrival.due_at);
    let since_due = |at: Instant| at.saturating_duration_since(arrival.due_at);
    let attack = &shared.attack;
    // Each request is sent twice: to the sidecar, and directly to the backend.
    let direct = attack.direct.as_ref().filter(|_| arrival.number % 2 == 1);
    let number = match &attack.direct {
        Some(_) => arrival.number / 2,
        None => arrival.number,
    };
    let mut sample = Sample {
        name: Arc::from("unsigned"),
        destination: match direct {
            Some(_) => Destination::Direct,
            None => Destination::Target,
        },
        due: arrival.due_at.saturating_duration_since(started_at),
        sent: Duration::ZERO,
        first_event: None,
        last_event: None,
        done: Duration::ZERO,
        stream_events: 0,
        outcome: Outcome::Error,
        status: None,
        cache: CacheStatus::NoHit,
        error: None,
    };
    let request_spec = attack.scenario.request(number);
    let sent_at = weir::clock::now();
    sample.sent = since_due(sent_at);
    match request_spec {
        Err(error) => sample.error = Some(error.to_string()),
        Ok(request_spec) => {
            sample.name = request_spec.name.clone();
            let base = direct.unwrap_or(&attack.target);
            send_request(&attack.client, base, &request_spec, &mut sample, &since_due).await;
            attack.scenario.observe(&request_spec, sample.outcome);
        }
    }
    sample.done = since_due(weir::clock::now());
    sample
}

async fn send_request(
    client: &Client,
    base: &str,
    request_spec: &RequestSpec,
    sample: &mut Sample,
    since_due: &impl Fn(Instant) -> Duration,
) {
    let url = format!("{base}{}", request_spec.path);
    let request = client.request(request_spec.method.clone(), url);
    let mut request = request.body(request_spec.body.clone());
    for (name, value) in &request_spec.headers {
        request = request.header(name.as_str(), value.as_str());
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            sample.error = Some(error_kind(&error).to_owned());
            return;
        }
    };
    let status = response.status().as_u16();
    sample.status = Some(status);
    sample.cache = cache(&response);
    sample.outcome = request_spec.expected.classify(status);
    if sample.outcome == Outcome::Error {
        sample.error = Some(format!("status {status}"));
    }
    if let Err(error) = read_response(response, request_spec, sample, since_due).await {
        sample.outcome = Outcome::Error;
        sample.error = Some(error);
    }
}

/// Reads the whole response. For a stream, counts its events and takes the times of the first and last. A response that
/// reports a failure in its body is an error, whatever its status.
async fn read_response(
    mut response: Response,
    request_spec: &RequestSpec,
    sample: &mut Sample,
    since_due: &impl Fn(Instant) -> Duration,
) -> Result<(), String> {
    let is_stream = response
        .headers()
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..EVENT_STREAM.len()))
        .is_some_and(|value| value.eq_ignore_ascii_case(EVENT_STREAM));
    let status = response.status().as_u16();
    let mut check = ResponseCheck::new(
        &request_spec.method,
        &request_spec.path,
        status,
        response.headers(),
    );
    let mut event_counter = EventCounter::default();
    loop {
        let chunk = match response.chunk().await {
            Ok(None) => break,
            Err(error) => return Err(error_kind(&error).to_owned()),
            Ok(Some(chunk)) => chunk,
        };
        check.feed(&chunk);
        if is_stream {
            let now = since_due(weir::clock::now());
            event_counter.feed(&chunk);
            if event_counter.events > sample.stream_events {
                sample.stream_events = event_counter.events;
                sample.first_event.get_or_insert(now);
                sample.last_event = Some(now);
            }
        }
    }
    let is_success = sample.outcome == Outcome::Success;
    match check.failure() {
        Some(failure) => Err(failure.to_owned()),
        None if request_spec.mode == ResponseMode::Stream
            && is_success
            && event_counter.events == 0 =>
        {
            Err("no stream".to_owned())
        }
        None => Ok(()),
    }
}

/// Only `weir; hit`: another cache may report a hit of its own.
fn cache(response: &Response) -> CacheStatus {
    let header = response.headers().get("cache-status");
    match header.is_some_and(|value| value.as_bytes().starts_with(b"weir; hit")) {
        true => CacheStatus::Hit,
        false => CacheStatus::NoHit,
    }
}

/// The kind of an error, from a closed set.
fn error_kind(error: &goose_reqwest::Error) -> &'static str {
    if error.is_builder() {
        "invalid request"
    } else if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else if error.is_body() || error.is_decode() {
        "response cut short"
    } else {
        "connection closed"
    }
}
