//! Sends what is due: goose's users are the senders, the schedule is ours.
//!
//! goose gives users, their start, their clients and their end; when a request is due, and what is
//! measured of it, is said by [`crate::pacer`] and [`crate::stats`]. goose's own figures are never used:
//! they begin when a request is sent, and end at the headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{Scenario as Group, Transaction, TransactionFunction};
use goose::{GooseAttack, is_killswitch_triggered, trigger_killswitch};
use goose_reqwest::{Certificate, Client, Response};

use crate::pacer::{Pace, Slot};
use crate::request::{Judged, Wanted};
use crate::scenario::{Scenario, Wants};
use crate::stats::{Cache, Measured, Tallies, Towards};

mod response_check;
mod sse;

use response_check::Verdict;
use sse::Stream;

/// All users are there within this, or the test cannot run.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often senders without work look whether all others are done.
const UNTIL_OVER: Duration = Duration::from_millis(20);
const EVENT_STREAM: &[u8] = b"text/event-stream";
const IDLE_CONNECTIONS_MAX: usize = 10_000;

/// What is asked of whom.
pub struct Attack {
    pub client: Client,
    pub target: String,
    /// The backend without the sidecar: every second request goes there.
    pub direct: Option<String>,
    pub scenario: Scenario,
    pub users: usize,
    /// How long after the last due time those that wait may still be sent.
    pub drain: Duration,
}

/// What all senders share.
struct Shared {
    attack: Attack,
    pace: Arc<Pace>,
    tallies: Arc<Tallies>,
    ready: AtomicUsize,
    left: AtomicUsize,
}

/// How the client of all senders is made.
#[derive(Clone, Debug)]
pub struct Connecting {
    /// Of one request, all of its answer included.
    pub timeout: Duration,
    pub version: Version,
    /// Certificates in PEM, beside those that the system trusts.
    pub ca: Option<Vec<u8>>,
}

/// What is spoken with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1, and over TLS what is agreed on.
    Usual,
    /// HTTP/2 from the first byte (RFC 9113, section 3.3).
    Http2,
}

/// One client for all: two thousand users with one each would take seconds to come.
///
/// # Errors
/// Certificates that are none.
pub fn client(connecting: &Connecting) -> anyhow::Result<Client> {
    let mut client = Client::builder()
        .timeout(connecting.timeout)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .redirect(goose_reqwest::redirect::Policy::none())
        .no_proxy();
    if let Some(pem) = &connecting.ca {
        let certificates = Certificate::from_pem_bundle(pem)?;
        anyhow::ensure!(!certificates.is_empty(), "there is no certificate in it");
        client = client.tls_certs_merge(certificates);
    }
    client = match connecting.version {
        Version::Usual => client,
        Version::Http2 => client.http2_prior_knowledge(),
    };
    Ok(client.build()?)
}

