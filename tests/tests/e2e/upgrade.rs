//! Upgrades: a new process takes over, and no request, connection or event is lost.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::process::Process;
use weir_tests::setup::Setup;
use weir_tests::wait;

mod failures;
mod requests;
mod state;

/// Longer than a drain.
const DRAINED: Duration = Duration::from_secs(40);

async fn drained(process: &Process) {
    let exit = process.wait_exit(DRAINED).await;
    assert_eq!(exit.code(), Some(0), "{}", process.stderr());
}

#[tokio::test]
async fn three_upgrades_in_a_row_keep_the_addresses() {
    let backend = Backend::echo().await;
    let setup = Setup::open(&backend);
    let mut proxy = setup.start().await;
    let (address, admin) = (proxy.address(), proxy.admin());
    let socket = proxy.directory().join("data/upgrade.sock");
    let mut client = Client::h1(address).await;
    for number in 0..3 {
        assert_eq!(client.send(ClientRequest::get("/a")).await.status, 200);
        let metadata = std::fs::metadata(&socket).expect("the upgrade socket");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let id = proxy.process().id();
        let old = proxy.upgrade(&setup).await;
        assert_ne!(proxy.process().id(), id);
        assert_eq!((proxy.address(), proxy.admin()), (address, admin));
        // The connection to the old process serves one more request.
        let last = client.send(ClientRequest::get("/b")).await;
        assert_eq!(last.status, 200, "upgrade {number}");
        assert_eq!(last.header("connection"), Some("close"));
        client = Client::h1(address).await;
        drained(&old).await;
    }
    assert_eq!(client.send(ClientRequest::get("/c")).await.status, 200);
    proxy.sigterm();
    proxy.wait_exit(wait::PATIENCE).await;
    assert!(!socket.exists(), "the last one removes it");
}
