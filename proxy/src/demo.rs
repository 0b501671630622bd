//! `weir demo`: the proxy and a demo assistant in one process, with a banner of commands to try.

use std::net::{self, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::assistant;
use crate::config::{self, LoadedConfig};

const CONFIG: &str = include_str!("demo/weir.yaml");
const BANNER: &str = include_str!("demo/banner.txt");

/// Port bases to suggest when ports are in use.
const OTHER_BASES: [u16; 4] = [8080, 18_080, 28_080, 38_080];

/// The ports of the demo.
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

    fn all(self) -> [u16; 3] {
        [self.proxy, self.admin, self.assistant]
    }

    /// The ports that are in use.
    fn in_use(self) -> Vec<u16> {
        let is_in_use = |port: &u16| {
            let bound = net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port));
            bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
        };
        self.all().into_iter().filter(is_in_use).collect()
    }

    /// Checks that there are three such ports.
    fn check_base(self) -> anyhow::Result<()> {
        let [proxy, admin, assistant] = self.all();
        if proxy == 0 || admin == assistant || proxy == admin {
            anyhow::bail!(
                "--port-base must be a number from 1 to 65533: the demo uses three ports in a row"
            );
        }
        Ok(())
    }

    /// Checks that no port is in use. The error names all that are, and suggests others.
    fn check_free(self) -> anyhow::Result<()> {
        let in_use = self.in_use();
        if in_use.is_empty() {
            return Ok(());
        }
        let other = OTHER_BASES
            .into_iter()
            .find(|base| Ports::new(Some(*base)).in_use().is_empty());
        let hint = other.map_or_else(
            || "a --port-base with three free ports in a row".to_owned(),
            |base| format!("--port-base {base} (with make: make run ARGS=\"--port-base {base}\")"),
        );
        let in_use: Vec<String> = in_use.iter().map(u16::to_string).collect();
        anyhow::bail!(
            "ports in use on 127.0.0.1: {}; try {hint}",
            in_use.join(", ")
        )
    }

    fn fill(self, template: &str) -> String {
        template
            .replace("{proxy}", &self.proxy.to_string())
            .replace("{admin}", &self.admin.to_string())
            .replace("{assistant}", &self.assistant.to_string())
    }
}

/// The demo's configuration as YAML. With the address of an `index`, events are shipped there.
///
/// # Errors
/// The port base is too high or zero.
pub fn text(ports: &Ports, index: Option<&str>) -> anyhow::Result<String> {
    ports.check_base()?;
    let mut text = ports.fill(CONFIG);
    if let Some(index) = index {
        // A JSON string is a YAML string.
        let index = serde_json::to_string(index)?;
        text.push_str(&format!("  elasticsearch: {{urls: [{index}]}}\n"));
    }
    Ok(text)
}

/// The demo's configuration.
///
/// # Errors
/// The port base is too high or zero, or the address of the `index` is invalid.
pub fn config(ports: &Ports, index: Option<&str>) -> anyhow::Result<LoadedConfig> {
    config::parse(&text(ports, index)?, Path::new("demo.yaml"), &|_| None)
        .map_err(|mistakes| anyhow::anyhow!("{mistakes}"))
}

/// Starts the demo assistant, when all ports of the demo are free.
///
/// # Errors
/// A port is in use.
pub async fn start_assistant(
    ports: &Ports,
    options: assistant::Options,
) -> anyhow::Result<JoinHandle<()>> {
    ports.check_free()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.assistant));
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (assistant)"))?;
    let serving = assistant::serve(options, listener, std::future::pending());
    Ok(tokio::spawn(serving))
}

/// What is printed once everything runs. Every command in it can be pasted; `program` is how this program is
/// called.
#[must_use]
pub fn banner(ports: &Ports, program: &Path) -> String {
    ports
        .fill(BANNER)
        .replace("{weir}", &program.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Warning;

    #[test]
    fn the_demo_is_valid_and_complete() {
        let loaded = config(&Ports::new(Some(20_000)), None).expect("a valid configuration");
        assert_eq!(loaded.config.listen[0].address.port(), 20_000);
        assert_eq!(loaded.config.admin.address.port(), 20_001);
        let banner = banner(&Ports::new(None), Path::new("weir"));
        assert!(banner.contains("127.0.0.1:8080") && banner.contains("127.0.0.1:8081"));
        for left in ["{proxy}", "{admin}", "{assistant}", "{weir}"] {
            assert!(!banner.contains(left), "{left}");
        }
        // Its secrets are public.
        assert!(loaded.config.listen[0].address.ip().is_loopback());
        // Its secrets are short, so that they can be typed.
        let mut warnings = loaded.warnings.iter();
        let is_expected = |warning: &Warning| warning.contains("shorter than 16 characters");
        assert!(warnings.all(is_expected), "{:?}", loaded.warnings);
        let shipping = |index| config(&Ports::new(None), Some(index));
        let shipped = shipping("http://127.0.0.1:9200").expect("a valid configuration");
        assert!(shipped.config.ship.is_some());
        let error = shipping("here").expect_err("no address").to_string();
        assert!(error.contains("urls"), "{error}");
    }

    #[test]
    fn ports_in_use_are_reported_with_free_ones() {
        let held = net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = held.local_addr().expect("an address").port();
        let ports = Ports {
            assistant: port,
            ..Ports::new(Some(port - 2))
        };
        let error = ports.check_free().expect_err("it is in use").to_string();
        assert!(error.contains(&port.to_string()), "{error}");
        assert!(error.contains("--port-base"), "{error}");
        for base in [0, 65_534, 65_535] {
            let error = config(&Ports::new(Some(base)), None).expect_err("no three ports");
            assert!(error.to_string().contains("65533"), "{error}");
        }
    }
}
