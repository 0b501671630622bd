//! Sends what is due: goose's users are the senders, the schedule is ours.
//!
//! goose gives users, their start, their clients and their end; when a request is due, and what is
//! measured of it, is said by [`crate::pacer`] and [`crate::tally`]. goose's own figures are never used:
//! they begin when a request is sent, and end at the headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{Scenario as Group, Transaction, TransactionFunction};
use goose::{GooseAttack, is_killswitch_triggered, trigger_killswitch};
use goose_reqwest::{Client, Response};

use crate::pacer::{Pace, Slot};
use crate::scenario::Scenario;
use crate::slo::DIRECT;
use crate::tally::{Measured, Tallies};
use crate::wanted::{Judged, Wanted};

/// Why there is no answer, where nothing else is known of it.
const CLOSED: &str = "connection closed";
/// All users are there within this, or the test cannot run.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often senders without work look whether all others are done.
const UNTIL_OVER: Duration = Duration::from_millis(20);
const IDLE_CONNECTIONS_MAX: usize = 10_000;

/// What is asked of whom.
pub struct Attack {
    pub target: String,
    /// The backend without the sidecar: every second request goes there.
    pub direct: Option<String>,
    pub scenario: Scenario,
    pub users: usize,
    /// Of one request, all of its answer included.
    pub timeout: Duration,
    /// How long after the last due time those that wait may still be sent.
    pub grace: Duration,
}

/// What all senders share.
struct Shared {
    attack: Attack,
    pace: Arc<Pace>,
    tallies: Arc<Tallies>,
    ready: AtomicUsize,
    left: AtomicUsize,
}

/// Runs the schedule to its end.
///
/// # Errors
/// When goose cannot start, or its users do not come in time.
pub fn run(attack: Attack, pace: &Arc<Pace>, tallies: &Arc<Tallies>) -> anyhow::Result<()> {
    let users = attack.users;
    let grace = attack.grace;
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
            .spawn(move || pace_when_ready(&shared, users, grace))?
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(goose(&shared, users));
    shared.pace.close();
    let paced = pacing.join();
    ended?;
    match paced {
        Ok(true) => Ok(()),
        Ok(false) => anyhow::bail!("its {users} users did not come within {START_TIMEOUT:?}"),
        Err(_) => anyhow::bail!("the schedule broke off"),
    }
}

/// Waits for all users, runs the schedule, and gives those that wait a while. `false`: they did not come.
fn pace_when_ready(shared: &Shared, users: usize, grace: Duration) -> bool {
    let deadline = weir::clock::now() + START_TIMEOUT;
    while shared.ready.load(Ordering::Acquire) < users {
        if weir::clock::now() > deadline {
            shared.pace.close();
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    shared.pace.run();
    let until = weir::clock::now() + grace;
    while shared.pace.taken() < shared.pace.schedule().total() && weir::clock::now() < until {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    shared.pace.close();
    true
}

async fn goose(shared: &Arc<Shared>, users: usize) -> anyhow::Result<()> {
    let client = Client::builder()
        .timeout(shared.attack.timeout)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .redirect(goose_reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    let senders = shared.clone();
    let number = Arc::new(AtomicUsize::new(0));
    let function: TransactionFunction = Arc::new(move |_user| {
        let (shared, client) = (senders.clone(), client.clone());
        let sender = number.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            send_all(&shared, &client, sender).await;
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
    // One for all: two thousand users with a client each would take seconds to come.
    let shared = GooseClientBuilder::new().without_cookies();
    let attack = attack.set_client_builder_without_cookies(shared)?;
    attack.register_scenario(group).execute().await?;
    Ok(())
}

/// One sender: takes what is due next, until nothing is.
async fn send_all(shared: &Shared, client: &Client, sender: usize) {
    shared.ready.fetch_add(1, Ordering::AcqRel);
    while let Some(slot) = shared.pace.next().await {
        let measured = send(shared, client, slot).await;
        shared.tallies.record(sender, &measured);
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

async fn send(shared: &Shared, client: &Client, slot: Slot) -> Measured {
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
        due: slot.due_at.saturating_duration_since(begun),
        sent: Duration::ZERO,
        first: None,
        done: Duration::ZERO,
        pieces: 0,
        judged: Judged::Error,
        error: None,
    };
    let wanted = attack.scenario.wanted(number);
    let sent_at = weir::clock::now();
    measured.sent = since_due(sent_at);
    match wanted {
        Err(why) => measured.error = Some(why),
        Ok(wanted) => {
            measured.name = match direct {
                Some(_) => Arc::from(DIRECT),
                None => wanted.name.clone(),
            };
            let base = direct.unwrap_or(&attack.target);
            exchange(client, base, wanted, &mut measured, &since_due).await;
        }
    }
    measured.done = since_due(weir::clock::now());
    measured
}

async fn exchange(
    client: &Client,
    base: &str,
    wanted: Wanted,
    measured: &mut Measured,
    since_due: &impl Fn(Instant) -> Duration,
) {
    let url = format!("{base}{}", wanted.path);
    let wants_end = wanted.path.ends_with("/chat/completions");
    let mut request = client.request(wanted.method, url).body(wanted.body);
    for (name, value) in &wanted.headers {
        request = request.header(name.as_str(), value.as_str());
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            let kind = kind(&error);
            if kind == CLOSED {
                measured.judged = wanted.expect.judge_closed();
            }
            measured.error = Some(kind.to_owned());
            return;
        }
    };
    let status = answer.status().as_u16();
    measured.judged = wanted.expect.judge(status);
    if measured.judged == Judged::Error {
        measured.error = Some(format!("status {status}"));
    }
    if let Err(error) = read(answer, wants_end, measured, since_due).await {
        measured.judged = Judged::Error;
        measured.error = Some(error);
    }
}

/// Reads all of an answer. Of a stream, the first piece and their number are noted; one that does not
/// end as the OpenAI format has it is cut short.
async fn read(
    mut answer: Response,
    wants_end: bool,
    measured: &mut Measured,
    since_due: &impl Fn(Instant) -> Duration,
) -> Result<(), String> {
    let is_stream = answer
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    let mut end = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(None) => break,
            Err(error) => return Err(kind(&error).to_owned()),
            Ok(Some(chunk)) if is_stream => {
                measured
                    .first
                    .get_or_insert_with(|| since_due(weir::clock::now()));
                measured.pieces += count(&chunk, b"data:");
                end.extend_from_slice(&chunk);
                let surplus = end.len().saturating_sub(32);
                end.drain(..surplus);
            }
            Ok(Some(_)) => {}
        }
    }
    let is_whole = !is_stream || !wants_end || end.windows(6).any(|part| part == b"[DONE]");
    if is_whole {
        return Ok(());
    }
    Err("stream cut short".to_owned())
}

fn count(bytes: &[u8], word: &[u8]) -> u64 {
    bytes
        .windows(word.len())
        .filter(|part| *part == word)
        .count() as u64
}

/// Why there is no answer, in a word of few.
fn kind(error: &goose_reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else if error.is_body() || error.is_decode() {
        "answer cut short"
    } else {
        CLOSED
    }
}
