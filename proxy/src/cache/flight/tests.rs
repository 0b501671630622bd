use bytes::Bytes;

use super::*;
use crate::refusal::{ErrorCode, Refusal};

const BOUNDS: FlightBounds = FlightBounds {
    response_bytes_max: 1 << 20,
    bytes_max: 4 << 20,
};

type Head = &'static str;

fn key(number: u8) -> CacheKey {
    CacheKey([number; 32])
}

fn leader(flights: &Flights<Head>) -> Lead<Head> {
    match flights.join(key(1), flights.mark(), MayLead::Yes) {
        Joined::Leader(lead) => lead,
        _ => panic!("the first request leads"),
    }
}

fn follower(flights: &Flights<Head>) -> Follower<Head> {
    match flights.join(key(1), flights.mark(), MayLead::Yes) {
        Joined::Follower(follower) => follower,
        _ => panic!("an equal request follows"),
    }
}

fn piece(bytes: usize, with: u8) -> Bytes {
    Bytes::from(vec![with; bytes])
}

fn failure() -> Refusal {
    Refusal::new(ErrorCode::UpstreamConnect, "refused")
}

async fn reading(follower: Follower<Head>) -> Follower<Head> {
    match follower.start().await {
        FollowerStart::Head("head", follower) => follower,
        _ => panic!("the head has arrived"),
    }
}

fn leading(start: FollowerStart<Head>) -> Lead<Head> {
    match start {
        FollowerStart::Leader(lead) => lead,
        _ => panic!("one follower takes over"),
    }
}

async fn rest(follower: &mut Follower<Head>) -> (Vec<u8>, ResponseEnd) {
    let mut read = Vec::new();
    loop {
        match follower.next().await {
            FollowedPiece::Data(data) => read.extend_from_slice(&data),
            FollowedPiece::End(end) => return (read, end),
        }
    }
}

#[tokio::test]
async fn followers_get_everything_whenever_they_join() {
    let flights = Flights::new(BOUNDS);
    let mut lead = leader(&flights);
    let before = follower(&flights);
    assert!(lead.is_followed());
    lead.begin("head");
    lead.push(Bytes::from_static(b"a"));
    let mut during = reading(follower(&flights)).await;
    assert!(matches!(during.arrived(), Some(FollowedPiece::Data(data)) if data == "a"));
    assert!(during.arrived().is_none() && !during.is_at_end());
    let waiting = tokio::spawn(async move { rest(&mut during).await });
    lead.push(Bytes::from_static(b"b"));
    lead.end(ResponseEnd::Whole(None));
    let mut before = reading(before).await;
    assert_eq!(
        rest(&mut before).await,
        (b"ab".to_vec(), ResponseEnd::Whole(None))
    );
    assert!(before.is_at_end());
    assert_eq!(
        waiting.await.expect("joined"),
        (b"b".to_vec(), ResponseEnd::Whole(None))
    );
    drop((before, lead));
    assert_eq!((flights.bytes(), flights.len()), (0, 0));
}

#[test]
fn a_request_that_looked_before_a_landing_looks_again() {
    let flights = Flights::new(BOUNDS);
    let mark = flights.mark();
    let mut lead = leader(&flights);
    lead.begin("head");
    lead.end(ResponseEnd::Whole(None));
    assert!(matches!(
        flights.join(key(1), mark, MayLead::Yes),
        Joined::LookAgain
    ));
    assert!(matches!(
        flights.join(key(1), flights.mark(), MayLead::Yes),
        Joined::Leader(_)
    ));
}

#[tokio::test]
async fn two_followers_at_most_take_over_one_after_the_other() {
    let flights = Flights::new(BOUNDS);
    let mut lead = leader(&flights);
    let followers: Vec<_> = (0..5).map(|_| follower(&flights)).collect();
    let mut started: Vec<_> = followers
        .into_iter()
        .map(|follower| tokio::spawn(follower.start()))
        .collect();
    for _ in 0..ELECTIONS_MAX {
        lead.fail(failure());
        let (elected, _, others) = futures_util::future::select_all(started).await;
        started = others;
        lead = leading(elected.expect("joined"));
        tokio::task::yield_now().await;
        assert!(started.iter().all(|start| !start.is_finished()));
    }
    lead.fail(failure());
    assert_eq!(started.len(), 3);
    for start in started {
        let start = start.await.expect("joined");
        assert!(matches!(start, FollowerStart::Failed(failure) if failure.detail == "refused"));
    }
    assert_eq!(flights.len(), 0);
}

