//! Builds a weir.yaml: the parts that a test needs, and minimal defaults.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::backend::Backend;
use crate::certs::Files;
use crate::fault_proxy::FaultProxy;
use crate::process::{self, Process};
use crate::proxy::Proxy;

/// One route for everything, without checks.
pub const OPEN: &str = "- {name: all, path: /*, backend: assistant}";

/// One route for everything that buffers request bodies; without a stage that reads them, bodies may be passed through.
pub const BUFFERED: &str = "- {name: all, path: /*, backend: assistant, \
                        cache: {answers: true, memory: 1MiB, ttl: 1h, scope: route}}";

/// The settings of a proxy. Ports are chosen by the system, and events go to a file of its own.
#[derive(Clone, Debug)]
pub struct Setup {
    listen: String,
    limits: Vec<String>,
    admin: Vec<String>,
    backends: String,
    routes: String,
    events: Vec<String>,
    top: Vec<String>,
    environment: Vec<(String, String)>,
    open_files: Option<u32>,
}

impl Setup {
    /// One backend, named `assistant`; no route yet.
    #[must_use]
    pub fn new(backend: &Backend) -> Self {
        Self::without_backend().backend("assistant", &[backend.url()], &[])
    }

    /// One backend and one route for everything.
    #[must_use]
    pub fn open(backend: &Backend) -> Self {
        Self::new(backend).routes(OPEN)
    }

    /// As [`Setup::open`], with a fault proxy in front of the backend. Nothing is retried: a test sees what one attempt
    /// comes to.
    #[must_use]
    pub fn behind(faults: &FaultProxy) -> Self {
        Self::without_backend()
            .backend("assistant", &[faults.url()], &["retry: {attempts: 1}"])
            .routes(OPEN)
    }

    /// One backend, and one route for everything that buffers request bodies.
    #[must_use]
    pub fn buffered(backend: &Backend) -> Self {
        Self::new(backend).routes(BUFFERED)
    }

    #[must_use]
    pub fn without_backend() -> Self {
        Setup {
            listen: "- address: 127.0.0.1:0\n".to_owned(),
            limits: Vec::new(),
            admin: vec!["address: 127.0.0.1:0".to_owned()],
            backends: String::new(),
            routes: String::new(),
            events: Vec::new(),
            top: Vec::new(),
            environment: Vec::new(),
            open_files: None,
        }
    }

    /// Adds a backend; `options` are its other keys, one a line.
    #[must_use]
    pub fn backend(mut self, name: &str, endpoints: &[String], options: &[&str]) -> Self {
        let endpoints = endpoints.join(", ");
        let _ = writeln!(
            self.backends,
            "- name: {name}\n  endpoints: [{endpoints}]\n  {}",
            options.join("\n  ")
        );
        self
    }

    /// Adds options to the last backend.
    #[must_use]
    pub fn backend_options(mut self, options: &[&str]) -> Self {
        for option in options {
            let _ = writeln!(self.backends, "  {option}");
        }
        self
    }

    /// Adds list items of `routes`, in their order.
    #[must_use]
    pub fn routes(mut self, items: &str) -> Self {
        self.routes.push_str(items.trim_end());
        self.routes.push('\n');
        self
    }

    /// Adds one key of `limits`.
    #[must_use]
    pub fn limit(mut self, line: &str) -> Self {
        self.limits.push(line.to_owned());
        self
    }

    /// Adds one key of `events`.
    #[must_use]
    pub fn events(mut self, line: &str) -> Self {
        self.events.push(line.to_owned());
        self
    }

    /// Adds a top-level line: `shutdown: {drain: 1s}`.
    #[must_use]
    pub fn top(mut self, line: &str) -> Self {
        self.top.push(line.to_owned());
        self
    }

    #[must_use]
    pub fn admin_token(mut self, token: &str) -> Self {
        self.admin.push(format!("token: {token}"));
        self
    }

    /// Adds an address with TLS.
    #[must_use]
    pub fn tls(mut self, files: &Files) -> Self {
        let _ = writeln!(
            self.listen,
            "- address: 127.0.0.1:0\n  tls: {{certificate: {}, key: {}}}",
            files.certificate.display(),
            files.key.display()
        );
        self
    }

