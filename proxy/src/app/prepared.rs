//! The part of a start that comes before a predecessor gives up its files, if there is one.

use std::sync::Arc;

use super::inherited::InheritedSockets;
use super::listening::certificates;
use super::sockets::Sockets;
use super::upgrade::HandedOverState;
use super::upgrade::taking_over::Predecessor;
use crate::admin::Readiness;
use crate::audit::LogOwners;
use crate::config::Config;
use crate::listener::tls::Certificates;

/// What a start needs before a predecessor gives up its files.
pub(super) struct PreparedStart {
    pub(super) sockets: Sockets,
    pub(super) certificates: Vec<Option<Arc<Certificates>>>,
    /// `None` without a predecessor.
    pub(super) inherited: Option<HandedOverState>,
}

impl PreparedStart {
    pub(super) fn new(
        config: &Config,
        mut predecessor: Option<&mut Predecessor>,
    ) -> anyhow::Result<Self> {
        let mut passed = match &mut predecessor {
            Some(predecessor) => predecessor.receive_sockets()?,
            None => InheritedSockets::default(),
        };
        let sockets = Sockets::bind(config, &mut passed)?;
        let certificates = certificates(config)?;
        let prepared = predecessor.map(|predecessor| predecessor.prepared(&passed, config));
        Ok(PreparedStart {
            sockets,
            certificates,
            inherited: prepared.transpose()?.flatten(),
        })
    }
}

/// Whether requests are accepted from the start, as they are by a predecessor.
pub(super) fn readiness(inherited: &Option<HandedOverState>) -> Readiness {
    match inherited {
        Some(_) => Readiness::Ready,
        None => Readiness::Starting,
    }
}

/// How many processes write to the audit log, with or without the state of a predecessor.
pub(super) fn owners(inherited: &Option<HandedOverState>) -> LogOwners {
    match inherited {
        Some(_) => LogOwners::Two,
        None => LogOwners::One,
    }
}
