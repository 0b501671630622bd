//! The arguments of the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use weir::app::HandoverStart;
use weir::assistant;
use weir::units;

#[derive(Parser)]
#[command(
    name = "weir",
    version,
    about = "A sidecar reverse proxy for AI assistants: signatures, rate limits, cache, metrics and alerts"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the proxy.
    Run {
        /// Configuration file [default: ./weir.yaml, else /etc/weir/weir.yaml].
        #[arg(long)]
        config: Option<PathBuf>,
        /// Take over from a running weir, without an interruption: wait until that one receives SIGQUIT, or begin now.
        #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "signal")]
        upgrade: Option<UpgradeStart>,
    },
    /// Replace a running weir by a new process, without an interruption, and exit when that one serves.
    ///
    /// The new process has this binary and the current configuration. If it cannot start, the running one goes on.
    Upgrade {
        /// Configuration file [default: ./weir.yaml, else /etc/weir/weir.yaml].
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Run the proxy with a demo assistant, and print commands to try.
    Demo(DemoArguments),
    /// Validate a configuration and report all errors at once.
    Check(CheckArguments),
    /// Print the alerts of a configuration as Prometheus rules.
    Rules {
        /// Configuration file [default: the built-in rules].
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Sign a request and print its headers.
    ///
    /// The secret is read from --secret-file, else from --secret, else from the environment variable WEIR_SECRET. Every
    /// user who can list the processes of the machine can see a secret on the command line.
    Sign(SignArguments),
    /// Inspect the audit log.
    Audit {
        #[command(subcommand)]
        what: AuditCommand,
    },
    /// Run the demo assistant alone.
    Assistant(AssistantArguments),
    /// Print a completion script for a shell: `source <(weir completions bash)`.
    Completions { shell: clap_complete::Shell },
}

/// When a running weir hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UpgradeStart {
    /// When it receives SIGQUIT.
    Signal,
    /// At once.
    Now,
}

impl From<UpgradeStart> for HandoverStart {
    fn from(start: UpgradeStart) -> Self {
        match start {
            UpgradeStart::Signal => HandoverStart::Signal,
            UpgradeStart::Now => HandoverStart::Now,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Verify that no line was changed or removed, and name those that were.
    Verify {
        /// Configuration file that names the log [default: ./weir.yaml, else /etc/weir/weir.yaml].
        #[arg(long)]
        config: Option<PathBuf>,
        /// The log itself, with its rotated files and its head in the same folder.
        #[arg(conflicts_with = "config")]
        file: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
pub(crate) struct CheckArguments {
    /// Configuration file [default: ./weir.yaml, else /etc/weir/weir.yaml].
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// Configuration file, same as --config.
    #[arg(conflicts_with = "config")]
    pub(crate) file: Option<PathBuf>,
    /// Output format: text, or JSON on standard output.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub(crate) format: OutputFormat,
    /// Exit with code 1 on warnings, too.
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Text,
    Json,
}

#[derive(clap::Args)]
pub(crate) struct SignArguments {
    /// Signature scheme, such as hmac or bearer.
    #[arg(long)]
    pub(crate) scheme: String,
    /// The secret; prefer --secret-file or the environment variable WEIR_SECRET.
    #[arg(long, conflicts_with = "secret_file")]
    pub(crate) secret: Option<String>,
    /// File with the secret; a trailing newline is ignored.
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Time of the signature in Unix seconds [default: now].
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub(crate) at: Option<u64>,
    /// Id or nonce of the request [default: a new one].
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// File with the body, or - for standard input [default: no body].
    #[arg(long, value_name = "FILE|-")]
    pub(crate) body: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct DemoArguments {
    /// Ports N, N+1 and N+2 for proxy, admin and assistant instead of 8080, 8081 and 8000.
    #[arg(long, value_name = "N")]
    pub(crate) port_base: Option<u16>,
    /// Ship events to this Elasticsearch, such as http://127.0.0.1:9200.
    #[arg(long, value_name = "URL")]
    pub(crate) elasticsearch: Option<String>,
    /// Print the configuration of the demo, which the load tester accepts, and exit.
    #[arg(long)]
    pub(crate) print_config: bool,
    #[command(flatten)]
    pub(crate) behaviour: Behaviour,
}

#[derive(clap::Args)]
pub(crate) struct AssistantArguments {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub(crate) address: std::net::SocketAddr,
    #[command(flatten)]
    pub(crate) behaviour: Behaviour,
}

/// How the demo assistant responds.
#[derive(clap::Args)]
pub(crate) struct Behaviour {
    /// Time before a response begins.
    #[arg(long, default_value = "120ms", value_parser = units::duration)]
    pub(crate) latency: Duration,
    /// Random variation of the latency, in both directions.
    #[arg(long, default_value = "30ms", value_parser = units::duration)]
    pub(crate) jitter: Duration,
    /// Share of calls that fail with 500 or 503.
    #[arg(long, default_value = "0%", value_parser = units::ratio)]
    pub(crate) error_rate: f64,
    /// Tokens per response, unless the request asks for fewer.
    #[arg(long, default_value_t = 64)]
    pub(crate) tokens: u32,
    /// Time between two tokens of a stream.
    #[arg(long, default_value = "20ms", value_parser = units::duration)]
    pub(crate) token_interval: Duration,
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
