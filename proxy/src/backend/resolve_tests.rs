use std::collections::VecDeque;

use tokio::net::TcpListener;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);

type ScriptedResult = Result<Vec<SocketAddr>, &'static str>;

/// A name with these results, one a lookup; the last one stays.
struct ScriptedName {
    name: Arc<Name>,
    results: Arc<Mutex<VecDeque<ScriptedResult>>>,
    lookups: Arc<AtomicUsize>,
}

impl ScriptedName {
    fn new(results: &[ScriptedResult]) -> Self {
        let results = Arc::new(Mutex::new(results.iter().cloned().collect::<VecDeque<_>>()));
        let lookups = Arc::new(AtomicUsize::new(0));
        let (script, count) = (results.clone(), lookups.clone());
        let lookup = move |_: &str, _| -> LookupFuture {
            count.fetch_add(1, Ordering::Relaxed);
            let mut script = script.lock();
            let result = match script.len() {
                1 => script[0].clone(),
                _ => script.pop_front().expect("a result"),
            };
            Box::pin(async move { result.map_err(io::Error::other) })
        };
        ScriptedName {
            name: Name::new("a.test", 80, Box::new(lookup)),
            results,
            lookups,
        }
    }

    fn lookups(&self) -> usize {
        self.lookups.load(Ordering::Relaxed)
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.name.addresses().await?.to_vec())
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_first_request_waits_for_a_lookup() {
    let name = ScriptedName::new(&[Ok(vec![address(1)]), Ok(vec![address(2), address(3)])]);
    let (first, second) = tokio::join!(name.addresses(), name.addresses());
    assert_eq!(first.expect("resolved"), [address(1)]);
    assert_eq!(second.expect("resolved"), [address(1)]);
    assert_eq!(name.lookups(), 1);
    pass(PERIOD + Duration::from_millis(1)).await;
    let known = name.addresses().await.expect("resolved");
    assert_eq!(known, [address(2), address(3)]);
    assert_eq!(name.lookups(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failing_lookup_keeps_the_last_addresses() {
    let name = ScriptedName::new(&[
        Ok(vec![address(1)]),
        Err("no server"),
        Ok(vec![]),
        Ok(vec![address(2)]),
    ]);
    assert_eq!(name.addresses().await.expect("resolved"), [address(1)]);
    for expected in [address(1), address(1), address(2)] {
        pass(PERIOD + Duration::from_millis(1)).await;
        assert_eq!(name.addresses().await.expect("resolved"), [expected]);
    }
    assert_eq!(name.lookups(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_never_resolved_is_an_error_and_looked_up_again() {
    let name = ScriptedName::new(&[Err("unknown host"), Ok(vec![address(1)])]);
    let (first, second) = tokio::join!(name.addresses(), name.addresses());
    for failed in [first, second, name.addresses().await] {
        let error = failed.expect_err("unresolved").to_string();
        assert!(
            error.contains("a.test cannot be resolved: unknown host"),
            "{error}"
        );
    }
    assert_eq!(name.lookups(), 1, "the failure is kept for a moment");
    // The clock of `clock::now` is not paused.
    name.name.latest.send_modify(|latest| {
        if let Some((at, _)) = &mut latest.failed {
            *at -= FAILURE_KEPT;
        }
    });
    assert_eq!(name.addresses().await.expect("resolved"), [address(1)]);
    assert_eq!(name.lookups(), 2);
}

#[tokio::test(start_paused = true)]
async fn lookups_pause_while_the_name_is_not_in_use() {
    let name = ScriptedName::new(&[Ok(vec![address(1)])]);
    name.addresses().await.expect("resolved");
    pass(PERIOD * 100).await;
    let after_pause = name.lookups();
    assert_eq!(after_pause, 2 + UNUSED_PERIODS_MAX as usize);
    name.results.lock()[0] = Ok(vec![address(2)]);
    // The old addresses serve at once; the new ones follow.
    assert_eq!(name.addresses().await.expect("resolved"), [address(1)]);
    pass(Duration::from_millis(1)).await;
    assert_eq!(name.addresses().await.expect("resolved"), [address(2)]);
    assert_eq!(name.lookups(), after_pause + 1);
}

#[tokio::test(start_paused = true)]
async fn requests_over_open_connections_keep_lookups_running() {
    let name = ScriptedName::new(&[Ok(vec![address(1)])]);
    name.addresses().await.expect("resolved");
    let addresses = Addresses::Named(name.name.clone());
    for _ in 0..100 {
        addresses.note_use();
        pass(PERIOD).await;
    }
    assert!(name.lookups() >= 100, "{}", name.lookups());
}

#[tokio::test(start_paused = true)]
async fn lookups_end_with_the_endpoint() {
    let name = ScriptedName::new(&[Ok(vec![address(1)])]);
    name.addresses().await.expect("resolved");
    let ScriptedName { name, lookups, .. } = name;
    let before = lookups.load(Ordering::Relaxed);
    let weak = Arc::downgrade(&name);
    drop(name);
    assert!(weak.upgrade().is_none());
    pass(PERIOD * 3).await;
    assert_eq!(lookups.load(Ordering::Relaxed), before);
    // The lookup function, which counts, is gone too.
    assert_eq!(Arc::strong_count(&lookups), 1);
}

#[tokio::test]
async fn all_addresses_are_used_in_turn_and_vanished_ones_no_more() {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("bound"));
    }
    let at = |index: usize| listeners[index].local_addr().expect("an address");
    let name = ScriptedName::new(&[Ok(vec![at(0), at(1)])]);
    let addresses = Addresses::Named(name.name.clone());
    let peers = async |count: usize| {
        let mut peers = Vec::new();
        for _ in 0..count {
            let stream = addresses.connect(TIMEOUT).await.expect("connected");
            peers.push(stream.peer_addr().expect("a peer"));
        }
        peers
    };
    assert_eq!(peers(4).await, [at(0), at(1), at(0), at(1)]);
    name.results.lock()[0] = Ok(vec![at(1), at(2)]);
    name.name.look_up().await;
    let later = peers(4).await;
    assert!(!later.contains(&at(0)), "{later:?}");
    assert!(
        later.contains(&at(1)) && later.contains(&at(2)),
        "{later:?}"
    );
}

#[test]
fn addresses_are_not_looked_up() {
    for (host, expected) in [("127.0.0.1", "127.0.0.1:80"), ("[::1]", "[::1]:80")] {
        match Addresses::of(host, 80) {
            Addresses::Literal(address) => assert_eq!(address.to_string(), expected),
            Addresses::Named(_) => panic!("{host} is an address"),
        }
    }
    assert!(matches!(
        Addresses::of("localhost", 80),
        Addresses::Named(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_hangs_ends_and_is_followed_by_the_next_one() {
    let lookups = Arc::new(AtomicUsize::new(0));
    let count = lookups.clone();
    let lookup = move |_: &str, _| -> LookupFuture {
        match count.fetch_add(1, Ordering::Relaxed) {
            1 => Box::pin(std::future::pending()),
            number => Box::pin(async move { Ok(vec![address(number as u16 + 1)]) }),
        }
    };
    let name = Name::new("a.test", 80, Box::new(lookup));
    assert_eq!(*name.addresses().await.expect("resolved"), [address(1)]);
    // The second one hangs for a period; the addresses stay.
    while lookups.load(Ordering::Relaxed) < 3 {
        assert_eq!(*name.addresses().await.expect("resolved"), [address(1)]);
        pass(PERIOD).await;
    }
    pass(PERIOD / 2).await;
    assert_ne!(*name.addresses().await.expect("resolved"), [address(1)]);
}
