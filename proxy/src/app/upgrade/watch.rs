//! Receives what happens in the predecessor while it drains, and takes over what it leaves when it has ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Meanwhile;
use crate::audit::{Audit, LogOwners};
use crate::gateway::Gateway;
use crate::listener::handover::HandoverChannel;
use crate::ship::Ship;

/// How long the files of a process that has ended are waited for at first; the spool may also be full for long.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The parts that the predecessor still shares.
pub(in crate::app) struct SharedParts {
    pub(in crate::app) gateway: Arc<Gateway>,
    pub(in crate::app) audit: Option<Arc<Audit>>,
    pub(in crate::app) ship: Option<Arc<Ship>>,
}

/// Whether the predecessor has ended.
#[derive(Clone, Debug)]
pub(in crate::app) struct PredecessorWatch(watch::Receiver<bool>);

impl PredecessorWatch {
    pub(in crate::app) fn start(
        mut channel: HandoverChannel,
        parts: SharedParts,
    ) -> std::io::Result<Self> {
        let (ended, watched) = watch::channel(false);
        channel.set_deadline(None);
        let thread = std::thread::Builder::new().name("predecessor".to_owned());
        thread.spawn(move || {
            while let Ok(Meanwhile { seen }) = channel.receive() {
                parts.gateway.generation().replay_stores().note_seen(&seen);
            }
            if let Some(audit) = &parts.audit {
                audit.set_owners(LogOwners::One);
            }
            ended.send_replace(true);
            log::info!("the previous process has ended");
            // Its locks are released after its connections are closed.
            let mut pause = PAUSE_MIN;
            while parts
                .ship
                .as_ref()
                .is_some_and(|ship| ship.adopt_drained().left > 0)
            {
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
        })?;
        Ok(PredecessorWatch(watched))
    }

    /// Resolves when it has ended.
    pub(in crate::app) async fn ended(mut self) {
        // An error means that its thread has panicked.
        let _ = self.0.wait_for(|ended| *ended).await;
    }
}
