//! A new process that cannot take over: the running one goes on, with all that it had given up.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use tempfile::TempDir;
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::index::Index;
use weir_tests::process::Process;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::drained;

async fn waits(successor: &Process) {
    wait::eventually("a waiting successor", wait::PATIENCE, || {
        assert!(successor.exit().is_none(), "{}", successor.stderr());
        successor.stderr().contains("weir: waiting")
    })
    .await;
}

async fn logs(proxy: &Proxy, text: &str) {
    wait::eventually(text, wait::PATIENCE, || proxy.stderr().contains(text)).await;
}

/// With everything that only one process may write.
fn recording(backend: &Backend, index: &Index) -> Setup {
    let url = index.url();
    Setup::open(backend)
        .events("audit: {path: data/audit.ndjson}")
        .events("spool: {path: data/spool, sync: 100ms}")
        .events(&format!(
            "elasticsearch: {{urls: ['{url}'], batch: {{events: 5, wait: 10ms}}}}"
        ))
}

#[tokio::test]
async fn a_successor_that_fails_leaves_the_running_process_as_it_was() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    let setup = recording(&backend, &index);
    let mut proxy = setup.start().await;
    let mut client = Client::h1(proxy.address()).await;
    let mut sent = 0;
    let mut requests = async |count: usize| {
        for _ in 0..count {
            assert_eq!(client.send(ClientRequest::get("/a")).await.status, 200);
        }
        sent += count;
        wait::eventually("all events in the index", wait::PATIENCE, || {
            index.ids().len() == sent
        })
        .await;
    };
    requests(10).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address").to_string();
    let file = |name: &str| format!("{}/{name}", proxy.directory().display());
    std::fs::write(file("a-file"), "").expect("written");
    let fails_to_bind = setup.clone().admin_address(&taken);
    // Found after the running process has given up its files.
    let cannot_record = setup
        .clone()
        .events(&format!("file: {{path: {}/events.ndjson}}", file("a-file")));
    for (setup, error) in [
        (&fails_to_bind, "cannot listen on"),
        (&cannot_record, "events.file.path"),
    ] {
        let successor = setup.spawn_successor(proxy.directory());
        waits(&successor).await;
        // A second one is rejected.
        let second = setup.spawn_successor(proxy.directory());
        let second = second.finished(wait::PATIENCE).await;
        assert_eq!(second.code, Some(1));
        assert!(second.stderr.contains("waits already"), "{}", second.stderr);
        proxy.process().sigquit();
        let ended = successor.finished(wait::PATIENCE).await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(error), "{}", ended.stderr);
        logs(&proxy, error).await;
        requests(10).await;
    }
    // One that is stopped while it waits.
    let successor = setup.spawn_successor(proxy.directory());
    waits(&successor).await;
    successor.sigterm();
    assert!(successor.wait_exit(wait::PATIENCE).await.success());
    requests(5).await;
    // Invalid from the start.
    std::fs::write(file("weir.yaml"), "listen: none").expect("written");
    let arguments = ["run", "--upgrade"];
    let ended = Process::run(proxy.directory(), &arguments, b"").await;
    assert_eq!(ended.code, Some(1));
    // Nobody waits; the next one takes over at once.
    proxy.process().sigquit();
    logs(&proxy, "no process waits to take over").await;
    let old = proxy.upgrade(&setup).await;
    requests(1).await;
    drained(&old).await;
    let mut client = Client::h1(proxy.address()).await;
    assert_eq!(client.send(ClientRequest::get("/a")).await.status, 200);
    let metrics = proxy.metrics().await;
    assert_eq!(
        metrics.sum("weir_events_total", &[("outcome", "dropped")]),
        0.0
    );
    proxy.events_when(sent + 1).await;
    let verified = Process::run(
        proxy.directory(),
        &["audit", "verify", "data/audit.ndjson"],
        b"",
    );
    assert_eq!(verified.await.code, Some(0));
}

#[tokio::test]
async fn a_plain_start_and_an_upgrade_without_a_running_process_name_the_other_command() {
    let backend = Backend::echo().await;
    let directory = TempDir::new().expect("a directory");
    let ended = Setup::open(&backend)
        .spawn_successor(directory.path())
        .finished(wait::PATIENCE)
        .await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("without --upgrade"),
        "{}",
        ended.stderr
    );
    let proxy = Setup::open(&backend).start().await;
    let address = proxy.address().to_string();
    let second = Setup::open(&backend).listen(&address);
    let ended = second
        .spawn(directory.path())
        .finished(wait::PATIENCE)
        .await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("weir upgrade"), "{}", ended.stderr);
}

#[tokio::test]
#[ignore = "waits for the deadline of the handover"]
async fn a_successor_that_hangs_is_killed_at_the_deadline() {
    let backend = Backend::echo().await;
    let setup = Setup::open(&backend).events("audit: {path: data/audit.ndjson}");
    let mut proxy = setup.start().await;
    let successor = setup.spawn_successor(proxy.directory());
    waits(&successor).await;
    successor.sigstop();
    proxy.process().sigquit();
    let deadline = std::time::Duration::from_secs(60);
    let exit = successor.wait_exit(deadline).await;
    assert_eq!(exit.code(), None);
    logs(&proxy, "did not respond in time").await;
    assert_eq!(proxy.send(ClientRequest::get("/a")).await.status, 200);
    let old = proxy.upgrade(&setup).await;
    drained(&old).await;
}

#[tokio::test]
async fn a_predecessor_that_ends_in_the_handover_is_replaced_all_the_same() {
    let backend = Backend::echo().await;
    let directory = TempDir::new().expect("a directory");
    std::fs::create_dir(directory.path().join("data")).expect("a directory");
    let path = directory.path().join("data/upgrade.sock");
    let listener = UnixListener::bind(path).expect("a socket");
    let predecessor = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a successor");
        read_frame(&mut stream);
        write_frame(&mut stream, r#""Waiting""#);
        write_frame(&mut stream, r#"{"sockets":[]}"#);
        read_frame(&mut stream)
    });
    let successor = Setup::open(&backend).spawn_successor(directory.path());
    wait::eventually("a successor that serves", wait::PATIENCE, || {
        assert!(successor.exit().is_none(), "{}", successor.stderr());
        successor.stderr().contains("weir: ready")
    })
    .await;
    let prepared = predecessor.join().expect("the predecessor");
    assert!(prepared.contains("Ready"), "{prepared}");
    assert!(successor.stderr().contains("its state is lost"));
    successor.sigterm();
    assert!(successor.wait_exit(wait::PATIENCE).await.success());
}

fn read_frame(stream: &mut UnixStream) -> String {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a length");
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut bytes).expect("a message");
    String::from_utf8(bytes).expect("a message in UTF-8")
}

fn write_frame(stream: &mut UnixStream, message: &str) {
    let length = u32::try_from(message.len()).expect("a length");
    stream.write_all(&length.to_be_bytes()).expect("written");
    stream.write_all(message.as_bytes()).expect("written");
}