#[tokio::test]
async fn what_must_not_be_shared_sends_all_followers_on_their_own() {
    let flights = Flights::new(BOUNDS);
    for stored in [false, true] {
        let mut lead = leader(&flights);
        let followers = [follower(&flights), follower(&flights)];
        match stored {
            true => lead.stored(),
            false => lead.set_apart(),
        }
        for follower in followers {
            match follower.start().await {
                FollowerStart::Stored => assert!(stored),
                FollowerStart::Alone => assert!(!stored),
                _ => panic!("nothing is shared"),
            }
        }
        assert_eq!(flights.len(), 0);
    }
}

#[tokio::test]
async fn a_leader_that_is_dropped_fails_or_cuts_its_response() {
    let flights = Flights::new(BOUNDS);
    drop(leader(&flights));
    assert_eq!(flights.len(), 0);
    let lead = leader(&flights);
    let waiting = follower(&flights);
    drop(lead);
    let mut lead = leading(waiting.start().await);
    let waiting = follower(&flights);
    lead.begin("head");
    let mut begun = reading(waiting).await;
    let waiting = follower(&flights);
    assert_eq!(flights.followers(), 2);
    drop(lead);
    let cut = ResponseEnd::Cut(ErrorCode::Internal);
    assert_eq!(rest(&mut begun).await, (Vec::new(), cut));
    // Nothing of it has been sent to this one.
    assert!(matches!(waiting.start().await, FollowerStart::Leader(_)));
    drop(begun);
    assert_eq!((flights.followers(), flights.len()), (0, 0));
}

const CUT: ResponseEnd = ResponseEnd::Cut(ErrorCode::UpstreamReset);

#[tokio::test]
async fn a_response_that_is_cut_is_asked_for_again_by_one_of_those_that_have_received_nothing() {
    for recovers in [true, false] {
        let flights = Flights::new(BOUNDS);
        let mut lead = leader(&flights);
        let early = follower(&flights);
        let waiting: Vec<_> = (0..20).map(|_| follower(&flights)).collect();
        lead.begin("head");
        lead.push(piece(10, b'a'));
        let mut early = reading(early).await;
        lead.end(CUT);
        // Whoever arrives now is one of those that wait for the next attempt.
        let late = follower(&flights);
        assert_eq!((flights.followers(), flights.len()), (22, 1));
        let mut started: Vec<_> = waiting
            .into_iter()
            .chain([late])
            .map(|follower| tokio::spawn(follower.start()))
            .collect();
        assert_eq!(rest(&mut early).await, (vec![b'a'; 10], CUT));
        for election in 0..ELECTIONS_MAX {
            let (elected, _, others) = futures_util::future::select_all(started).await;
            started = others;
            lead = leading(elected.expect("joined"));
            tokio::task::yield_now().await;
            assert!(started.iter().all(|start| !start.is_finished()));
            // Those that wait see its head and its end at once.
            lead.begin("head");
            lead.push(piece(10, b'b'));
            if recovers && election > 0 {
                lead.end(ResponseEnd::Whole(None));
                break;
            }
            lead.end(CUT);
        }
        assert_eq!(started.len(), 19);
        for start in started {
            match start.await.expect("joined") {
                FollowerStart::Head("head", mut follower) if recovers => {
                    let whole = (vec![b'b'; 10], ResponseEnd::Whole(None));
                    assert_eq!(rest(&mut follower).await, whole);
                }
                FollowerStart::Failed(failure) if !recovers => {
                    assert_eq!(failure.code, ErrorCode::UpstreamReset);
                }
                _ => panic!("all get the same"),
            }
        }
        drop((early, lead));
        assert_eq!((flights.bytes(), flights.len()), (0, 0));
    }
}

#[tokio::test]
async fn followers_that_leave_a_response_that_is_cut_leave_the_next_attempt() {
    let flights = Flights::new(BOUNDS);
    let mut lead = leader(&flights);
    let waiting = [follower(&flights), follower(&flights)];
    lead.begin("head");
    lead.end(CUT);
    assert_eq!((flights.followers(), flights.len()), (2, 1));
    drop(waiting);
    assert_eq!((flights.followers(), flights.len()), (0, 0));

    // A response that has outgrown its bounds sends them alone, however it ends.
    let mut lead = leader(&flights);
    let waiting = follower(&flights);
    lead.begin("head");
    lead.push(piece(BOUNDS.response_bytes_max + 1, 0));
    lead.end(CUT);
    assert!(matches!(waiting.start().await, FollowerStart::Alone));

    // Nobody joins the next attempt after a purge.
    let mut lead = leader(&flights);
    let waiting = follower(&flights);
    flights.close();
    lead.begin("head");
    lead.end(CUT);
    let after = leader(&flights);
    let mut lead = leading(waiting.start().await);
    lead.begin("head");
    lead.end(ResponseEnd::Whole(None));
    assert_eq!(flights.len(), 1);
    drop(after);
    assert_eq!(flights.len(), 0);
}

