//! A real Redis, from Debian's package.

use std::cell::{Cell, RefCell};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::certs::{Authority, Files};
use crate::node;
use crate::process::{self, Process};
use crate::wait;

/// The password of a Redis that requires one.
pub const PASSWORD: &str = "r3dis-secret";

/// How a Redis is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    tls: Option<(Files, PathBuf)>,
    password: Option<&'static str>,
}

/// A Redis on a port that no other process uses; killed when dropped.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    options: Options,
    process: RefCell<Process>,
    is_stopped: Cell<bool>,
    directory: TempDir,
}

impl Options {
    /// Connections need TLS, and the password.
    ///
    /// # Panics
    /// The files cannot be written.
    #[must_use]
    pub fn secured(authority: &Authority, directory: &TempDir) -> Self {
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, authority.pem()).expect("the file of the authority");
        Options {
            tls: Some((authority.issue(directory.path()), ca_file)),
            password: Some(PASSWORD),
        }
    }

    fn arguments(&self, port: u16) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
                .map(str::to_owned)
                .into();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        match &self.tls {
            Some((files, ca_file)) => {
                add("--port", "0".to_owned());
                add("--tls-port", port.to_string());
                add("--tls-cert-file", files.certificate.display().to_string());
                add("--tls-key-file", files.key.display().to_string());
                add("--tls-ca-cert-file", ca_file.display().to_string());
                add("--tls-auth-clients", "no".to_owned());
            }
            None => add("--port", port.to_string()),
        }
        if let Some(password) = self.password {
            add("--requirepass", password.to_owned());
        }
        arguments
    }
}

impl Redis {
    /// Starts a Redis. `None` if it is not installed: the test is skipped, with a message on stderr.
    ///
    /// # Panics
    /// It is not installed and `CI=true`, or it does not start.
    pub async fn start(test: &str) -> Option<Self> {
        Redis::start_with(test, Options::default()).await
    }

    /// As [`Redis::start`], with these options.
    ///
    /// # Panics
    /// As [`Redis::start`].
    pub async fn start_with(test: &str, options: Options) -> Option<Self> {
        if process::tool("redis-server").is_none() || process::tool("redis-cli").is_none() {
            node::skip(test, "redis-server is missing, see build/setup.sh");
            return None;
        }
        let directory = TempDir::new().expect("a temporary directory");
        // Another process may take the port before Redis does.
        for _ in 0..10 {
            let port = free_port();
            let process = spawn(&directory, &options, port, &[]);
            if is_ready(&process).await {
                return Some(Redis {
                    port,
                    options,
                    process: RefCell::new(process),
                    is_stopped: Cell::new(false),
                    directory,
                });
            }
        }
        panic!("no port for Redis");
    }

    /// The line of `weir.yaml`; `rest` are further keys.
    #[must_use]
    pub fn line(&self, rest: &str) -> String {
        format!("redis: {{url: \"{}\"{rest}}}", self.url())
    }

    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() {
            "rediss"
        } else {
            "redis"
        };
        let user = match self.options.password {
            Some(password) => format!(":{password}@"),
            None => String::new(),
        };
        format!("{scheme}://{user}localhost:{}/0", self.port)
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it: connections break off, and new ones are refused.
    pub fn kill(&self) {
        self.process.borrow().kill();
        self.is_stopped.set(true);
    }

    /// Starts it again after [`Redis::kill`], empty, on the same port.
    ///
    /// # Panics
    /// It does not start.
    pub async fn restart(&self) {
        let process = spawn(&self.directory, &self.options, self.port, &[]);
        assert!(is_ready(&process).await, "{}", process.stdout());
        self.process.replace(process);
        self.is_stopped.set(false);
    }

    /// Starts it again after [`Redis::kill`] with what `SAVE` has saved, which takes 50 ms a key to load.
    ///
    /// # Panics
    /// It does not start.
    pub async fn restart_loading(&self) {
        let slow = [
            "--key-load-delay",
            "50000",
            "--loading-process-events-interval-bytes",
            "1024",
        ];
        let process = spawn(&self.directory, &self.options, self.port, &slow);
        wait::eventually("a Redis that loads", wait::PATIENCE, || {
            process.stdout().contains("Loading RDB")
        })
        .await;
        self.process.replace(process);
        self.is_stopped.set(false);
    }

    /// It hangs from now on: connections are open, and nothing is read or answered.
    pub fn hang(&self) {
        self.process.borrow().sigstop();
    }

    /// Ends [`Redis::hang`].
    pub fn go_on(&self) {
        self.process.borrow().sigcont();
    }

    /// Runs a command, and returns its reply.
    ///
    /// # Panics
    /// It fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(process::tool("redis-cli").expect("it has been found"));
        command.args(["-h", "localhost", "-p", &self.port.to_string(), "--raw"]);
        if let Some((_, ca_file)) = &self.options.tls {
            command.arg("--tls").arg("--cacert").arg(ca_file);
        }
        if let Some(password) = self.options.password {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command.args(arguments).output().expect("redis-cli runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .expect("UTF-8")
            .trim_end()
            .to_owned()
    }

    /// The names of all keys that match a pattern.
    #[must_use]
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        let reply = self.run(&["KEYS", pattern]);
        reply.lines().map(str::to_owned).collect()
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn spawn(directory: &TempDir, options: &Options, port: u16, others: &[&str]) -> Process {
    let program = process::tool("redis-server").expect("it has been found");
    let arguments = options.arguments(port);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(others);
    Process::program(&program, directory.path(), &arguments)
}

/// Waits until it accepts connections, or has ended.
async fn is_ready(process: &Process) -> bool {
    wait::found("a Redis that is ready", wait::PATIENCE, || {
        if process.stdout().contains("Ready to accept connections") {
            return Some(true);
        }
        process.exit().map(|_| false)
    })
    .await
}
