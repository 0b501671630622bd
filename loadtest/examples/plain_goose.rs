//! The baseline of `bench/sender`: goose as in its own documentation, sending the requests of weir-load.
//!
//! A closed model: each user sends a request, waits for the response, and sends the next one. Users have goose's own
//! client, methods and metrics. Not from goose are the prompts, which are those of weir-load's scenario `chat` so that
//! generating them costs the same; the results, because goose discards what it counted while its users started; and the
//! suppressed output.
//!
//! `plain_goose URL USERS SECONDS SEED` prints only `{"requests":N,"seconds":S}`: successful responses, and the time
//! from the first request to the last response.

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
use weir_load::scenario::{Prompts, Scenario as LoadScenario, ScenarioError};

const USAGE: &str = "usage: plain_goose URL USERS SECONDS SEED";
/// The default length of a prompt of weir-load.
const PROMPT_BYTES: usize = 500;

/// The state that all users share.
struct Shared {
    scenario: LoadScenario,
    next: AtomicU64,
    responses: AtomicU64,
    started_at: OnceLock<Instant>,
    /// Nanoseconds from the first request to the latest response.
    duration_ns: AtomicU64,
}

impl Shared {
    fn new(seed: u64) -> Result<Self, ScenarioError> {
        let prompts = Prompts {
            repeats: 0.0,
            bytes: (PROMPT_BYTES, PROMPT_BYTES),
            seed,
        };
        Ok(Shared {
            scenario: LoadScenario::built_in("chat", routes::default_routes(), prompts)?,
            next: AtomicU64::new(0),
            responses: AtomicU64::new(0),
            started_at: OnceLock::new(),
            duration_ns: AtomicU64::new(0),
        })
    }

    fn count_response(&self) {
        let started_at = *self.started_at.get_or_init(weir::clock::now);
        let duration = weir::clock::now().saturating_duration_since(started_at);
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.duration_ns.fetch_max(duration_ns, Ordering::Relaxed);
        self.responses.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, users, seconds, seed] = arguments.as_slice() else {
        anyhow::bail!(USAGE);
    };
    let shared = Shared::new(seed.parse().context(USAGE)?);
    let shared = Arc::new(shared?);
    let configuration = configuration(url, users.parse().context(USAGE)?, seconds);
    GooseAttack::initialize_with_config(configuration)?
        .register_scenario(scenario!("chat").register_transaction(transaction(&shared)))
        .execute()
        .await?;
    let duration_s = shared.duration_ns.load(Ordering::Relaxed) as f64 / 1e9;
    let requests = shared.responses.load(Ordering::Relaxed);
    println!("{{\"requests\":{requests},\"seconds\":{duration_s:.6}}}");
    Ok(())
}

fn configuration(url: &str, users: usize, seconds: &str) -> GooseConfiguration {
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(url.to_owned());
    configuration.users = Some(users);
    // The default is one user per second.
    configuration.increase_rate = Some("100000".to_owned());
    configuration.run_time = Some(format!("{seconds}s"));
    configuration.no_print_metrics = true;
    configuration.no_telnet = true;
    configuration.quiet = 2;
    configuration
}

fn transaction(shared: &Arc<Shared>) -> Transaction {
    let shared = shared.clone();
    let function: TransactionFunction = Arc::new(move |user| {
        let shared = shared.clone();
        Box::pin(async move { send(user, &shared).await })
    });
    Transaction::new(function)
}

/// Sends one request. Its body is not read, as in goose's documentation: goose measures until the headers.
async fn send(user: &mut GooseUser, shared: &Shared) -> TransactionResult {
    shared.started_at.get_or_init(weir::clock::now);
    let request_spec = shared
        .scenario
        .request(shared.next.fetch_add(1, Ordering::Relaxed))
        .map_err(|error| error.to_string())?;
    let mut builder = user.get_request_builder(&GooseMethod::Post, &request_spec.path)?;
    for (name, value) in &request_spec.headers {
        builder = builder.header(name.as_str(), value.as_str());
    }
    let request = GooseRequest::builder()
        .method(GooseMethod::Post)
        .path(request_spec.path.as_str())
        .set_request_builder(builder.body(request_spec.body))
        .build();
    let response = user.request(request).await?;
    if response.response?.status().is_success() {
        shared.count_response();
    }
    Ok(())
}
