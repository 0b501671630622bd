//! Accepts connections on the bound sockets, on the runtimes of the workers.

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::server::ShutdownWatch;
use pingora_runtime::Runtime;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::ListenScheme;
use super::sockets::{self, BoundListener};
use super::upgrade::OfferedSocket;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::handover_flag::HandoverFlag;
use crate::http::connections::Connections;
use crate::listener::Listener;
use crate::listener::accept::Accepting;
use crate::listener::descriptors::Descriptors;
use crate::listener::tls::Certificates;

/// The certificates of the listeners, each with its address.
pub(super) type NamedCertificates = Vec<(String, Arc<Certificates>)>;

/// The file descriptors of the process. Logs a warning when they do not suffice.
fn descriptors(config: &Config) -> Descriptors {
    let descriptors = Descriptors::raise();
    if let Some(warning) = descriptors.warning(config.limits.connections) {
        log::warn!("{warning}");
    }
    descriptors
}

/// The runtime of each worker.
pub(super) fn each_worker(runtime: &Runtime) -> Vec<Handle> {
    match runtime {
        Runtime::NoSteal(each) => (0..workers())
            .map(|worker| each.get_runtime_at(worker).clone())
            .collect(),
        Runtime::Steal { runtime, .. } => vec![runtime.handle().clone()],
    }
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What all listening sockets share.
pub(super) struct Listening {
    listener: Arc<Listener>,
    descriptors: Descriptors,
    shutdown: ShutdownWatch,
}

impl Listening {
    pub(super) fn new(
        config: &Config,
        (gateway, connections): (Arc<Gateway>, Arc<Connections>),
        shutdown: ShutdownWatch,
        handed_over: Arc<HandoverFlag>,
    ) -> Self {
        let drain = (config.drain, handed_over);
        Listening {
            listener: Arc::new(Listener::new(gateway, connections, &config.limits, drain)),
            // Counted now: most descriptors that are not connections are open.
            descriptors: descriptors(config),
            shutdown,
        }
    }

    /// Accepts on each of the bound sockets, which are the first of those that are offered. Returns the accept loops as
    /// well, which end when the drain begins.
    pub(super) fn serve(
        &self,
        listeners: Vec<BoundListener>,
        offered: &[OfferedSocket],
        certificates: &[Option<Arc<Certificates>>],
    ) -> (Runtime, Vec<JoinHandle<()>>) {
        let runtime = Runtime::new_no_steal(workers(), "weir");
        let workers: Arc<[Handle]> = each_worker(&runtime).into();
        let each = listeners.into_iter().zip(offered).zip(certificates);
        let loops = each.map(|((listener, offered), certificates)| {
            let accepting = Accepting::new(
                (listener.socket, offered.is_passed_on.clone()),
                certificates.clone().map(sockets::tls_acceptor),
                self.listener.clone(),
                self.descriptors,
                self.shutdown.clone(),
                workers.clone(),
            );
            runtime.get_handle().spawn(accepting.run())
        });
        let loops = loops.collect();
        (runtime, loops)
    }
}

/// The certificates of the listeners, in the order of the file.
pub(super) fn certificates(config: &Config) -> anyhow::Result<Vec<Option<Arc<Certificates>>>> {
    let listen = config.listen.iter();
    let certificates = listen.map(|listen| listen.tls.as_ref().map(Certificates::load));
    certificates.map(Option::transpose).collect()
}

/// Each certificate with the address of its listener.
pub(super) fn named(
    addresses: &[(SocketAddr, ListenScheme)],
    certificates: Vec<Option<Arc<Certificates>>>,
) -> NamedCertificates {
    let each = addresses.iter().zip(certificates);
    each.filter_map(|((address, _), pair)| Some((address.to_string(), pair?)))
        .collect()
}
