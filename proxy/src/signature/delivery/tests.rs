use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::*;

const WINDOW: Duration = Duration::from_secs(600);
const WINDOW_S: u64 = 600;
const NOW: Duration = Duration::from_secs(1_700_000_000);
const WITHIN: Duration = Duration::from_millis(2_500);

fn deliveries(seen: SeenRequests) -> Arc<Deliveries> {
    Arc::new(Deliveries::new(Arc::new(seen)))
}

fn store() -> Arc<Deliveries> {
    deliveries(SeenRequests::new(WINDOW, 1))
}

fn key(number: u8) -> ReplayKey {
    ReplayKey::of(&[&[number]])
}

fn claim(store: &Arc<Deliveries>, number: u8) -> Claim {
    store.claim(key(number), NOW, WINDOW_S, WITHIN)
}

fn first(claim: Claim) -> Delivery {
    match claim {
        Claim::First(delivery) => delivery,
        claim => panic!("{claim:?}"),
    }
}

fn repeat(claim: Claim) -> Repeat {
    match claim {
        Claim::InProgress(repeat) => repeat,
        claim => panic!("{claim:?}"),
    }
}

/// What has been decided by now.
async fn fate(repeat: &mut Repeat) -> Option<Fate> {
    let mut decided = pin!(repeat.decided());
    poll_fn(|context| match decided.as_mut().poll(context) {
        Poll::Ready(fate) => Poll::Ready(Some(fate)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_redelivery_gets_the_outcome_of_the_first_request() {
    let store = store();
    let delivery = first(claim(&store, 1));
    let mut waiting: Vec<_> = (0..3).map(|_| repeat(claim(&store, 1))).collect();
    for repeat in &mut waiting {
        assert_eq!(repeat.respond_within(), WITHIN);
        assert_eq!(fate(repeat).await, None);
    }
    // Another one is not held up.
    first(claim(&store, 2)).accepted(NOW).await;
    delivery.accepted(NOW).await;
    for mut repeat in waiting {
        assert_eq!(fate(&mut repeat).await, Some(Fate::Accepted));
        assert!(matches!(repeat.again(NOW).await, Claim::Accepted));
    }
    assert!(matches!(claim(&store, 1), Claim::Accepted));
    assert!(matches!(
        store.claim(key(1), NOW + WINDOW, WINDOW_S, WITHIN),
        Claim::Accepted
    ));
    let later = store.claim(
        key(1),
        NOW + WINDOW + Duration::from_secs(1),
        WINDOW_S,
        WITHIN,
    );
    first(later).accepted(NOW).await;
}

#[tokio::test]
async fn one_waiting_redelivery_at_a_time_follows_a_failed_request() {
    let store = store();
    let mut delivery = first(claim(&store, 1));
    let mut waiting: Vec<_> = (0..4).map(|_| repeat(claim(&store, 1))).collect();
    while !waiting.is_empty() {
        drop(delivery);
        let mut retried = None;
        let mut still_waiting = Vec::new();
        for mut repeat in waiting {
            assert_eq!(fate(&mut repeat).await, Some(Fate::Failed));
            match repeat.again(NOW).await {
                Claim::First(delivery) => assert!(retried.replace(delivery).is_none()),
                Claim::InProgress(repeat) => still_waiting.push(repeat),
                Claim::Accepted => panic!("it was not accepted"),
            }
        }
        delivery = retried.expect("one is the first");
        waiting = still_waiting;
    }
    drop(delivery);
    // Nothing waits: it is redelivered.
    first(claim(&store, 1)).accepted(NOW).await;
    assert!(matches!(claim(&store, 1), Claim::Accepted));
}

#[tokio::test]
async fn a_cancelled_redelivery_affects_no_other() {
    let store = store();
    let delivery = first(claim(&store, 1));
    let gone = repeat(claim(&store, 1));
    let mut stays = repeat(claim(&store, 1));
    drop(gone);
    assert_eq!(fate(&mut stays).await, None);
    drop(delivery);
    assert_eq!(fate(&mut stays).await, Some(Fate::Failed));
    drop(stays);
    drop(first(claim(&store, 1)));
}

#[tokio::test]
async fn a_panic_of_the_first_request_is_a_failure() {
    let store = store();
    let delivery = first(claim(&store, 1));
    let mut waits = repeat(claim(&store, 1));
    let panicked = tokio::spawn(async move {
        let _in_hand = delivery;
        panic!("in the middle of it");
    });
    assert!(panicked.await.is_err());
    assert_eq!(fate(&mut waits).await, Some(Fate::Failed));
    first(waits.again(NOW).await).accepted(NOW).await;
}

/// However long the call takes, and whatever the memory forgets meanwhile.
#[tokio::test]
async fn a_delivery_in_progress_outlives_its_window_and_a_full_memory() {
    let store = deliveries(SeenRequests::with_entries_max(WINDOW, 16));
    let delivery = first(store.claim(key(0), NOW, WINDOW_S, WITHIN));
    for number in 1..=255 {
        first(store.claim(key(number), NOW, WINDOW_S, WITHIN))
            .accepted(NOW)
            .await;
    }
    let later = NOW + 2 * WINDOW;
    let mut waits = repeat(store.claim(key(0), later, WINDOW_S, WITHIN));
    delivery.accepted(later).await;
    assert_eq!(fate(&mut waits).await, Some(Fate::Accepted));
    assert!(matches!(
        store.claim(key(0), later, WINDOW_S, WITHIN),
        Claim::Accepted
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_concurrent_redeliveries_one_at_a_time_is_forwarded_until_one_is_accepted() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let store = store();
    let (at_once, tries) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let crowd = (0..64).map(|_| {
        let (store, at_once, tries) = (store.clone(), at_once.clone(), tries.clone());
        tokio::spawn(async move {
            let mut claim = claim(&store, 1);
            loop {
                match claim {
                    Claim::First(delivery) => {
                        assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0);
                        tokio::task::yield_now().await;
                        at_once.fetch_sub(1, Ordering::SeqCst);
                        // Every try but the tenth fails.
                        if tries.fetch_add(1, Ordering::SeqCst) == 9 {
                            delivery.accepted(NOW).await;
                        }
                        return;
                    }
                    Claim::InProgress(mut repeat) => match repeat.decided().await {
                        Fate::Accepted => return,
                        Fate::Failed => claim = repeat.again(NOW).await,
                    },
                    Claim::Accepted => return,
                }
            }
        })
    });
    for one in crowd.collect::<Vec<_>>() {
        one.await.expect("no panic");
    }
    assert_eq!(tries.load(Ordering::SeqCst), 10);
}