/// The processor's time of the thread that sends.
///
/// # Errors
/// When goose cannot start, or its users do not come in time.
pub fn run(attack: Attack, pace: &Arc<Pace>, tallies: &Arc<Tallies>) -> anyhow::Result<Duration> {
    let users = attack.users;
    let drain = attack.drain;
    let shared = Arc::new(Shared {
        pace: pace.clone(),
        tallies: tallies.clone(),
        ready: AtomicUsize::new(0),
        left: AtomicUsize::new(users),
        attack,
    });
    let pacing = {
        let shared = shared.clone();
        std::thread::Builder::new()
            .name("pace".to_owned())
            .spawn(move || pace_when_ready(&shared, users, drain))?
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let before = thread_time();
    let ended = runtime.block_on(goose(&shared, users));
    let spent = thread_time().saturating_sub(before);
    shared.pace.close();
    let paced = pacing.join();
    ended?;
    match paced {
        Ok(true) => Ok(spent),
        Ok(false) => anyhow::bail!("its {users} users did not come within {START_TIMEOUT:?}"),
        Err(_) => anyhow::bail!("the schedule broke off"),
    }
}

/// Waits for all users, runs the schedule, and gives those that wait a while. `false`: they did not come.
fn pace_when_ready(shared: &Shared, users: usize, drain: Duration) -> bool {
    let deadline = weir::clock::now() + START_TIMEOUT;
    while shared.ready.load(Ordering::Acquire) < users {
        if weir::clock::now() > deadline {
            shared.pace.close();
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    shared.pace.run();
    let until = weir::clock::now() + drain;
    while !shared.pace.is_all_taken() && !shared.pace.is_interrupted() && weir::clock::now() < until
    {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    shared.pace.close();
    true
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
    let group = Group::new("schedule").register_transaction(Transaction::new(function));
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
    // Nobody sends with it, and one costs less than one each.
    let shared = GooseClientBuilder::new().without_cookies();
    let attack = attack.set_client_builder_without_cookies(shared)?;
    attack.register_scenario(group).execute().await?;
    Ok(())
}

/// One sender: takes what is due next, until nothing is.
async fn send_all(shared: &Shared) {
    shared.ready.fetch_add(1, Ordering::AcqRel);
    while let Some(slot) = shared.pace.next().await {
        let measured = send(shared, slot).await;
        shared.tallies.record(&measured, slot.counts);
        shared.pace.finish();
    }
    // goose has no other way to be told that it is done.
    if shared.left.fetch_sub(1, Ordering::AcqRel) == 1 {
        trigger_killswitch("every request of the schedule has been sent");
    }
    // A user that returns is called again at once, until goose has seen that it is over: without a pause
    // that leaves goose no time to see it.
    loop {
        tokio::time::sleep(UNTIL_OVER).await;
        if is_killswitch_triggered() {
            return;
        }
    }
}

async fn send(shared: &Shared, slot: Slot) -> Measured {
    let begun = shared.pace.begun().unwrap_or(slot.due_at);
    let since_due = |at: Instant| at.saturating_duration_since(slot.due_at);
    let attack = &shared.attack;
    // Two of a pair ask the same kind of question: one through the sidecar, one past it.
    let direct = attack.direct.as_ref().filter(|_| slot.number % 2 == 1);
    let number = match &attack.direct {
        Some(_) => slot.number / 2,
        None => slot.number,
    };
    let mut measured = Measured {
        name: Arc::from("unsigned"),
        towards: match direct {
            Some(_) => Towards::Direct,
            None => Towards::Target,
        },
        due: slot.due_at.saturating_duration_since(begun),
        sent: Duration::ZERO,
        first: None,
        last: None,
        done: Duration::ZERO,
        pieces: 0,
        judged: Judged::Error,
        status: None,
        cache: Cache::NoHit,
        error: None,
    };
    let wanted = attack.scenario.wanted(number);
    let sent_at = weir::clock::now();
    measured.sent = since_due(sent_at);
    match wanted {
        Err(why) => measured.error = Some(why),
        Ok(wanted) => {
            measured.name = wanted.name.clone();
            let base = direct.unwrap_or(&attack.target);
            exchange(&attack.client, base, &wanted, &mut measured, &since_due).await;
            attack.scenario.answered(&wanted, measured.judged);
        }
    }
    measured.done = since_due(weir::clock::now());
    measured
}

async fn exchange(
    client: &Client,
    base: &str,
    wanted: &Wanted,
    measured: &mut Measured,
    since_due: &impl Fn(Instant) -> Duration,
) {
    let url = format!("{base}{}", wanted.path);
    let request = client.request(wanted.method.clone(), url);
    let mut request = request.body(wanted.body.clone());
    for (name, value) in &wanted.headers {
        request = request.header(name.as_str(), value.as_str());
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            measured.error = Some(kind(&error).to_owned());
            return;
        }
    };
    let status = answer.status().as_u16();
    measured.status = Some(status);
    measured.cache = cache(&answer);
    measured.judged = wanted.expect.judge(status);
    if measured.judged == Judged::Error {
        measured.error = Some(format!("status {status}"));
    }
    if let Err(error) = read(answer, wanted, measured, since_due).await {
        measured.judged = Judged::Error;
        measured.error = Some(error);
    }
}

/// Reads all of an answer. Of a stream, the first piece and their number are noted. What fails by its own
/// words is an error, whatever its status.
async fn read(
    mut answer: Response,
    wanted: &Wanted,
    measured: &mut Measured,
    since_due: &impl Fn(Instant) -> Duration,
) -> Result<(), String> {
    let is_stream = answer
        .headers()
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..EVENT_STREAM.len()))
        .is_some_and(|value| value.eq_ignore_ascii_case(EVENT_STREAM));
    let status = answer.status().as_u16();
    let mut verdict = Verdict::new(&wanted.method, &wanted.path, status, answer.headers());
    let mut stream = Stream::default();
    loop {
        let chunk = match answer.chunk().await {
            Ok(None) => break,
            Err(error) => return Err(kind(&error).to_owned()),
            Ok(Some(chunk)) => chunk,
        };
        verdict.feed(&chunk);
        if is_stream {
            let now = since_due(weir::clock::now());
            stream.feed(&chunk);
            if stream.pieces > measured.pieces {
                measured.pieces = stream.pieces;
                measured.first.get_or_insert(now);
                measured.last = Some(now);
            }
        }
    }
    let is_success = measured.judged == Judged::Success;
    match verdict.failure() {
        Some(failure) => Err(failure.to_owned()),
        None if wanted.wants == Wants::Stream && is_success && stream.pieces == 0 => {
            Err("no stream".to_owned())
        }
        None => Ok(()),
    }
}

/// `weir; hit`, and not a hit of somebody else's cache.
fn cache(answer: &Response) -> Cache {
    let told = answer.headers().get("cache-status");
    match told.is_some_and(|value| value.as_bytes().starts_with(b"weir; hit")) {
        true => Cache::Hit,
        false => Cache::NoHit,
    }
}

/// Why there is no answer, in a word of few.
fn kind(error: &goose_reqwest::Error) -> &'static str {
    if error.is_builder() {
        "no request can be made of it"
    } else if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else if error.is_body() || error.is_decode() {
        "answer cut short"
    } else {
        "connection closed"
    }
}
