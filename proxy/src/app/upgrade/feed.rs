//! Sends what happens in a process that drains to its successor.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Meanwhile, RESPONSE_MAX};
use crate::clock;
use crate::gateway::Gateway;
use crate::listener::handover::HandoverChannel;

/// Requests that one process has accepted can be replayed at the other one for this long.
const INTERVAL: Duration = Duration::from_millis(100);

/// The thread that sends.
#[derive(Debug)]
pub(in crate::app) struct SuccessorFeed {
    /// Dropped to end the thread.
    stop: SyncSender<()>,
    thread: JoinHandle<HandoverChannel>,
}

impl SuccessorFeed {
    /// Sends what `gateway` has accepted since `since_s`, in Unix seconds.
    pub(super) fn start(
        mut channel: HandoverChannel,
        gateway: Arc<Gateway>,
        since_s: u64,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel::<()>(0);
        let mut since_s = since_s;
        let thread = std::thread::Builder::new().name("successor".to_owned());
        let thread = thread.spawn(move || {
            loop {
                let ended = stopped.recv_timeout(INTERVAL);
                // An entry may be inserted after this lookup with a time before it: the next lookup begins a second earlier.
                let next_s = clock::unix_now().as_secs().saturating_sub(1);
                let seen = gateway.generation().replay_stores().seen_since(since_s);
                since_s = next_s;
                channel.set_deadline(Some(RESPONSE_MAX));
                if !seen.is_empty() && channel.send(&Meanwhile { seen }).is_err() {
                    return channel;
                }
                if ended != Err(RecvTimeoutError::Timeout) {
                    return channel;
                }
            }
        })?;
        Ok(SuccessorFeed { stop, thread })
    }

    /// Sends the rest. Returns the connection, whose end shows the successor that this process shares nothing any more.
    pub(in crate::app) fn finish(self) -> Option<HandoverChannel> {
        drop(self.stop);
        // It ends within the deadline of its connection.
        self.thread.join().ok()
    }
}
