//! Aggregates rejections: one line per scheme, address and ten seconds. Pure: the time is passed in.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::chain::{AuditClient, AuditEntry, AuditEvent, Refusals};
use crate::ecs;

/// The length of a window in which rejections are counted together.
const WINDOW: Duration = Duration::from_secs(10);
/// How many addresses are counted separately at a time. Further addresses share one line per scheme, so that a
/// client with a whole network of addresses cannot fill the disk.
const ADDRESSES_MAX: usize = 256;

/// One rejection.
#[derive(Clone, Copy, Debug)]
pub struct RejectedAccess<'a> {
    pub action: AuditAction,
    /// The signature scheme, or `admin`.
    pub scheme: &'static str,
    /// The reason.
    pub outcome: &'static str,
    pub route: Option<&'a str>,
    pub request_id: Option<&'a str>,
}

/// A change through the admin API.
#[derive(Clone, Debug)]
pub struct AdminChange {
    pub action: &'static str,
    pub outcome: ChangeOutcome,
    pub what: serde_json::Value,
}

/// Whether a change took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    Success,
    Failure,
}

impl ChangeOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            ChangeOutcome::Success => "success",
            ChangeOutcome::Failure => "failure",
        }
    }
}

/// The kind of rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditAction {
    Signature,
    Admin,
}

impl AuditAction {
    const fn as_str(self) -> &'static str {
        match self {
            AuditAction::Signature => "signature_refused",
            AuditAction::Admin => "admin_refused",
        }
    }
}

