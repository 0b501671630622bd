//! Many reloads under load leave neither memory, descriptors nor threads behind.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::resources::Resources;
use weir_tests::setup::Setup;
use weir_tests::sign::bearer;
use weir_tests::wait;

use super::reload_with;

const RELOADS: usize = 200;
/// Reloads before the resources of rest are measured.
const WARM_UP: usize = 20;
const KEY: &str = "a secret key of the test";

/// Every part that a reload replaces, each with other settings than under another number.
fn numbered(backends: &[Backend; 2], number: usize) -> Setup {
    let endpoint = backends[number % 2].url();
    let timeout = format!("first_byte_timeout: {}s", 30 + number);
    let routes = format!(
        "- {{name: chat, path: /v1/*, backend: assistant, platform: p{}, concurrency: {}, \
         cache: {{answers: true, memory: 1MiB, ttl: {}s, scope: route}}, \
         rate_limits: [{{name: some, rate: {}/s, by: address}}], \
         signature: {{scheme: bearer, secrets: [{KEY}]}}}}\n\
         - {{name: all, path: /*, backend: assistant}}",
        number % 3,
        100 + number,
        60 + number,
        100_000 + number,
    );
    let options = [
        &*timeout,
        "circuit_breaker: {minimum_requests: 10}",
        "fallback: cloud",
        "pool: {idle_timeout: 1s}",
    ];
    let [_, cloud] = backends;
    Setup::without_backend()
        .backend("assistant", &[endpoint], &options)
        .backend("cloud", &[cloud.url()], &["pool: {idle_timeout: 1s}"])
        .routes(&routes)
}

/// The progress of clients and reloads.
#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    /// Sends requests until the reloads are over.
    async fn send(&self, proxy: &Proxy) {
        let mut client = Client::h1(proxy.address()).await;
        let mut sent = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            // Several questions: stored responses are added and looked up.
            let question = format!("question {}", sent % 50);
            let request = match sent % 3 {
                0 => ClientRequest::get("/any"),
                _ => ClientRequest::chat(&question).headers(bearer(KEY)),
            };
            let response = client.send(request).await;
            assert_eq!(response.status, 200, "{}", response.text());
            sent += 1;
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Reloads, with a request between two of them at least.
    async fn reload(&self, proxy: &Proxy, backends: &[Backend; 2], numbers: Range<usize>) {
        for number in numbers {
            let yaml = numbered(backends, number).yaml(proxy.directory());
            let report = reload_with(proxy, &yaml).await;
            assert_eq!(report["outcome"], "applied", "{report}");
            let answered = self.answered.load(Ordering::SeqCst);
            wait::eventually("another response", wait::PATIENCE, || {
                self.answered.load(Ordering::SeqCst) > answered
            })
            .await;
        }
        self.is_over.store(true, Ordering::SeqCst);
    }
}

async fn reload_under_load(proxy: &Proxy, backends: &[Backend; 2], numbers: Range<usize>) {
    let load = Load::default();
    let clients = join_all((0..3).map(|_| load.send(proxy)));
    tokio::join!(clients, load.reload(proxy, backends, numbers));
}

/// Waits until all pooled connections are closed.
async fn wait_for_rest(backends: &[Backend; 2]) {
    wait::eventually("empty pools", wait::PATIENCE, || {
        backends
            .iter()
            .all(|backend| backend.connections_open() == 0)
    })
    .await;
}

#[tokio::test]
async fn two_hundred_reloads_under_load_leave_nothing_behind() {
    let backends = [
        Backend::whole_responses().await,
        Backend::whole_responses().await,
    ];
    let proxy = numbered(&backends, 0).start().await;
    reload_under_load(&proxy, &backends, 1..WARM_UP).await;
    wait_for_rest(&backends).await;
    let rest = Resources::of(proxy.process());
    reload_under_load(&proxy, &backends, WARM_UP..WARM_UP + RELOADS).await;
    wait_for_rest(&backends).await;
    Resources::returned_to(rest, proxy.process()).await;
    proxy.sigterm();
    let exit = proxy.wait_exit(wait::PATIENCE).await;
    assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
}
