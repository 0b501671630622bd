//! The command line: one function a command.

#![expect(clippy::print_stderr, reason = "a command line talks")]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use weir::app::App;
use weir::config::{self, Loaded, units};
use weir::system::memory;
use weir::{alert, assistant, clock, demo, signature};

/// Many short-lived allocations a request: mimalloc costs less for them than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "weir",
    version,
    about = "A sidecar that makes a production service of an AI assistant"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy.
    Run {
        /// The configuration; weir.yaml here, else /etc/weir/weir.yaml.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Run proxy and stand-in assistant together, with things to try.
    Demo(DemoArguments),
    /// Say whether a configuration is right, with every mistake at once.
    Check {
        #[arg(long)]
        config: Option<PathBuf>,
        /// The same as --config FILE.
        #[arg(conflicts_with = "config")]
        file: Option<PathBuf>,
    },
    /// Print the alerts of a configuration as rules of Prometheus.
    Rules {
        /// Without a file: those of the defaults.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Sign a request: prints the headers it needs.
    Sign {
        #[arg(long)]
        scheme: String,
        #[arg(long)]
        secret: String,
        /// Unix seconds; now by default.
        #[arg(long, value_name = "UNIX_SECONDS")]
        at: Option<u64>,
        /// The request's id, or the nonce; a new one by default.
        #[arg(long)]
        id: Option<String>,
        /// A file with the body, or - for standard input; no body by default.
        #[arg(long, value_name = "FILE|-")]
        body: Option<PathBuf>,
    },
    /// Look at the audit log.
    Audit {
        #[command(subcommand)]
        what: AuditCommand,
    },
    /// Run the stand-in assistant alone.
    Assistant(AssistantArguments),
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Say whether every line is there as it was written, and which are not.
    Verify {
        /// The configuration that names the log; weir.yaml here, else /etc/weir/weir.yaml.
        #[arg(long)]
        config: Option<PathBuf>,
        /// The log itself; its rotated files and its head lie beside it.
        #[arg(conflicts_with = "config")]
        file: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct DemoArguments {
    /// Proxy, admin and assistant listen on N, N+1 and N+2 instead of 8080, 8081 and 8000.
    #[arg(long, value_name = "N")]
    port_base: Option<u16>,
    /// Ships the events there, too: http://127.0.0.1:9200.
    #[arg(long, value_name = "URL")]
    elasticsearch: Option<String>,
    /// Print the demo's configuration, as the load tester takes it, and end.
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    behaviour: Behaviour,
}

#[derive(clap::Args)]
struct AssistantArguments {
    #[arg(long, default_value = "127.0.0.1:8000")]
    address: std::net::SocketAddr,
    #[command(flatten)]
    behaviour: Behaviour,
}

/// How the stand-in assistant answers.
#[derive(clap::Args)]
struct Behaviour {
    #[arg(long, default_value = "120ms", value_parser = units::duration)]
    latency: Duration,
    #[arg(long, default_value = "30ms", value_parser = units::duration)]
    jitter: Duration,
    #[arg(long, default_value = "0%", value_parser = units::ratio)]
    error_rate: f64,
    #[arg(long, default_value_t = 64)]
    tokens: u32,
    #[arg(long, default_value = "20ms", value_parser = units::duration)]
    token_interval: Duration,
}

impl From<&Behaviour> for assistant::Options {
    fn from(behaviour: &Behaviour) -> Self {
        assistant::Options {
            latency: behaviour.latency,
            jitter: behaviour.jitter,
            error_rate: behaviour.error_rate,
            tokens: behaviour.tokens,
            token_interval: behaviour.token_interval,
            ..assistant::Options::default()
        }
    }
}

fn main() -> ExitCode {
    memory::take_small_pages();
    env_logger::Builder::from_env(
        env_logger::Env::default()
            .default_filter_or("info,pingora=warn,pingora_core=off,pingora_proxy=off"),
    )
    .init();
    let outcome = match Arguments::parse().command {
        Command::Run { config } => run(config.as_deref()),
        Command::Demo(arguments) => run_demo(&arguments),
        Command::Check { config, file } => check(config.or(file).as_deref()),
        Command::Rules { config } => rules(config.as_deref()),
        Command::Schema => schema(),
        Command::Sign {
            scheme,
            secret,
            at,
            id,
            body,
        } => sign(&scheme, &secret, at, id, body.as_deref()),
        Command::Audit {
            what: AuditCommand::Verify { config, file },
        } => verify_audit(config.as_deref(), file),
        Command::Assistant(arguments) => run_assistant(arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("weir: {error:#}");
        ExitCode::FAILURE
    })
}

/// Prints a line. Whoever closed the pipe has read enough.
fn say(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn run(path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let loaded = load(path)?;
    block_on(async {
        // Signals are taken before anything listens, so that none is lost.
        let stop = stop_signal()?;
        let app = App::start(&loaded.config)?;
        announce(&app);
        stop.await;
        app.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn run_demo(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let ports = demo::Ports::new(arguments.port_base);
    let index = arguments.elasticsearch.as_deref();
    if arguments.print_config {
        say(demo::text(&ports, index)?.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let loaded = demo::config(&ports, index)?;
    block_on(async {
        let stop = stop_signal()?;
        let assistant = demo::start_assistant(&ports, (&arguments.behaviour).into()).await?;
        let app = App::start(&loaded.config)?;
        announce(&app);
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("weir"));
        say(&demo::banner(&ports, &program))?;
        stop.await;
        app.stop().await;
        assistant.abort();
        Ok(ExitCode::SUCCESS)
    })
}

fn check(path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let path = config_path(path);
    match config::load(&path) {
        Ok(Loaded { warnings, config }) => {
            warnings
                .iter()
                .for_each(|warning| eprintln!("weir: warning: {warning}"));
            say(&format!(
                "{}: right; routes: {}, backends: {}",
                path.display(),
                config.routes.len(),
                config.backends.len()
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(mistakes) => {
            eprintln!("{mistakes}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn rules(path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let loaded = match path {
        Some(path) => load(Some(path))?,
        None => config::defaults().map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?,
    };
    match alert::rules::render(&loaded.config.alerts) {
        Ok(text) => {
            say(text.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refused) => {
            refused
                .iter()
                .for_each(|refused| eprintln!("weir: {refused}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn schema() -> anyhow::Result<ExitCode> {
    say(&serde_json::to_string_pretty(&config::schema())?)?;
    Ok(ExitCode::SUCCESS)
}

fn sign(
    scheme: &str,
    secret: &str,
    at: Option<u64>,
    id: Option<String>,
    body: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let body = match body {
        None => Vec::new(),
        Some(path) if path == Path::new("-") => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .context("cannot read standard input")?;
            bytes
        }
        Some(path) => {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
        }
    };
    let at = at.unwrap_or_else(|| clock::unix_now().as_secs());
    let id = id.unwrap_or_else(|| ulid::Ulid::generate().to_string());
    let headers = signature::sign::sign(scheme, secret, at, &id, &body)
        .map_err(|what| anyhow::anyhow!("{what}"))?;
    for (name, value) in headers {
        say(&format!("{name}: {value}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn verify_audit(config: Option<&Path>, file: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let path = match file {
        Some(file) => file,
        None => {
            let loaded = load(config)?;
            let audit = loaded.config.events.audit;
            let path = audit.map(|audit| audit.path);
            path.context("the configuration has no `events.audit`; name the log itself")?
        }
    };
    let report = weir::audit::verify::verify(&path)
        .with_context(|| format!("cannot read the audit log {}", path.display()))?;
    for fault in &report.faults {
        eprintln!("{fault}");
    }
    let told = format!(
        "{}: {} lines in {} files, from {} to {}, last hash {}",
        path.display(),
        report.lines,
        report.files,
        report.first,
        report.last,
        report.hash
    );
    if report.faults.is_empty() {
        say(&format!("{told}: whole"))?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "{told}: NOT WHOLE, faults: {}",
        report.faults.len()
    ))?;
    Ok(ExitCode::FAILURE)
}

fn run_assistant(arguments: AssistantArguments) -> anyhow::Result<ExitCode> {
    block_on(async {
        let stop = stop_signal()?;
        let listener = tokio::net::TcpListener::bind(arguments.address)
            .await
            .with_context(|| format!("cannot listen on {}", arguments.address))?;
        eprintln!("weir: assistant on {}", listener.local_addr()?);
        let options = assistant::Options::from(&arguments.behaviour);
        assistant::serve(options, listener, stop).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn config_path(path: Option<&Path>) -> PathBuf {
    let here = Path::new("weir.yaml");
    let system = Path::new("/etc/weir/weir.yaml");
    match path {
        Some(path) => path.to_owned(),
        None if here.exists() => here.to_owned(),
        // What is missing is told by the name that a first user would give it.
        None if !system.exists() => here.to_owned(),
        None => system.to_owned(),
    }
}

fn load(path: Option<&Path>) -> anyhow::Result<Loaded> {
    let loaded =
        config::load(&config_path(path)).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    loaded
        .warnings
        .iter()
        .for_each(|warning| eprintln!("weir: warning: {warning}"));
    Ok(loaded)
}

fn announce(app: &App) {
    for (address, scheme) in &app.addresses {
        eprintln!("weir: listening on {address} ({})", scheme.as_str());
    }
    eprintln!("weir: admin on {}", app.admin);
    eprintln!("weir: ready");
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future)
}

/// Ends at SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log::info!("stopping");
    })
}
