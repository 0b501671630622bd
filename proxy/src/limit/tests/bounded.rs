//! Memory is bounded, whatever the addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

#[test]
fn a_million_addresses_stay_bounded_and_leave_when_idle() {
    let (limits, clock) = limits(&[limit("flood", 2, SECOND, 2, By::Address)]);
    for number in 0..1_000_000u32 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(number.wrapping_mul(2_654_435_761)));
        let mut caller = Caller::at("192.0.2.1");
        caller.address = address;
        let _ = admit_address(&limits, &caller);
    }
    assert!(limits.keys() <= KEYS_MAX, "{}", limits.keys());
    assert!(limits.keys() > KEYS_MAX / 2, "{}", limits.keys());
    limits.forget_idle();
    assert!(limits.keys() > KEYS_MAX / 2, "they are not idle yet");
    clock.advance(SECOND);
    limits.forget_idle();
    assert_eq!(limits.keys(), 0);
}

#[test]
fn idle_keys_are_forgotten_when_a_shard_is_full() {
    let clock = FakeRelativeClock::default();
    let config = [limit("flood", 1, SECOND, 1, By::Address)];
    let limits = RateLimits::with_clock(&config, 6_400, &clock);
    let mut caller = Caller::at("2001:db8::1");
    for number in 0..200_000u128 {
        if number % 100 == 0 {
            // A hundred new networks each 100 ms: a thousand are not idle at any time.
            clock.advance(Duration::from_millis(100));
        }
        caller.address = IpAddr::V6(Ipv6Addr::from_bits(number << 64));
        admitted(admit_address(&limits, &caller));
    }
    assert!(limits.keys() <= 6_400, "{}", limits.keys());
}

#[test]
fn a_flood_shares_slots_and_does_not_affect_known_keys() {
    let clock = FakeRelativeClock::default();
    let config = [limit("flood", 1, HOUR, 3, By::Client)];
    let limits = RateLimits::with_clock(&config, 640, &clock);
    let known = Caller::named("known");
    assert_eq!(admitted(admit(&limits, &known)).remaining, 2);
    let mut caller = Caller::at("192.0.2.1");
    let mut refused = 0;
    for number in 0..300_000u32 {
        caller.address = IpAddr::V4(Ipv4Addr::from_bits(number));
        if matches!(admit(&limits, &caller), Decision::Limited { .. }) {
            refused += 1;
        }
    }
    assert!(limits.keys() <= 640, "{}", limits.keys());
    // 65,536 slots of 3 requests take 196,608 of them.
    assert!(refused > 100_000, "{refused}");
    assert_eq!(admitted(admit(&limits, &known)).remaining, 1);
    clock.advance(4 * HOUR);
    caller.address = IpAddr::V4(Ipv4Addr::from_bits(u32::MAX));
    assert_eq!(admitted(admit(&limits, &caller)).remaining, 2);
    limits.forget_idle();
    assert_eq!(limits.keys(), 1);
}
