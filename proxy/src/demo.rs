//! `weir demo`: proxy and stand-in assistant in one process, and a banner of things to try.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::assistant;
use crate::config::{self, Loaded};

const CONFIG: &str = include_str!("demo/weir.yaml");
const BANNER: &str = include_str!("demo/banner.txt");

/// Where the three parts listen.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub proxy: u16,
    pub admin: u16,
    pub assistant: u16,
}

impl Ports {
    /// 8080, 8081 and 8000; with a base N, N+1, N+2.
    #[must_use]
    pub fn new(base: Option<u16>) -> Self {
        match base {
            None => Ports {
                proxy: 8080,
                admin: 8081,
                assistant: 8000,
            },
            Some(base) => Ports {
                proxy: base,
                admin: base.saturating_add(1),
                assistant: base.saturating_add(2),
            },
        }
    }

    fn fill(self, template: &str) -> String {
        template
            .replace("{proxy}", &self.proxy.to_string())
            .replace("{admin}", &self.admin.to_string())
            .replace("{assistant}", &self.assistant.to_string())
    }
}

/// The demo's configuration.
///
/// # Errors
/// None in practice: a test checks it.
pub fn config(ports: &Ports) -> anyhow::Result<Loaded> {
    config::parse(&ports.fill(CONFIG), Path::new("demo.yaml"), &|_| None)
        .map_err(|mistakes| anyhow::anyhow!("{mistakes}"))
}

/// Starts the stand-in assistant.
///
/// # Errors
/// Its address is in use.
pub async fn start_assistant(ports: &Ports) -> anyhow::Result<JoinHandle<()>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.assistant));
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} (assistant); try --port-base 18080")
    })?;
    let serving = assistant::serve(
        assistant::Options::default(),
        listener,
        std::future::pending(),
    );
    Ok(tokio::spawn(serving))
}

/// What is printed when all is running: every command in it can be pasted. `program` is how this
/// program is called.
#[must_use]
pub fn banner(ports: &Ports, program: &Path) -> String {
    ports
        .fill(BANNER)
        .replace("{weir}", &program.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_right_and_complete() {
        let loaded = config(&Ports::new(Some(20_000))).expect("a right configuration");
        assert_eq!(loaded.config.listen[0].address.port(), 20_000);
        assert_eq!(loaded.config.admin.address.port(), 20_001);
        let banner = banner(&Ports::new(None), Path::new("weir"));
        assert!(banner.contains("127.0.0.1:8080") && banner.contains("127.0.0.1:8081"));
        for left in ["{proxy}", "{admin}", "{assistant}", "{weir}"] {
            assert!(!banner.contains(left), "{left}");
        }
    }
}
