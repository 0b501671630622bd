//! One direction of a connection: reads from one peer, and forwards with the faults of the direction.
//!
//! A queue between reading and writing keeps latency from limiting the bandwidth.

use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use super::Traffic;
use super::faults::{CutKind, Delivery, Direction, DirectionPlan, FaultPlan, Faults};

/// How many reads may wait to be forwarded.
const QUEUE_PIECES: usize = 256;

/// The size of a read.
const READ_BYTES: usize = 16 << 10;

/// A limited bandwidth is used in this many pieces a second.
const BANDWIDTH_STEPS: u64 = 50;

/// One direction of a connection.
pub(super) struct Pump<'a> {
    pub(super) direction: Direction,
    pub(super) plan: watch::Receiver<FaultPlan>,
    pub(super) traffic: &'a Traffic,
    pub(super) seed: u64,
}

/// Bytes, and when they are due.
struct QueuedBytes {
    due: Instant,
    bytes: Bytes,
}

/// How a direction ended without a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DirectionEnd {
    /// The sender has closed it.
    Finished,
    /// A fault did, while the sender may still send.
    Closed,
    /// The receiver does not learn of the end.
    Silent,
}

/// The bytes since the faults were set.
#[derive(Default)]
struct CutCount {
    revision: u64,
    bytes: u64,
}

impl Pump<'_> {
    /// Forwards to the end of the direction.
    ///
    /// # Errors
    /// The connection is to be reset: by a fault, or because a peer did.
    pub(super) async fn run(
        &self,
        mut source: ReadHalf<'_>,
        mut sink: WriteHalf<'_>,
    ) -> io::Result<()> {
        let end = {
            let (sender, receiver) = mpsc::channel(QUEUE_PIECES);
            let mut reading = pin!(self.read(&mut source, sender));
            let mut writing = pin!(self.write(&mut sink, receiver));
            tokio::select! {
                end = &mut writing => end?,
                read = &mut reading => {
                    read?;
                    writing.await?
                }
            }
        };
        if end != DirectionEnd::Silent {
            sink.shutdown().await?;
        }
        if end != DirectionEnd::Finished {
            let mut bytes = [0; 4096];
            while source.read(&mut bytes).await? > 0 {}
        }
        Ok(())
    }

    async fn read(
        &self,
        source: &mut ReadHalf<'_>,
        queue: mpsc::Sender<QueuedBytes>,
    ) -> io::Result<()> {
        let mut random = SmallRng::seed_from_u64(self.seed);
        let mut buffer = BytesMut::new();
        loop {
            let faults = self.unstalled().await?.faults;
            buffer.reserve(READ_BYTES);
            if source.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            let piece = QueuedBytes {
                due: weir::clock::now() + delay(&faults, &mut random),
                bytes: buffer.split().freeze(),
            };
            if queue.send(piece).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn write(
        &self,
        sink: &mut WriteHalf<'_>,
        mut queue: mpsc::Receiver<QueuedBytes>,
    ) -> io::Result<DirectionEnd> {
        let mut count = CutCount::default();
        while let Some(QueuedBytes { due, mut bytes }) = queue.recv().await {
            tokio::time::sleep_until(due.into()).await;
            while !bytes.is_empty() {
                let plan = self.unstalled().await?;
                if plan.faults.delivery == Delivery::Lost {
                    break;
                }
                let until_cut = count.left(plan);
                if let (Some(0), Some(cut)) = (until_cut, plan.faults.cut) {
                    return match cut.kind {
                        CutKind::Reset => Err(io::ErrorKind::ConnectionReset.into()),
                        CutKind::Close => Ok(DirectionEnd::Closed),
                        CutKind::Silence => Ok(DirectionEnd::Silent),
                    };
                }
                let size = step(&plan.faults, until_cut).min(bytes.len());
                sink.write_all(&bytes.split_to(size)).await?;
                count.bytes += size as u64;
                let counter = self.traffic.bytes(self.direction);
                counter.fetch_add(size as u64, Ordering::SeqCst);
                let pause = pause(&plan.faults, size);
                if !pause.is_zero() {
                    crate::wait::sleep(pause).await;
                }
            }
        }
        let lost = self.unstalled().await?.faults.delivery == Delivery::Lost;
        Ok(match lost {
            true => DirectionEnd::Silent,
            false => DirectionEnd::Finished,
        })
    }

    /// The faults of the direction, once it does not stall.
    async fn unstalled(&self) -> io::Result<DirectionPlan> {
        let is_flowing =
            |plan: &FaultPlan| plan.direction(self.direction).faults.delivery != Delivery::Stalled;
        let mut plan = self.plan.clone();
        let plan = plan.wait_for(is_flowing).await;
        // Without a proxy there is no connection.
        let plan = plan.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(plan.direction(self.direction))
    }
}

impl CutCount {
    /// The bytes that may pass until the cut, if there is one.
    fn left(&mut self, plan: DirectionPlan) -> Option<u64> {
        if self.revision != plan.revision {
            *self = CutCount {
                revision: plan.revision,
                bytes: 0,
            };
        }
        let cut = plan.faults.cut?;
        Some(cut.after_bytes.saturating_sub(self.bytes))
    }
}

fn delay(faults: &Faults, random: &mut SmallRng) -> Duration {
    faults.latency + faults.jitter.mul_f64(random.random())
}

/// How many bytes are written at once.
fn step(faults: &Faults, until_cut: Option<u64>) -> usize {
    let by_bandwidth = faults.bytes_per_second.map(|rate| rate / BANDWIDTH_STEPS);
    let bounds = [by_bandwidth, until_cut].into_iter().flatten();
    let bounds = bounds.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let slices = faults.slices.map(|slices| slices.bytes);
    bounds.chain(slices).min().unwrap_or(usize::MAX).max(1)
}

/// How long to wait after writing `size` bytes.
fn pause(faults: &Faults, size: usize) -> Duration {
    let by_bandwidth = faults
        .bytes_per_second
        .map(|rate| Duration::from_secs_f64(size as f64 / rate.max(1) as f64));
    let slices = faults.slices.map(|slices| slices.pause);
    by_bandwidth
        .into_iter()
        .chain(slices)
        .max()
        .unwrap_or_default()
}
