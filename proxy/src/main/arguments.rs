//! What the command line takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use weir::assistant;
use weir::units;

#[derive(Parser)]
#[command(
    name = "weir",
    version,
    about = "A sidecar that makes a production service of an AI assistant"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the proxy.
    Run {
        /// The configuration; weir.yaml here, else /etc/weir/weir.yaml.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Run proxy and stand-in assistant together, with things to try.
    Demo(DemoArguments),
    /// Say whether a configuration is valid, with every mistake at once.
    Check(CheckArguments),
    /// Print the alerts of a configuration as rules of Prometheus.
    Rules {
        /// Without a file: those of the defaults.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Sign a request: prints the headers it needs.
    ///
    /// The secret comes from --secret-file, else from --secret, else from the variable WEIR_SECRET. What stands on
    /// the command line is seen by everybody who may list the processes of the machine.
    Sign(SignArguments),
    /// Look at the audit log.
    Audit {
        #[command(subcommand)]
        what: AuditCommand,
    },
    /// Run the stand-in assistant alone.
    Assistant(AssistantArguments),
    /// Print what makes a shell complete the commands: `source <(weir completions bash)`.
    Completions { shell: clap_complete::Shell },
}

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
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
pub(crate) struct CheckArguments {
    /// The configuration; weir.yaml here, else /etc/weir/weir.yaml.
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// The same as --config FILE.
    #[arg(conflicts_with = "config")]
    pub(crate) file: Option<PathBuf>,
    /// For people, or as JSON on the standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// A warning ends with exit code 1, too.
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

#[derive(clap::Args)]
pub(crate) struct SignArguments {
    #[arg(long)]
    pub(crate) scheme: String,
    /// The secret itself; better --secret-file or the variable WEIR_SECRET.
    #[arg(long, conflicts_with = "secret_file")]
    pub(crate) secret: Option<String>,
    /// A file with the secret; the end of its last line is no part of it.
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Unix seconds; now by default.
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub(crate) at: Option<u64>,
    /// The request's id, or the nonce; a new one by default.
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// A file with the body, or - for standard input; no body by default.
    #[arg(long, value_name = "FILE|-")]
    pub(crate) body: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct DemoArguments {
    /// Proxy, admin and assistant listen on N, N+1 and N+2 instead of 8080, 8081 and 8000.
    #[arg(long, value_name = "N")]
    pub(crate) port_base: Option<u16>,
    /// Ships the events there, too: http://127.0.0.1:9200.
    #[arg(long, value_name = "URL")]
    pub(crate) elasticsearch: Option<String>,
    /// Print the demo's configuration, as the load tester takes it, and end.
    #[arg(long)]
    pub(crate) print_config: bool,
    #[command(flatten)]
    pub(crate) behaviour: Behaviour,
}

#[derive(clap::Args)]
pub(crate) struct AssistantArguments {
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub(crate) address: std::net::SocketAddr,
    #[command(flatten)]
    pub(crate) behaviour: Behaviour,
}

/// How the stand-in assistant answers.
#[derive(clap::Args)]
pub(crate) struct Behaviour {
    #[arg(long, default_value = "120ms", value_parser = units::duration)]
    pub(crate) latency: Duration,
    #[arg(long, default_value = "30ms", value_parser = units::duration)]
    pub(crate) jitter: Duration,
    #[arg(long, default_value = "0%", value_parser = units::ratio)]
    pub(crate) error_rate: f64,
    #[arg(long, default_value_t = 64)]
    pub(crate) tokens: u32,
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
