use super::*;
use crate::clock;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> RetryConfig {
    let mut config = RetryConfig::default();
    config.on.statuses.push(429);
    config
}

fn state(attempts: u32, repeatable: Repeatable) -> AttemptState {
    let now = clock::now();
    AttemptState {
        attempts,
        repeatable,
        body: BodyReplay::Whole,
        has_other_endpoint: false,
        now,
        deadline: now + 300 * SECOND,
    }
}

fn status(status: u16, retry_after: Option<Duration>, quota: Quota) -> AttemptFailure {
    AttemptFailure::Status {
        status,
        retry_after,
        quota,
    }
}

fn plain(code: u16) -> AttemptFailure {
    status(code, None, Quota::Left)
}

#[test]
fn a_request_that_must_not_be_repeated_is_retried_only_if_no_endpoint_has_seen_it() {
    let state = state(1, Repeatable::Unprocessed);
    let next = |failure| config().next(failure, &state, u32::MAX);
    assert_eq!(next(AttemptFailure::Connect), NextStep::Wait(SECOND));
    for failure in [
        AttemptFailure::Reset,
        AttemptFailure::Timeout,
        AttemptFailure::ErrorInBody,
        plain(503),
    ] {
        assert_eq!(next(failure), NextStep::Deliver, "{failure:?}");
    }
}

#[test]
fn failures_are_followed_by_what_the_configuration_lists() {
    let state = state(1, Repeatable::Yes);
    let next = |failure| config().next(failure, &state, u32::MAX);
    for failure in [
        AttemptFailure::Connect,
        AttemptFailure::Reset,
        AttemptFailure::ErrorInBody,
        plain(502),
        plain(429),
    ] {
        assert_eq!(next(failure), NextStep::Wait(SECOND), "{failure:?}");
    }
    assert_eq!(next(AttemptFailure::Timeout), NextStep::Failover);
    assert_eq!(next(AttemptFailure::Invalid), NextStep::Failover);
    assert_eq!(next(plain(500)), NextStep::Deliver);
    assert_eq!(
        next(status(429, None, Quota::Exhausted)),
        NextStep::Failover
    );
    let mut unlisted = config();
    unlisted.on = RetryOn::default();
    assert_eq!(
        unlisted.next(AttemptFailure::Connect, &state, 0),
        NextStep::Failover
    );
    let delivered = unlisted.next(status(429, None, Quota::Exhausted), &state, 0);
    assert_eq!(delivered, NextStep::Deliver);
}

#[test]
fn another_endpoint_comes_first_and_attempts_are_bounded() {
    let mut state = state(2, Repeatable::Yes);
    state.has_other_endpoint = true;
    let next = |state: &AttemptState| config().next(AttemptFailure::Reset, state, u32::MAX);
    assert_eq!(next(&state), NextStep::OtherEndpoint);
    state.has_other_endpoint = false;
    assert_eq!(next(&state), NextStep::Wait(2 * SECOND));
    state.attempts = 3;
    assert_eq!(next(&state), NextStep::Failover);
}

#[test]
fn waits_have_equal_jitter_and_end_before_the_deadline() {
    let mut state = state(1, Repeatable::Yes);
    let wait = |state: &AttemptState, random| config().next(AttemptFailure::Reset, state, random);
    assert_eq!(wait(&state, 0), NextStep::Wait(SECOND / 2));
    state.deadline = state.now + SECOND / 2;
    assert_eq!(wait(&state, 0), NextStep::Failover);
}

#[test]
fn retry_after_is_obeyed_up_to_its_maximum() {
    let state = state(1, Repeatable::Yes);
    let after = |seconds| {
        let failure = status(429, Some(seconds * SECOND), Quota::Left);
        config().next(failure, &state, 0)
    };
    assert_eq!(after(0), NextStep::Wait(SECOND / 2));
    assert_eq!(after(10), NextStep::Wait(10 * SECOND));
    assert_eq!(after(11), NextStep::Failover);
}

#[test]
fn exhausted_quotas_are_recognised() {
    for body in [
        r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
        r#"{"error":{"message":"Budget has been exceeded! Current cost: 10","type":"budget_exceeded","code":"429"}}"#,
        r#"[{"error":{"code":429,"message":"Please check your plan and billing details."}}]"#,
        r#"{"code":"billing_hard_limit_reached"}"#,
        r#"{"error":"the budget of this key is used up"}"#,
    ] {
        assert_eq!(quota(body.as_bytes()), Quota::Exhausted, "{body}");
    }
    for body in [
        r#"{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}"#,
        r#"{"error":{"param":"budget"}}"#,
        "billing",
        "",
    ] {
        assert_eq!(quota(body.as_bytes()), Quota::Left, "{body}");
    }
}

#[test]
fn the_budget_bounds_retries_to_a_share_of_the_live_requests() {
    let budget = RetryBudget::default();
    let take = |live, count| {
        let permits: Vec<_> = (0..count).filter_map(|_| budget.take(live, 0.2)).collect();
        permits.len()
    };
    assert_eq!(take(0, 10), 3, "a quiet backend has some");
    assert_eq!(take(100, 50), 20);
    let held = budget.take(0, 0.2);
    assert_eq!(take(0, 10), 2);
    drop(held);
    assert_eq!(take(0, 10), 3);
}
