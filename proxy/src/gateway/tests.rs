use super::*;

fn future_bytes<'a, F>(
    _: impl Fn(&'a Gateway, &'a mut Session, &'a Connection, Instant, &'a ShutdownWatch) -> F,
) -> usize {
    size_of::<F>()
}

/// Every request in flight holds this future until its response ends.
#[test]
fn the_future_of_a_request_is_bounded() {
    let bytes = future_bytes(Gateway::serve);
    assert!(bytes <= 6000, "{bytes}");
}
