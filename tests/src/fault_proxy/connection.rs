//! One connection through the proxy.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Traffic;
use super::faults::{Admission, CutKind, Direction, FaultPlan, OpenCut};
use super::pump::Pump;
use crate::wait;

/// How a connection ended.
enum ConnectionEnd {
    /// Both directions have ended.
    Closed,
    Reset,
}

/// Serves a connection to its end, or until the proxy is dropped.
pub(super) async fn serve(
    mut client: TcpStream,
    mut plan: watch::Receiver<FaultPlan>,
    cut: Option<OpenCut>,
    traffic: &Traffic,
    seed: u64,
) {
    let _ = client.set_nodelay(true);
    let (admission, target) = {
        let plan = plan.borrow();
        (plan.admission, plan.target)
    };
    match admission {
        Admission::Forwarded => {}
        Admission::Reset => {
            let _ = client.set_zero_linger();
            return;
        }
        Admission::Blackhole => {
            swallow(&mut client, &mut plan, cut).await;
            return;
        }
    }
    let connecting = tokio::time::timeout(wait::PATIENCE, TcpStream::connect(target));
    let Ok(Ok(mut target)) = connecting.await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = target.set_nodelay(true);
    let peers = (&mut client, &mut target);
    let end = forward(peers, &mut plan, cut, traffic, seed).await;
    if matches!(end, ConnectionEnd::Reset) {
        let _ = client.set_zero_linger();
        let _ = target.set_zero_linger();
    }
}

/// Forwards both directions. The halves are borrowed, because dropping an owned half would send a FIN before a reset.
async fn forward(
    (client, target): (&mut TcpStream, &mut TcpStream),
    plan: &mut watch::Receiver<FaultPlan>,
    cut: Option<OpenCut>,
    traffic: &Traffic,
    seed: u64,
) -> ConnectionEnd {
    let kind = {
        let (client_read, client_write) = client.split();
        let (target_read, target_write) = target.split();
        let pump = |direction, seed| Pump {
            direction,
            plan: plan.clone(),
            traffic,
            seed,
        };
        let (to_target, to_client) = (
            pump(Direction::ToTarget, seed),
            pump(Direction::ToClient, !seed),
        );
        let pumps = async {
            tokio::try_join!(
                to_target.run(client_read, target_write),
                to_client.run(target_read, client_write),
            )
        };
        tokio::select! {
            biased;
            kind = cut_open(plan, cut) => kind,
            ended = pumps => match ended {
                Ok(_) => return ConnectionEnd::Closed,
                // One of the peers has reset the connection, or a fault did.
                Err(_) => CutKind::Reset,
            },
        }
    };
    match kind {
        CutKind::Reset => ConnectionEnd::Reset,
        CutKind::Close => {
            let _ = (client.shutdown().await, target.shutdown().await);
            ConnectionEnd::Closed
        }
        CutKind::Silence => {
            let (mut client_plan, mut target_plan) = (plan.clone(), plan.clone());
            let last = plan.borrow().last_open_cut();
            tokio::join!(
                swallow(client, &mut client_plan, last),
                swallow(target, &mut target_plan, last),
            );
            ConnectionEnd::Closed
        }
    }
}

/// Reads and discards until the peer closes, a cut, or the end of the proxy.
async fn swallow(
    stream: &mut TcpStream,
    plan: &mut watch::Receiver<FaultPlan>,
    cut: Option<OpenCut>,
) {
    let reading = async {
        let mut bytes = [0; 4096];
        while stream.read(&mut bytes).await? > 0 {}
        io::Result::Ok(())
    };
    let kind = tokio::select! {
        _ = reading => return,
        kind = cut_open(plan, cut) => kind,
    };
    if kind == CutKind::Reset {
        let _ = stream.set_zero_linger();
    }
}

/// Waits for a request to end the connections that were open at the time of `before`. The end of the proxy closes them.
async fn cut_open(plan: &mut watch::Receiver<FaultPlan>, before: Option<OpenCut>) -> CutKind {
    let requested = plan.wait_for(|plan| plan.last_open_cut() != before).await;
    let cut = requested.ok().and_then(|plan| plan.last_open_cut());
    cut.map_or(CutKind::Close, |cut| cut.kind)
}
