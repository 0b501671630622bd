//! Upgrades: a new process takes over, and no request, connection or event is lost.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::process::Process;
use weir_tests::setup::Setup;
use weir_tests::wait;

mod failures;
mod state;
mod streams;

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

/// One command starts the new process, and ends when that one serves. systemd is notified of it.
#[tokio::test]
async fn one_command_upgrades_and_reports_the_new_process() {
    let backend = Backend::echo().await;
    let directory = tempfile::TempDir::new().expect("a directory");
    let path = directory.path().join("notify.sock");
    let notified = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    notified.set_nonblocking(true).expect("a mode");
    let path = path.to_str().expect("a path in UTF-8");
    let setup = Setup::open(&backend).variable("NOTIFY_SOCKET", path);
    let proxy = setup.start().await;
    let next = async || {
        wait::found("a notification", wait::PATIENCE, || {
            let mut bytes = [0; 100];
            let length = notified.recv(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
        })
        .await
    };
    assert_eq!(next().await, "READY=1");
    let arguments = ["upgrade", "--config", "weir.yaml"];
    let environment = [("NOTIFY_SOCKET".to_owned(), path.to_owned())];
    let command = Process::start(proxy.directory(), &arguments, &environment, b"");
    drained(proxy.process()).await;
    let exit = command.wait_exit(wait::PATIENCE).await;
    assert_eq!(exit.code(), Some(0), "{}", command.stderr());
    // The new process writes to where the old one did: whoever captures the output of the command does not wait for it.
    command.finished(wait::PATIENCE).await;
    let mut messages = [next().await, next().await];
    messages.sort();
    let id = messages[0]
        .strip_prefix("MAINPID=")
        .expect("the new process");
    assert_eq!(messages[1], "READY=1");
    assert!(
        command
            .stderr()
            .contains(&format!("process {id} has taken over"))
    );
    assert_eq!(proxy.send(ClientRequest::get("/a")).await.status, 200);
    // The new process is no child of this test.
    let kill = std::process::Command::new("sh")
        .args(["-c", &format!("kill {id}")])
        .status();
    assert!(kill.expect("a shell").success());
    assert_eq!(next().await, "STOPPING=1");
}
