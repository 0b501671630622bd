//! The command line: one function per command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use tokio::signal::unix::{self, SignalKind};
use weir::app::{App, HandoverOutcome};
use weir::config::file::OpenedConfig;
use weir::config::{self, ConfigError};
use weir::system::memory;
use weir::{alert, assistant, demo};

use arguments::{Arguments, AssistantArguments, AuditCommand, Command, DemoArguments};
use terminal::{note, say};

#[path = "main/arguments.rs"]
mod arguments;
#[path = "main/check.rs"]
mod check;
#[path = "main/sign.rs"]
mod sign;
#[path = "main/supervisor.rs"]
mod supervisor;
#[path = "main/terminal.rs"]
mod terminal;
#[path = "main/upgrade.rs"]
mod upgrade;

/// A request makes many short-lived allocations, for which mimalloc is faster than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::disable_huge_pages();
    terminal::start_log();
    let outcome = match Arguments::parse().command {
        Command::Run { config, upgrade } => match upgrade {
            None => run(config.as_deref()),
            Some(start) => upgrade::run(config.as_deref(), start.into()),
        },
        Command::Upgrade { config } => upgrade::upgrade(config.as_deref()),
        Command::Demo(arguments) => run_demo(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Rules { config } => rules(config.as_deref()),
        Command::Schema => schema(),
        Command::Sign(arguments) => sign::sign(arguments),
        Command::Audit {
            what: AuditCommand::Verify { config, file },
        } => verify_audit(config.as_deref(), file),
        Command::Assistant(arguments) => run_assistant(&arguments),
        Command::Completions { shell } => completions(shell),
    };
    outcome.unwrap_or_else(|error| {
        match error.downcast_ref::<ConfigError>() {
            // Editors find FILE:LINE:COLUMN at the beginning of a line.
            Some(error) => note(error),
            None => note(format_args!("weir: {error:#}")),
        }
        ExitCode::FAILURE
    })
}

fn run(path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let opened = load(path)?;
    block_on(async {
        // Signals are registered before any port is opened, so that none is lost.
        let signals = Signals::register()?;
        let app = App::start_from(opened)?;
        announce(&app);
        serve(app, signals).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Until a signal, or a successor, ends this process.
async fn serve(mut app: App, mut signals: Signals) {
    loop {
        let received = tokio::select! {
            received = signals.next() => received,
            () = app.upgrade_requested() => ReceivedSignal::Quit,
        };
        match received {
            // It is logged when it is done.
            ReceivedSignal::Hangup => drop(app.reload()),
            ReceivedSignal::Quit => {
                if let HandoverOutcome::Done { successor } = app.hand_over() {
                    if let Some(successor) = successor {
                        supervisor::replaced_by(successor);
                    }
                    break;
                }
            }
            ReceivedSignal::Stop => {
                log::info!("stopping");
                supervisor::stopping();
                break;
            }
        }
    }
    app.stop().await;
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
        let signals = Signals::register()?;
        let assistant = demo::start_assistant(&ports, (&arguments.behaviour).into()).await?;
        let app = App::start(&loaded.config)?;
        announce(&app);
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("weir"));
        if let Err(error) = say(&demo::banner(&ports, &program)) {
            log::warn!("cannot print the banner: {error:#}");
        }
        signals.stop().await;
        app.stop().await;
        assistant.abort();
        Ok(ExitCode::SUCCESS)
    })
}

fn rules(path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let loaded = match path {
        Some(path) => load(Some(path))?.loaded,
        None => config::defaults()?,
    };
    match alert::rules::render(&loaded.config.alerts) {
        Ok(text) => {
            say(text.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            for error in errors {
                note(format_args!("weir: {error}"));
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

fn schema() -> anyhow::Result<ExitCode> {
    say(&serde_json::to_string_pretty(&config::schema())?)?;
    Ok(ExitCode::SUCCESS)
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "weir", &mut script);
    say(String::from_utf8(script)?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn verify_audit(config: Option<&Path>, file: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let path = match file {
        Some(file) => file,
        None => {
            let loaded = load(config)?.loaded;
            let audit = loaded.config.audit;
            let path = audit.map(|audit| audit.path);
            path.context(
                "the configuration has no `events.audit`; pass the path of the log instead",
            )?
        }
    };
    let report = weir::audit::verify::verify(&path)
        .with_context(|| format!("cannot read the audit log {}", path.display()))?;
    for fault in &report.faults {
        note(fault);
    }
    say(&format!("{}: {report}", path.display()))?;
    Ok(match report.faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn run_assistant(arguments: &AssistantArguments) -> anyhow::Result<ExitCode> {
    block_on(async {
        let signals = Signals::register()?;
        let listener = tokio::net::TcpListener::bind(arguments.address)
            .await
            .with_context(|| format!("cannot listen on {}", arguments.address))?;
        note(format_args!(
            "weir: assistant on {}",
            listener.local_addr()?
        ));
        let options = assistant::Options::from(&arguments.behaviour);
        assistant::serve(options, listener, signals.stop()).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn load(path: Option<&Path>) -> anyhow::Result<OpenedConfig> {
    let opened = config::find(path).and_then(config::file::open)?;
    for warning in &opened.loaded.warnings {
        note(format_args!("weir: warning: {warning}"));
    }
    Ok(opened)
}

fn announce(app: &App) {
    for (address, scheme) in &app.addresses {
        note(format_args!(
            "weir: listening on {address} ({})",
            scheme.as_str()
        ));
    }
    note(format_args!("weir: admin on {}", app.admin));
    note("weir: ready");
    supervisor::ready();
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future)
}

/// A signal that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReceivedSignal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Hangup,
    /// SIGQUIT.
    Quit,
}

/// The signals that are handled.
struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    quit: unix::Signal,
}

impl Signals {
    fn register() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
            quit: unix::signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> ReceivedSignal {
        tokio::select! {
            _ = self.terminate.recv() => ReceivedSignal::Stop,
            _ = self.interrupt.recv() => ReceivedSignal::Stop,
            _ = self.hangup.recv() => ReceivedSignal::Hangup,
            _ = self.quit.recv() => ReceivedSignal::Quit,
        }
    }

    /// For what has no configuration to reload and no successor: SIGHUP stops it as well, since its terminal was closed.
    async fn stop(mut self) {
        self.next().await;
        log::info!("stopping");
    }
}