    /// Replaces the listen addresses.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = format!("- address: {address}\n");
        self
    }

    /// Replaces the admin address.
    #[must_use]
    pub fn admin_address(mut self, address: &str) -> Self {
        self.admin = vec![format!("address: {address}")];
        self
    }

    /// Sets an environment variable of the child.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the soft and the hard limit of open files.
    #[must_use]
    pub fn open_files(mut self, count: u32) -> Self {
        self.open_files = Some(count);
        self
    }

    /// The file, with its data in `directory`.
    #[must_use]
    pub fn yaml(&self, directory: &Path) -> String {
        let data = directory.join("data");
        let data = data.display();
        let mut text = String::new();
        section(&mut text, "listen", &self.listen);
        section(&mut text, "limits", &self.limits.join("\n"));
        section(&mut text, "admin", &self.admin.join("\n"));
        section(&mut text, "backends", &self.backends);
        section(&mut text, "routes", &self.routes);
        let mut events = self.events.clone();
        if !events.iter().any(|line| line.starts_with("file:")) {
            events.push(format!("file: {{path: {data}/events.ndjson}}"));
        }
        section(&mut text, "events", &events.join("\n"));
        for line in &self.top {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Starts the proxy and waits until it is ready.
    ///
    /// # Panics
    /// It ends or does not become ready; with its output.
    pub async fn start(&self) -> Proxy {
        let directory = TempDir::new().expect("a temporary directory");
        let process = self.spawn(directory.path());
        Proxy::ready(process, directory).await
    }

    /// Starts the process without waiting.
    ///
    /// # Panics
    /// The file cannot be written, or the binary cannot be started.
    #[must_use]
    pub fn spawn(&self, directory: &Path) -> Process {
        let file = self.write(directory);
        let file = file.to_str().expect("a path in UTF-8");
        if let Some(count) = self.open_files {
            let limited = format!("ulimit -n {count} && exec \"$@\"");
            let weir = process::weir();
            let weir = weir.to_str().expect("a path in UTF-8");
            let arguments = ["-c", &limited, "sh", weir, "run", "--config", file];
            return Process::program(Path::new("/bin/sh"), directory, &arguments);
        }
        Process::start(
            directory,
            &["run", "--config", file],
            &self.environment,
            b"",
        )
    }
}

impl Setup {
    /// Starts a process that waits to take over from the one that runs in `directory`, with these settings.
    ///
    /// # Panics
    /// As [`Setup::spawn`].
    #[must_use]
    pub fn spawn_successor(&self, directory: &Path) -> Process {
        let file = self.write(directory);
        let file = file.to_str().expect("a path in UTF-8");
        let arguments = ["run", "--upgrade", "--config", file];
        Process::start(directory, &arguments, &self.environment, b"")
    }

    fn write(&self, directory: &Path) -> PathBuf {
        let file = directory.join("weir.yaml");
        std::fs::write(&file, self.yaml(directory)).expect("weir.yaml is written");
        file
    }
}

fn section(text: &mut String, name: &str, content: &str) {
    if content.trim().is_empty() {
        return;
    }
    let _ = writeln!(text, "{name}:");
    for line in content.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(text, "  {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_contains_only_the_given_settings() {
        let setup = Setup::without_backend()
            .backend(
                "assistant",
                &["http://127.0.0.1:9".to_owned()],
                &["connect_timeout: 1s"],
            )
            .routes(OPEN)
            .limit("connections: 5")
            .top("shutdown: {drain: 1s}");
        let expected = "\
listen:
  - address: 127.0.0.1:0
limits:
  connections: 5
admin:
  address: 127.0.0.1:0
backends:
  - name: assistant
    endpoints: [http://127.0.0.1:9]
    connect_timeout: 1s
routes:
  - {name: all, path: /*, backend: assistant}
events:
  file: {path: /x/data/events.ndjson}
shutdown: {drain: 1s}
";
        assert_eq!(setup.yaml(Path::new("/x")), expected);
    }
}
