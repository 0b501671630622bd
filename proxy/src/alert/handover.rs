//! Alerts when a process hands over to its successor: firing alerts, silences, what each notifier has sent, and what
//! evaluations continue from. One process at a time evaluates and notifies.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Alerts;
use super::engine::EngineState;
use super::evaluator::{EngineHandover, EngineWork};
use super::persistence::PersistedState;
use crate::worker::thread::{LockedState, State as Running};

/// What a successor continues from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HandedOverAlerts {
    pub(super) state: PersistedState,
    /// `None` if the engine did not respond in time.
    pub(super) engine: Option<EngineState>,
}

impl Alerts {
    /// Stops evaluating and notifying, and returns what a successor continues from. Waits for nothing beyond the deadline.
    pub fn hand_over(&self, deadline: Instant) -> HandedOverAlerts {
        let mut inner = self.engine.lock();
        inner.work.handover = EngineHandover::Requested;
        self.engine.wake();
        let is_waiting = |inner: &LockedState<EngineWork>| {
            matches!(inner.work.handover, EngineHandover::Requested)
                && inner.state == Running::Running
        };
        let _ = self.engine.wait_while(&mut inner, deadline, is_waiting);
        let engine = match &mut inner.work.handover {
            EngineHandover::Done(state) => state.take(),
            EngineHandover::None | EngineHandover::Requested => {
                log::warn!(
                    "alerts: an evaluation is slow: the next process starts with empty windows"
                );
                None
            }
        };
        drop(inner);
        let state = self.store.hand_over(deadline);
        HandedOverAlerts { state, engine }
    }

    /// Evaluates and notifies again, because the successor has failed.
    pub fn take_back(&self) {
        self.store.take_back();
        self.engine.lock().work.handover = EngineHandover::None;
        self.engine.wake();
        self.wake_notifiers();
    }
}
