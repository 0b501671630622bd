//! Dependencies point one way: no circle between the modules of the proxy, nor between the files of one
//! of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::paths::{code_of, occurrences};
use crate::repository::{expect_none, files, read};

/// `["ship", "spool", "reader"]`.
type Module = Vec<String>;

/// Which siblings name which, by the module that they belong to.
type Edges = BTreeMap<Module, BTreeSet<(String, String)>>;

/// Whether a file holds tests, or what only tests use.
fn is_of_tests(path: &str) -> bool {
    path.ends_with("tests.rs") || path.ends_with("fixture.rs") || path.contains("/tests/")
}

/// The modules below a folder with their code, without their tests.
fn modules(folder: &str) -> BTreeMap<Module, String> {
    let sources = files(folder, &["rs"]).into_iter();
    let sources = sources.filter(|path| !is_of_tests(path));
    sources
        .filter_map(|path| {
            let below = path.strip_prefix(folder)?.strip_prefix('/')?;
            let module: Module = below
                .strip_suffix(".rs")?
                .split('/')
                .map(str::to_owned)
                .collect();
            let is_root = module == ["lib"] || module[0] == "main";
            (!is_root).then(|| (module, code_of(&read(&path))))
        })
        .collect()
}

/// Every path that a module names, from the root of the crate.
fn named_by(module: &Module, code: &str) -> Vec<Module> {
    let absolute = occurrences(code, "crate::")
        .into_iter()
        .map(|path| (0, path));
    let own = occurrences(code, "self::").into_iter();
    let own = own.map(|path| (module.len(), path));
    let above = occurrences(code, "super::").into_iter();
    let above = above.map(|path| (module.len() - 1, path));
    let each = absolute.chain(own).chain(above);
    each.map(|(depth, path)| {
        let mut parts: Vec<_> = path.split("::").map(str::to_owned).collect();
        let ups = parts.iter().take_while(|part| *part == "super").count();
        let mut whole = module[..depth.saturating_sub(ups)].to_vec();
        whole.extend(parts.drain(ups..));
        whole
    })
    .collect()
}

/// Who names whom, at the level where two modules part. What a module names above or below itself is
/// no edge: `x.rs` is the contract of what lies in `x/`.
fn edges(modules: &BTreeMap<Module, String>) -> Edges {
    let mut edges = Edges::new();
    for (from, code) in modules {
        for path in named_by(from, code) {
            let length =
                (1..=path.len()).take_while(|length| modules.contains_key(&path[..*length]));
            let to = &path[..length.count()];
            let shared = from
                .iter()
                .zip(to)
                .take_while(|(from, to)| from == to)
                .count();
            if shared < from.len() && shared < to.len() {
                let pair = (from[shared].clone(), to[shared].clone());
                edges
                    .entry(from[..shared].to_vec())
                    .or_default()
                    .insert(pair);
            }
        }
    }
    edges
}

/// All that can be reached from `start`.
fn reachable<'a>(start: &str, pairs: &'a BTreeSet<(String, String)>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![start.to_owned()];
    while let Some(from) = next.pop() {
        let ahead = pairs.iter().filter(|(one, _)| *one == from);
        for (_, to) in ahead {
            if reached.insert(to.as_str()) {
                next.push(to.clone());
            }
        }
    }
    reached
}

/// The pairs of siblings that lie on a circle: the strongly connected components of each level.
fn circles(edges: &Edges) -> Vec<String> {
    let mut found = Vec::new();
    for (parent, pairs) in edges {
        for (from, to) in pairs {
            if reachable(to, pairs).contains(from.as_str()) {
                let level = ["crate"]
                    .into_iter()
                    .chain(parent.iter().map(String::as_str));
                let level: Vec<_> = level.collect();
                found.push(format!("in {}: {from} -> {to}", level.join("::")));
            }
        }
    }
    found
}

#[test]
fn no_circle_between_modules() {
    let modules = modules("proxy/src");
    let edges = edges(&modules);
    let count: usize = edges.values().map(BTreeSet::len).sum();
    assert!(count > 100, "the reader found {edges:?}");
    expect_none(&circles(&edges));
}

#[test]
fn no_circle_between_modules_of_the_load_tester() {
    expect_none(&circles(&edges(&modules("loadtest/src"))));
}

#[test]
fn circles_of_every_length_and_level_are_found() {
    let module = |path: &str| path.split('/').map(str::to_owned).collect::<Module>();
    let crate_of = |sources: &[(&str, &str)]| {
        let each = sources.iter();
        let modules = each.map(|(path, code)| (module(path), (*code).to_owned()));
        circles(&edges(&modules.collect()))
    };
    let none = crate_of(&[
        ("a", "use crate::b::B; use self::x::X;"),
        ("a/x", "use super::A; use crate::b;"),
        ("b", "use crate::c::{self, C};"),
        ("c", "fn nothing() {}"),
    ]);
    assert_eq!(none, Vec::<String>::new());
    let three = crate_of(&[
        ("a", "use crate::{d, b::B};"),
        ("b/y", "let c = crate::c::d::<u8>();"),
        ("b", ""),
        ("c", "use super::a::A;"),
        ("d", ""),
    ]);
    assert_eq!(three.len(), 3, "{three:?}");
    let siblings = crate_of(&[
        ("a", "mod x; mod y;"),
        ("a/x", "use super::y::{Y, Z};"),
        ("a/y", "use crate::a::x::deep::Deep;"),
        ("a/y/z", "use super::super::x;"),
    ]);
    assert_eq!(siblings, ["in crate::a: x -> y", "in crate::a: y -> x"]);
}