#[test]
fn a_request_continues_for_its_followers_until_the_last_has_left() {
    let flights = Flights::new(BOUNDS);
    let lead = leader(&flights);
    let followers = [follower(&flights), follower(&flights)];
    let continuation = lead.continuation();
    assert!(continuation.clone().outlives_client());
    for follower in followers {
        assert!(continuation.is_wanted());
        drop(follower);
    }
    assert!(!continuation.is_wanted());
    // Nobody can join it any more, although it has not noticed yet.
    assert!(matches!(
        flights.join(key(1), flights.mark(), MayLead::Yes),
        Joined::Leader(_)
    ));
    let alone = leader(&flights);
    assert!(!alone.continuation().outlives_client());
    drop((lead, alone));
    assert_eq!(flights.len(), 0);
}

#[tokio::test]
async fn past_its_bounds_a_response_is_read_on_only_as_far_as_its_followers_follow() {
    let flights = Flights::new(BOUNDS);
    let mut lead = leader(&flights);
    let late = follower(&flights);
    let early = follower(&flights);
    lead.begin("head");
    let mut early = reading(early).await;
    let half = BOUNDS.response_bytes_max / 2 - 1000;
    for with in 0..3 {
        assert!(lead.has_room());
        lead.push(piece(half, with));
    }
    assert!(!lead.has_room());
    assert!(matches!(late.start().await, FollowerStart::Alone));
    assert!(matches!(
        flights.join(key(1), flights.mark(), MayLead::Yes),
        Joined::Alone
    ));
    for with in 0..3 {
        let Some(FollowedPiece::Data(data)) = early.arrived() else {
            panic!("it is held");
        };
        assert_eq!(data, piece(half, with));
    }
    assert!(lead.has_room());
    assert_eq!(flights.bytes(), 0);
    lead.push(piece(1, 9));
    lead.end(ResponseEnd::Whole(None));
    assert_eq!(rest(&mut early).await.0, [9]);
    drop(early);
    assert_eq!(flights.bytes(), 0);
}

#[test]
fn responses_are_bounded_in_all() {
    let flights = Flights::new(FlightBounds {
        response_bytes_max: 1 << 20,
        bytes_max: 2 << 20,
    });
    let mut leads: Vec<_> = (0..5)
        .map(
            |number| match flights.join(key(number), flights.mark(), MayLead::Yes) {
                Joined::Leader(lead) => lead,
                _ => panic!("each is different"),
            },
        )
        .collect();
    for lead in &mut leads {
        lead.begin("head");
        lead.push(piece(900_000, 0));
        assert!(flights.bytes() <= 2 << 20);
    }
    drop(leads);
    assert_eq!(flights.bytes(), 0);
}

#[tokio::test]
async fn nobody_joins_a_closed_flight_and_its_followers_are_served() {
    let flights = Flights::new(BOUNDS);
    let mut before = leader(&flights);
    let following = follower(&flights);
    flights.close();
    let mut after = leader(&flights);
    before.begin("head");
    before.end(ResponseEnd::Whole(None));
    assert!(reading(following).await.is_at_end());
    // The end of the first one does not end the second.
    drop(before);
    let following = follower(&flights);
    after.begin("head");
    after.end(ResponseEnd::Whole(None));
    assert!(reading(following).await.is_at_end());
}

#[tokio::test]
async fn a_request_that_may_not_lead_follows_or_goes_alone() {
    let flights = Flights::new(BOUNDS);
    let join = |mark| flights.join(key(1), mark, MayLead::No);
    let mark = flights.mark();
    assert!(matches!(join(mark), Joined::Alone));
    assert_eq!(flights.len(), 0);
    let mut lead = leader(&flights);
    let Joined::Follower(following) = join(mark) else {
        panic!("a request is in flight");
    };
    lead.begin("head");
    lead.push(piece(3, b'a'));
    lead.end(ResponseEnd::Whole(None));
    let mut following = reading(following).await;
    assert_eq!(rest(&mut following).await.0, b"aaa");
    assert!(matches!(join(mark), Joined::LookAgain));
    drop(following);

    // It does not take over; another one does.
    let mut lead = leader(&flights);
    let Joined::Follower(following) = join(flights.mark()) else {
        panic!("a request is in flight");
    };
    let successor = follower(&flights);
    lead.fail(failure());
    assert!(matches!(following.start().await, FollowerStart::Alone));
    let mut lead = leading(successor.start().await);
    // Nobody is left that could.
    let Joined::Follower(following) = join(flights.mark()) else {
        panic!("a request is in flight");
    };
    lead.fail(failure());
    assert!(matches!(following.start().await, FollowerStart::Alone));
    assert_eq!((flights.len(), flights.followers()), (0, 0));
}
