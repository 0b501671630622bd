//! The end of a process: graceful shutdown, and the drain after an upgrade.

use std::time::{Duration, Instant};

use super::App;
use super::upgrade::feed::SuccessorFeed;
use crate::admin::Readiness;
use crate::clock;

/// The part of the drain time that is reserved for writing what was recorded.
const FLUSH_MAX: Duration = Duration::from_secs(2);

impl App {
    /// Stops gracefully: accepts no new connection, closes idle ones, gives requests in flight the drain time,
    /// and writes what was recorded.
    pub async fn stop(mut self) {
        let begun = clock::now();
        let deadline = begun + self.drain;
        let flush = FLUSH_MAX.min(self.drain / 10);
        // The accept loops have the last descriptors of the listening sockets.
        self.succession.offered.clear();
        self.succession.waiting_room = None;
        self.readiness.set(Readiness::Draining);
        if self.succession.handed_over.is_set()
            && let Some(admin) = self.admin_server.take()
        {
            // The successor has its socket already.
            drop(tokio::task::spawn_blocking(move || admin.stop()));
        }
        // It fails only when every receiver has ended already.
        let _ = self.stop.send(true);
        let until = self.drain.saturating_sub(flush);
        let (accept_loops, connections) = (self.accept_loops, self.connections.clone());
        let drained = async {
            // They may be accepting a last connection, which is not counted yet.
            for accept_loop in accept_loops {
                // An error means that it has panicked.
                let _ = accept_loop.await;
            }
            connections.wait_for_none().await;
        };
        if tokio::time::timeout(until, drained).await.is_err() {
            let (open, detached) = (self.connections.open(), self.connections.detached());
            log::warn!("{}", drain_is_over(open, detached));
        }
        if let (true, Some(predecessor)) = (
            self.succession.handed_over.is_set(),
            self.succession.predecessor.take(),
        ) {
            // It shares files with this process, and the successor knows only this one.
            let left = remaining(deadline).saturating_sub(flush);
            let _ = tokio::time::timeout(left, predecessor.ended()).await;
        }
        let ended = tokio::task::spawn_blocking(move || {
            // Requests that are cut off are recorded when their tasks are dropped.
            self.runtime.shutdown_timeout(Duration::from_millis(200));
            self.reloader.stop(deadline);
            let recording = self.recording;
            let soon = || deadline.max(clock::now() + Duration::from_millis(100));
            if recording.stop(soon()).is_err() {
                log::warn!("some events could not be written in time");
            }
            self.alerts.stop(deadline);
            let stopped = recording.ship.map(|ship| ship.stop(deadline));
            if stopped.is_some_and(|stopped| stopped.is_err()) {
                log::warn!("shipping did not stop in time; the remaining events wait in the spool");
            }
            if let Some(admin) = self.admin_server {
                admin.stop();
            }
            if let Some(audit) = recording.audit {
                audit.stop(soon());
            }
            // Last, since a successor that hangs delays it: the end of the connection shows that the last line is written to
            // what both processes share.
            drop(self.succession.feed.map(SuccessorFeed::finish));
        });
        let left = remaining(deadline) + Duration::from_millis(500);
        if tokio::time::timeout(left, ended).await.is_err() {
            log::warn!("the shutdown took too long: not everything that was recorded is written");
        }
    }
}

fn drain_is_over(connections: usize, detached: usize) -> String {
    let counted = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    let closing = counted(connections, "connection");
    let ending = match detached {
        0 => String::new(),
        count => format!(
            " and ending {} whose clients have left",
            counted(count, "request")
        ),
    };
    format!("shutdown.drain is over: closing {closing}{ending}")
}

fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(clock::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_drain_states_what_is_ended() {
        for (connections, detached, text) in [
            (50, 0, "shutdown.drain is over: closing 50 connections"),
            (
                1,
                2,
                "shutdown.drain is over: closing 1 connection and ending 2 requests whose clients have left",
            ),
        ] {
            assert_eq!(drain_is_over(connections, detached), text);
        }
    }
}
