//! Real client libraries of OpenAI and Anthropic, which send streaming requests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::node;
use crate::process::{self, Process};

/// Longer than a few hundred responses take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client library of a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    OpenAi,
    OpenAiAsync,
    OpenAiResponses,
    OpenAiNode,
    Anthropic,
}

impl Sdk {
    /// Sends `count` different prompts to `address`, and returns the texts of the responses. `None` if the library is not
    /// installed, with a message.
    ///
    /// # Panics
    /// A response is incomplete, or the library is not installed and `CI=true`.
    pub async fn send(self, address: SocketAddr, count: usize) -> Option<Vec<String>> {
        self.send_with_retries(address, count, 0).await
    }

    /// As [`Sdk::send`], with this many retries, which only the library for Node supports.
    ///
    /// # Panics
    /// As [`Sdk::send`].
    pub async fn send_with_retries(
        self,
        address: SocketAddr,
        count: usize,
        retries: usize,
    ) -> Option<Vec<String>> {
        let (program, modules) = (self.program(), self.modules());
        if process::tool(program).is_none() || !modules.is_dir() {
            let reason = format!("{program} or a client of it is missing, see build/setup.sh");
            node::skip(&format!("{self:?}"), &reason);
            return None;
        }
        let (address, count) = (format!("http://{address}"), count.to_string());
        let sdks = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdks");
        let script = |name: &str| {
            sdks.join(name)
                .to_str()
                .expect("a path in UTF-8")
                .to_owned()
        };
        let arguments: Vec<String> = match self.name() {
            None => vec![
                format!("NODE_PATH={}", modules.display()),
                program.to_owned(),
                script("node.cjs"),
                address,
                count,
                retries.to_string(),
            ],
            Some(name) => vec![
                format!("PYTHONPATH={}", modules.display()),
                program.to_owned(),
                script("python.py"),
                name.to_owned(),
                address,
                count,
            ],
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let directory = TempDir::new().expect("a temporary directory");
        let process = Process::program(Path::new("/usr/bin/env"), directory.path(), &arguments);
        let ended = process.finished(PATIENCE).await;
        assert_eq!(ended.code, Some(0), "{self:?}: {}", ended.stderr);
        Some(ended.stdout.lines().map(str::to_owned).collect())
    }

    fn program(self) -> &'static str {
        match self {
            Sdk::OpenAiNode => "node",
            _ => "python3",
        }
    }

    /// Its name in `python.py`.
    fn name(self) -> Option<&'static str> {
        match self {
            Sdk::OpenAi => Some("openai"),
            Sdk::OpenAiAsync => Some("openai-async"),
            Sdk::OpenAiResponses => Some("openai-responses"),
            Sdk::Anthropic => Some("anthropic"),
            Sdk::OpenAiNode => None,
        }
    }

    fn modules(self) -> PathBuf {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools");
        match self {
            Sdk::OpenAi | Sdk::OpenAiAsync | Sdk::OpenAiResponses => tools.join("openai"),
            Sdk::Anthropic => tools.join("sdks/python"),
            Sdk::OpenAiNode => tools.join("sdks/node/node_modules"),
        }
    }
}
