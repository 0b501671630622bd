//! The yardstick of `bench/sender`: goose as its own documentation uses it, asking what weir-load asks.
//!
//! A closed loop: each user asks, waits for the answer, and asks again. Users have goose's own client, send
//! with goose's own methods, and are counted by goose's own metrics. What is not goose's is the questions,
//! which are those of weir-load's scenario `chat`, so that the work of making them is the same; the
//! numbers, because goose throws away what was counted while its users came; and the silence.
//!
//! `plain_goose URL USERS SECONDS SEED` prints `{"requests":N,"seconds":S}` and nothing else: answers with a
//! status of success, and the time from the first request to the last answer.

#![expect(
    clippy::print_stdout,
    reason = "the driver reads the result from stdout"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::Context as _;
use goose::config::GooseConfiguration;
use goose::prelude::*;
use weir_load::routes;
use weir_load::scenario::{Questions, Scenario as Asked};

const USAGE: &str = "usage: plain_goose URL USERS SECONDS SEED";
/// Of a question, as weir-load has it when nothing else is said.
const QUESTION_BYTES: usize = 500;

/// What all users share.
struct Shared {
    asked: Asked,
    next: AtomicU64,
    answered: AtomicU64,
    begun: OnceLock<Instant>,
    /// Nanoseconds from the first request to the latest answer.
    lasted_ns: AtomicU64,
}

impl Shared {
    fn new(seed: u64) -> Result<Self, String> {
        let questions = Questions {
            repeats: 0.0,
            bytes: (QUESTION_BYTES, QUESTION_BYTES),
            seed,
        };
        Ok(Shared {
            asked: Asked::built_in("chat", routes::open(), questions)?,
            next: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            begun: OnceLock::new(),
            lasted_ns: AtomicU64::new(0),
        })
    }

    fn answered(&self) {
        let begun = *self.begun.get_or_init(weir::clock::now);
        let lasted = weir::clock::now().saturating_duration_since(begun);
        let lasted_ns = u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX);
        self.lasted_ns.fetch_max(lasted_ns, Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, users, seconds, seed] = arguments.as_slice() else {
        anyhow::bail!(USAGE);
    };
    let shared = Shared::new(seed.parse().context(USAGE)?);
    let shared = Arc::new(shared.map_err(anyhow::Error::msg)?);
    let configuration = configuration(url, users.parse().context(USAGE)?, seconds);
    GooseAttack::initialize_with_config(configuration)?
        .register_scenario(scenario!("chat").register_transaction(asking(&shared)))
        .execute()
        .await?;
    let lasted_s = shared.lasted_ns.load(Ordering::Relaxed) as f64 / 1e9;
    let requests = shared.answered.load(Ordering::Relaxed);
    println!("{{\"requests\":{requests},\"seconds\":{lasted_s:.6}}}");
    Ok(())
}

fn configuration(url: &str, users: usize, seconds: &str) -> GooseConfiguration {
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(url.to_owned());
    configuration.users = Some(users);
    // Otherwise one user comes a second.
    configuration.increase_rate = Some("100000".to_owned());
    configuration.run_time = Some(format!("{seconds}s"));
    configuration.no_print_metrics = true;
    configuration.no_telnet = true;
    configuration.quiet = 2;
    configuration
}

fn asking(shared: &Arc<Shared>) -> Transaction {
    let shared = shared.clone();
    let function: TransactionFunction = Arc::new(move |user| {
        let shared = shared.clone();
        Box::pin(async move { ask(user, &shared).await })
    });
    Transaction::new(function)
}

/// One request. Its answer is not read past the headers, as in goose's documentation: goose times no more.
async fn ask(user: &mut GooseUser, shared: &Shared) -> TransactionResult {
    shared.begun.get_or_init(weir::clock::now);
    let wanted = shared
        .asked
        .wanted(shared.next.fetch_add(1, Ordering::Relaxed))?;
    let mut builder = user.get_request_builder(&GooseMethod::Post, &wanted.path)?;
    for (name, value) in &wanted.headers {
        builder = builder.header(name.as_str(), value.as_str());
    }
    let request = GooseRequest::builder()
        .method(GooseMethod::Post)
        .path(wanted.path.as_str())
        .set_request_builder(builder.body(wanted.body))
        .build();
    let answer = user.request(request).await?;
    if answer.response?.status().is_success() {
        shared.answered();
    }
    Ok(())
}
