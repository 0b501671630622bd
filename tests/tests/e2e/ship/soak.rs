//! A hundred thousand requests while everything fails at some point.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::index::{Fault, Index};
use weir_tests::proxy::Proxy;
use weir_tests::wait;

use super::{assert_accounting, outcome, shipping};

const REQUESTS: usize = 100_000;
const ROUNDS: usize = 4;
const CONNECTIONS: usize = 8;
const SYNC: Duration = Duration::from_millis(100);
/// How long an event may take to be spooled: the time of the buffer, plus the delay of a busy machine.
const SAFE: Duration = Duration::from_millis(500);

/// Ids with the time of their response.
type ResponseTimes = Arc<Mutex<Vec<(String, Instant)>>>;

async fn load(proxy: &Proxy, requests: usize, answered: &ResponseTimes) {
    let address = proxy.address();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let answered = answered.clone();
        tasks.spawn(async move {
            let mut client = Client::h1(address).await;
            for _ in 0..requests / CONNECTIONS {
                let response = client.send(ClientRequest::get("/a")).await;
                let id = response.header("x-request-id").expect("an id").to_owned();
                let mut answered = answered.lock().expect("the list");
                answered.push((id, Instant::now()));
            }
        });
    }
    while !tasks.is_empty() {
        tokio::select! {
            ended = tasks.join_next() => ended.expect("a task").expect("its requests"),
            () = wait::tick() => assert_accounting(&proxy.metrics().await),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; `cargo test -p weir-tests --test e2e -- --ignored a_hundred_thousand`"]
async fn a_hundred_thousand_events_are_indexed_exactly_once() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    let setup = shipping(&backend, &[index.url()], "events: 500, wait: 200ms");
    let answered: ResponseTimes = Arc::default();
    let mut sure: BTreeSet<String> = BTreeSet::new();
    let mut directory = TempDir::new().expect("a directory");
    let faults = [
        Some(Fault::Reset),
        Some(Fault::Items(429, 3)),
        Some(Fault::TakenAndReset),
        None,
    ];
    let mut recovered = 0.0;
    for (round, fault) in faults.into_iter().enumerate() {
        index.always(fault);
        let proxy = Proxy::ready(setup.spawn(directory.path()), directory).await;
        recovered += outcome(&proxy.metrics().await, "recovered");
        let started_at = Instant::now();
        load(&proxy, REQUESTS / ROUNDS, &answered).await;
        if round == 0 {
            // The node is down for a minute.
            while started_at.elapsed() < Duration::from_secs(60) {
                assert_accounting(&proxy.metrics().await);
                wait::tick().await;
            }
        }
        if round + 1 == ROUNDS {
            let started = Instant::now();
            while proxy.metrics().await.sum("weir_spool_events", &[]) > 0.5 {
                assert!(
                    started.elapsed() < Duration::from_secs(60),
                    "it does not end"
                );
                wait::tick().await;
            }
            assert_eq!(outcome(&proxy.metrics().await, "dropped"), 0.0);
            break;
        }
        proxy.kill();
        let killed = Instant::now();
        proxy.wait_exit(wait::PATIENCE).await;
        let list = std::mem::take(&mut *answered.lock().expect("the list"));
        let old = list
            .into_iter()
            .filter(|(_, at)| *at + SYNC + SAFE < killed);
        sure.extend(old.map(|(id, _)| id));
        directory = proxy.into_directory();
    }
    let last = std::mem::take(&mut *answered.lock().expect("the list"));
    sure.extend(last.into_iter().map(|(id, _)| id));
    let there: BTreeSet<String> = index.ids().into_iter().collect();
    let missing = sure.difference(&there).count();
    assert_eq!(missing, 0, "of {} that are older than `sync`", sure.len());
    assert!(recovered > 1_000.0, "{recovered} were found again");
    assert!(sure.len() > REQUESTS * 2 / 3, "{}", sure.len());
}
