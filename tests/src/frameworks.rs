//! Real web frameworks of Python and Node, each with one handler, to test weir in front of.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::node;
use crate::process::{self, Process};
use crate::wait;

/// The response of the handler at [`crate::client::CHAT`].
pub const RESPONSE: &str = "answered by the protected handler";

/// Importing all frameworks may be slow on a cold or busy machine.
const START: Duration = Duration::from_secs(120);

/// Running servers of a language; killed when dropped.
#[derive(Debug)]
pub struct Frameworks {
    /// The name and the address of each server.
    pub servers: Vec<(String, SocketAddr)>,
    _process: Process,
    _directory: TempDir,
}

impl Frameworks {
    /// FastAPI, Flask and Django; `None` if they are not installed, with a message.
    ///
    /// # Panics
    /// They are not installed and `CI=true`, or do not start.
    pub async fn of_python(test: &str) -> Option<Self> {
        let modules = installed("python");
        Self::start(
            test,
            "python3",
            "python.py",
            &format!("PYTHONPATH={}", modules.display()),
        )
        .await
    }

    /// Express and Koa; `None` if they are not installed, with a message.
    ///
    /// # Panics
    /// They are not installed and `CI=true`, or do not start.
    pub async fn of_node(test: &str) -> Option<Self> {
        let modules = installed("node").join("node_modules");
        Self::start(
            test,
            "node",
            "node.cjs",
            &format!("NODE_PATH={}", modules.display()),
        )
        .await
    }

    async fn start(test: &str, program: &str, script: &str, modules: &str) -> Option<Self> {
        let is_there = modules
            .split_once('=')
            .is_some_and(|(_, folder)| Path::new(folder).is_dir());
        let (Some(_), true) = (process::tool(program), is_there) else {
            node::skip(
                test,
                &format!("{program} or its frameworks are missing, see build/setup.sh"),
            );
            return None;
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("frameworks")
            .join(script);
        let directory = TempDir::new().expect("a temporary directory");
        let arguments = [modules, program, script.to_str().expect("a path in UTF-8")];
        let process = Process::program(Path::new("/usr/bin/env"), directory.path(), &arguments);
        let output = wait::found("the frameworks", START, || {
            let exit = process.exit();
            assert!(
                exit.is_none(),
                "they ended with {exit:?}: {}",
                process.stderr()
            );
            let output = process.stdout();
            output.ends_with("ready\n").then_some(output)
        })
        .await;
        let servers = output.lines().filter_map(|line| {
            let (name, port) = line.split_once(' ')?;
            let port: u16 = port.parse().expect("a port");
            Some((name.to_owned(), SocketAddr::from(([127, 0, 0, 1], port))))
        });
        Some(Frameworks {
            servers: servers.collect(),
            _process: process,
            _directory: directory,
        })
    }
}

fn installed(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../.tools/frameworks")
        .join(language)
}
