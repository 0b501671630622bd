//! Opens a TCP connection to one of several addresses (RFC 8305, "happy eyeballs"): an address that refuses is
//! followed by the next one at once, and one that does not respond gets company after a while. The first
//! connection that is open wins, and the others are closed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The "connection attempt delay" of RFC 8305, section 5.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the address at `first`, or one of those after it, around to the one before it. The caller ends it
/// after `timeout`; each address gets its share of that.
///
/// # Errors
/// None of them can be connected to; the error is that of the last one.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    first: usize,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let stream = match addresses {
        [] => Err(io::Error::other("the name has no address")),
        [only] => TcpStream::connect(only).await,
        several => race(several, first % several.len(), timeout).await,
    }?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn race(addresses: &[SocketAddr], first: usize, timeout: Duration) -> io::Result<TcpStream> {
    let share = timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let head_start = share.min(HEAD_START);
    let (before, from) = addresses.split_at(first);
    let mut waiting = from.iter().chain(before).copied();
    // Dropping the set ends what is still in it.
    let mut attempts = JoinSet::new();
    let mut last = io::Error::other("the name has no address");
    loop {
        let next = waiting.next();
        if let Some(address) = next {
            attempts.spawn(TcpStream::connect(address));
        }
        let joined = match next {
            Some(_) => match tokio::time::timeout(head_start, attempts.join_next()).await {
                Ok(joined) => joined,
                Err(_) => continue,
            },
            None => attempts.join_next().await,
        };
        match joined {
            None => return Err(last),
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => last = error,
            Some(Err(aborted)) => last = io::Error::other(aborted),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock;

    const TIMEOUT: Duration = Duration::from_secs(30);
    /// Reserved for documentation (RFC 5737): nothing responds there.
    const SILENT: &str = "192.0.2.1:9";

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    async fn refusing() -> SocketAddr {
        listener().await.1
    }

    #[tokio::test]
    async fn the_next_address_is_used_when_one_refuses() {
        let (_listener, open) = listener().await;
        let addresses = [refusing().await, open, refusing().await];
        for first in 0..4 {
            let stream = connect(&addresses, first, TIMEOUT)
                .await
                .expect("connected");
            assert_eq!(stream.peer_addr().expect("a peer"), open);
        }
    }

    #[tokio::test]
    async fn the_first_address_is_used_in_turn() {
        let ((_a, a), (_b, b)) = (listener().await, listener().await);
        for (first, expected) in [(0, a), (1, b), (2, a)] {
            let stream = connect(&[a, b], first, TIMEOUT).await.expect("connected");
            assert_eq!(stream.peer_addr().expect("a peer"), expected);
        }
    }

    #[tokio::test]
    async fn an_address_that_does_not_respond_holds_nobody_up() {
        let (_listener, open) = listener().await;
        let silent = SILENT.parse().expect("an address");
        let begun = clock::now();
        let stream = connect(&[silent, open], 0, TIMEOUT)
            .await
            .expect("connected");
        assert_eq!(stream.peer_addr().expect("a peer"), open);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn the_last_error_is_returned() {
        let addresses = [refusing().await, refusing().await];
        let error = connect(&addresses, 0, TIMEOUT).await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect(&[], 0, TIMEOUT).await.is_err());
    }
}
