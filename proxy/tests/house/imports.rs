//! Rooms keep their walls: no stage names another, and nothing below the gateway names it.

use std::collections::BTreeSet;

use weir::exchange::Stage;

use crate::exceptions::{self, Exception};
use crate::paths::{code_of, occurrences, without_imports};
use crate::repository::{expect_none, files, read};

/// Rooms that may name the gateway or the app.
const ABOVE: [&str; 5] = ["main", "app", "demo", "gateway", "listener"];

/// Rooms that only those above may name.
const TOP: [&str; 2] = ["app", "gateway"];

/// The rooms of the stages, record among them.
fn stages() -> Vec<&'static str> {
    let stages = Stage::ALL.iter().map(|stage| stage.as_str());
    stages.chain(["record"]).collect()
}

/// What a room names of the others: `(room, item)`.
type Named = BTreeSet<(String, String)>;

fn judge(named: &Named, exceptions: &[Exception]) -> Vec<String> {
    let stages = stages();
    let wrong = named.iter().filter(|(from, item)| {
        let to = item.split("::").next().unwrap_or_default();
        let sideways = stages.contains(&from.as_str()) && stages.contains(&to) && from != to;
        let upwards = TOP.contains(&to) && !ABOVE.contains(&from.as_str());
        sideways || upwards
    });
    let wrong: Named = wrong.cloned().collect();
    let excepted: Named = exceptions
        .iter()
        .filter_map(|exception| match exception {
            Exception::Import { from, item } => Some((from.clone(), item.clone())),
            Exception::Lines { .. } => None,
        })
        .collect();
    let unexpected = wrong.difference(&excepted).map(|(from, item)| {
        format!("{from} names crate::{item}: they meet in the gateway and in the exchange")
    });
    let idle = excepted.difference(&wrong).map(|(from, item)| {
        format!("exceptions.txt: {from} does not name {item}: no exception needed")
    });
    unexpected.chain(idle).collect()
}

/// All that a text of Rust names by `crate::`, as paths without it. A module that was imported
/// counts as what is named through it.
fn named_in(text: &str) -> BTreeSet<String> {
    let code = code_of(text);
    let below_the_imports = without_imports(&code);
    let mut items = BTreeSet::new();
    for path in occurrences(&code, "crate::") {
        let name = path.rsplit("::").next().unwrap_or_default();
        let through: Vec<_> = if name.starts_with(|first: char| first.is_ascii_lowercase()) {
            occurrences(&below_the_imports, &format!("{name}::"))
        } else {
            Vec::new()
        };
        if through.is_empty() {
            items.insert(path);
        } else {
            items.extend(through.into_iter().map(|rest| format!("{path}::{rest}")));
        }
    }
    items
}

#[test]
fn rooms_keep_their_walls() {
    let mut named = Named::new();
    for path in files("proxy/src", &["rs"]) {
        let below = path.trim_start_matches("proxy/src/");
        let room = below.split(['/', '.']).next().unwrap_or_default();
        if below.ends_with("tests.rs") || room == "lib" {
            continue;
        }
        for item in named_in(&read(&path)) {
            named.insert((room.to_owned(), item));
        }
    }
    assert!(named.len() > 20, "the reader found {named:?}");
    expect_none(&judge(&named, &exceptions::all()));
}

#[test]
fn paths_are_read_as_rust_means_them() {
    let text = "#[cfg(test)]\nmod tests;\n\
                use crate::{cache, limit::{self, Config as Limit}, route::trace::TraceContext};\n\
                // crate::backend::Client is only talked about\n\
                let a = cache::Key([0; 32]); let b = crate::body::read::<u8>(not_cache::x);\n\
                #[cfg(test)]\nmod more_tests {\n use crate::answer::Answer;\n}\n";
    let expected = [
        "body::read",
        "cache::Key",
        "limit",
        "limit::Config",
        "route::trace::TraceContext",
    ];
    assert_eq!(named_in(text), expected.map(str::to_owned).into());
}

#[test]
fn a_hole_in_a_wall_is_found() {
    let one = |from: &str, item: &str| Named::from([(from.to_owned(), item.to_owned())]);
    assert_eq!(judge(&one("cache", "limit::Limits"), &[]).len(), 1);
    assert_eq!(judge(&one("cache", "gateway::Gateway"), &[]).len(), 1);
    assert_eq!(judge(&one("admin", "app::App"), &[]).len(), 1);
    assert_eq!(judge(&one("record", "cache::Answers"), &[]).len(), 1);
    assert_eq!(judge(&one("cache", "exchange::Exchange"), &[]).len(), 0);
    assert_eq!(judge(&one("gateway", "cache::Answers"), &[]).len(), 0);
    let exception = Exception::Import {
        from: "cache".to_owned(),
        item: "limit::Limits".to_owned(),
    };
    assert_eq!(judge(&one("cache", "limit::Limits"), &[exception]).len(), 0);
}
