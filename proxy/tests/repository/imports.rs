//! Stages do not import each other, and nothing below the gateway imports it or the app.

use std::collections::BTreeSet;

use weir::exchange::Stage;

use crate::files::{expect_none, files, read};
use crate::paths::{code_of, occurrences};

/// Modules that may import the top modules.
const ABOVE: [&str; 5] = ["main", "app", "demo", "gateway", "listener"];

/// Modules that only those above may import.
const TOP: [&str; 2] = ["app", "gateway"];

/// The modules of the stages, record among them.
fn stages() -> Vec<&'static str> {
    let stages = Stage::ALL.iter().map(|stage| stage.as_str());
    stages.chain(["record"]).collect()
}

/// The imports of all modules: `(module, path)`.
type Imports = BTreeSet<(String, String)>;

/// The imports that are not allowed.
fn violations(imports: &Imports) -> Vec<String> {
    let stages = stages();
    let forbidden = imports.iter().filter(|(from, path)| {
        let to = path.split("::").next().unwrap_or_default();
        let sideways = stages.contains(&from.as_str()) && stages.contains(&to) && from != to;
        let upwards = TOP.contains(&to) && !ABOVE.contains(&from.as_str());
        sideways || upwards
    });
    forbidden
        .map(|(from, path)| {
            format!("{from} imports crate::{path}: stages meet in the gateway and in the exchange")
        })
        .collect()
}

/// Every path of a source that starts with `crate::`, without this prefix.
fn imports_of(text: &str) -> BTreeSet<String> {
    occurrences(&code_of(text), "crate::").into_iter().collect()
}

#[test]
fn stages_do_not_import_each_other() {
    let mut imports = Imports::new();
    for path in files("proxy/src", &["rs"]) {
        let below = path.trim_start_matches("proxy/src/");
        let module = below.split(['/', '.']).next().unwrap_or_default();
        if below.ends_with("tests.rs") || module == "lib" {
            continue;
        }
        for path in imports_of(&read(&path)) {
            imports.insert((module.to_owned(), path));
        }
    }
    assert!(imports.len() > 20, "found only {imports:?}");
    expect_none(&violations(&imports));
}

#[test]
fn imports_are_parsed_as_rust_parses_them() {
    let text = "#[cfg(test)]\nmod tests;\n\
                use crate::{cache, limit::{self, Config as Limit}, route::trace::TraceContext};\n\
                // crate::backend::Client in a comment does not count\n\
                let a = cache::Key([0; 32]); let b = crate::body::read::<u8>(not_cache::x);\n\
                #[cfg(test)]\nmod more_tests {\n use crate::answer::Answer;\n}\n";
    let expected = [
        "body::read",
        "cache",
        "limit",
        "limit::Config",
        "route::trace::TraceContext",
    ];
    assert_eq!(imports_of(text), expected.map(str::to_owned).into());
}

#[test]
fn a_forbidden_import_is_found() {
    let one = |from: &str, path: &str| Imports::from([(from.to_owned(), path.to_owned())]);
    assert_eq!(violations(&one("cache", "limit::Limits")).len(), 1);
    assert_eq!(violations(&one("cache", "gateway::Gateway")).len(), 1);
    assert_eq!(violations(&one("admin", "app::App")).len(), 1);
    assert_eq!(violations(&one("record", "cache::Store")).len(), 1);
    assert_eq!(violations(&one("cache", "exchange::Exchange")).len(), 0);
    assert_eq!(violations(&one("gateway", "cache::Store")).len(), 0);
}