/// The kind of rejection, the scheme and the address; `None` for all further addresses.
type RejectionKey = (AuditAction, &'static str, Option<IpAddr>);

/// The open windows.
#[derive(Debug, Default)]
pub(super) struct Floods {
    open: HashMap<RejectionKey, RejectionWindow>,
    /// Changes to write at the next tick.
    changes: Vec<AuditEntry>,
}

#[derive(Debug)]
struct RejectionWindow {
    first: Duration,
    last: Duration,
    outcomes: BTreeMap<&'static str, u64>,
    route: Option<String>,
    request_id: Option<String>,
}

impl Floods {
    /// Notes a change.
    pub(super) fn note_change(&mut self, changed: AdminChange, address: IpAddr) {
        let mut entry = AuditEntry::of(AuditEvent {
            kind: "event",
            category: ["configuration"],
            r#type: ["change"],
            action: changed.action,
            outcome: changed.outcome.as_str(),
        });
        entry.client = Some(AuditClient {
            ip: address.to_canonical().to_string(),
        });
        entry.changed = Some(changed.what);
        self.changes.push(entry);
    }

    /// AuditCounts a rejection at `now`, since the Unix epoch.
    pub(super) fn note(&mut self, refused: &RejectedAccess<'_>, address: IpAddr, now: Duration) {
        let address = Some(address.to_canonical());
        let mut key = (refused.action, refused.scheme, address);
        if self.open.len() >= ADDRESSES_MAX && !self.open.contains_key(&key) {
            key.2 = None;
        }
        let window = self.open.entry(key).or_insert_with(|| RejectionWindow {
            first: now,
            last: now,
            outcomes: BTreeMap::new(),
            route: refused.route.map(str::to_owned),
            request_id: refused.request_id.map(str::to_owned),
        });
        window.last = now;
        *window.outcomes.entry(refused.outcome).or_insert(0) += 1;
    }

    /// Closes the windows that have ended at `now`.
    pub(super) fn over(&mut self, now: Duration) -> Vec<AuditEntry> {
        let over = |window: &RejectionWindow| {
            // A clock that was set back ends it as well.
            now >= window.first + WINDOW || now < window.first
        };
        self.close(over)
    }

    /// Closes all windows.
    pub(super) fn all(&mut self) -> Vec<AuditEntry> {
        self.close(|_| true)
    }

    fn close(&mut self, is_over: impl Fn(&RejectionWindow) -> bool) -> Vec<AuditEntry> {
        let mut closed: Vec<_> = self.open.extract_if(|_, window| is_over(window)).collect();
        closed.sort_by_key(|(_, window)| window.first);
        let refusals = closed.into_iter().map(|(key, window)| entry(key, window));
        self.changes.drain(..).chain(refusals).collect()
    }
}

fn entry((action, scheme, address): RejectionKey, window: RejectionWindow) -> AuditEntry {
    AuditEntry {
        client: Some(AuditClient {
            ip: address.map_or_else(|| "others".to_owned(), |address| address.to_string()),
        }),
        refused: Some(Refusals {
            scheme,
            count: window.outcomes.values().sum(),
            outcomes: window.outcomes,
            first: ecs::timestamp(window.first),
            last: ecs::timestamp(window.last),
            route: window.route,
            request_id: window.request_id,
        }),
        ..AuditEntry::of(AuditEvent {
            kind: "event",
            category: ["authentication"],
            r#type: ["denied"],
            action: action.as_str(),
            outcome: "failure",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(outcome: &'static str) -> RejectedAccess<'static> {
        RejectedAccess {
            action: AuditAction::Signature,
            scheme: "hmac",
            outcome,
            route: Some("chat"),
            request_id: None,
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_795_336_200 + seconds)
    }

    fn counts(entries: &[AuditEntry]) -> Vec<(String, u64)> {
        let counts = entries.iter().map(|entry| {
            let client = entry.client.as_ref().expect("a client");
            let refused = entry.refused.as_ref().expect("refusals");
            (client.ip.clone(), refused.count)
        });
        counts.collect()
    }

    #[test]
    fn rejections_of_ten_seconds_are_one_line_per_address() {
        let mut floods = Floods::default();
        let (one, other) = ([203, 0, 113, 1].into(), [203, 0, 113, 2].into());
        for second in 0..10 {
            floods.note(&refused("invalid"), one, at(second));
        }
        floods.note(&refused("missing"), one, at(9));
        floods.note(&refused("invalid"), other, at(5));
        assert!(floods.over(at(9)).is_empty());
        let first = floods.over(at(10));
        assert_eq!(counts(&first), [("203.0.113.1".to_owned(), 11)]);
        let refusals = first[0].refused.as_ref().expect("refusals");
        assert_eq!(
            refusals.outcomes,
            [("invalid", 10), ("missing", 1)].into_iter().collect()
        );
        assert_eq!(refusals.first, "2026-11-22T08:30:00.000000Z");
        assert_eq!(refusals.last, "2026-11-22T08:30:09.000000Z");
        // A later rejection opens a new window.
        floods.note(&refused("invalid"), one, at(11));
        assert_eq!(
            counts(&floods.over(at(15))),
            [("203.0.113.2".to_owned(), 1)]
        );
        assert_eq!(counts(&floods.all()), [("203.0.113.1".to_owned(), 1)]);
        assert!(floods.all().is_empty());
    }

    #[test]
    fn a_flood_from_a_network_of_addresses_is_a_few_lines() {
        let mut floods = Floods::default();
        for number in 0..100_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            floods.note(&refused("invalid"), address, at(0));
        }
        let lines = counts(&floods.all());
        assert_eq!(lines.len(), ADDRESSES_MAX + 1);
        assert_eq!(lines.iter().map(|(_, count)| count).sum::<u64>(), 100_000);
        assert!(lines.iter().any(|(ip, _)| ip == "others"));
    }

    #[test]
    fn an_ipv4_mapped_address_is_that_ipv4_address() {
        let mut floods = Floods::default();
        floods.note(&refused("invalid"), [203, 0, 113, 1].into(), at(0));
        let mapped: IpAddr = "::ffff:203.0.113.1".parse().expect("an address");
        floods.note(&refused("invalid"), mapped, at(0));
        assert_eq!(
            counts(&floods.over(at(10))),
            [("203.0.113.1".to_owned(), 2)]
        );
    }
}
