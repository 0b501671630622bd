//! Dependencies point one way: there is no cycle between the modules of a crate, nor between the files
//! of a module.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::{expect_none, files, is_test_only, read};
use crate::paths::{code_of, occurrences};

/// `["ship", "spool", "reader"]`.
type Module = Vec<String>;

/// Which sibling depends on which, by their parent module.
type Edges = BTreeMap<Module, BTreeSet<(String, String)>>;

/// The modules below a folder, with their code without tests.
fn modules(folder: &str) -> BTreeMap<Module, String> {
    let sources = files(folder, &["rs"]).into_iter();
    let sources = sources.filter(|path| !is_test_only(path));
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

/// Every path in the code of a module, from the root of the crate.
fn paths_in(module: &Module, code: &str) -> Vec<Module> {
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
        let mut resolved = module[..depth.saturating_sub(ups)].to_vec();
        resolved.extend(parts.drain(ups..));
        resolved
    })
    .collect()
}

/// Which module depends on which, at the level of their common parent. A path to a parent or a child is
/// no edge: `x.rs` and the files in `x/` are one module.
fn edges(modules: &BTreeMap<Module, String>) -> Edges {
    let mut edges = Edges::new();
    for (from, code) in modules {
        for path in paths_in(from, code) {
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

/// All modules that can be reached from `start`.
fn reachable<'a>(start: &str, pairs: &'a BTreeSet<(String, String)>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut pending = vec![start.to_owned()];
    while let Some(from) = pending.pop() {
        let dependencies = pairs.iter().filter(|(one, _)| *one == from);
        for (_, to) in dependencies {
            if reached.insert(to.as_str()) {
                pending.push(to.clone());
            }
        }
    }
    reached
}

/// The dependencies between siblings that are part of a cycle, at each level.
fn cycles(edges: &Edges) -> Vec<String> {
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
fn the_proxy_has_no_import_cycles() {
    let modules = modules("proxy/src");
    let edges = edges(&modules);
    let count: usize = edges.values().map(BTreeSet::len).sum();
    assert!(count > 100, "found only {edges:?}");
    expect_none(&cycles(&edges));
}

#[test]
fn the_load_tester_has_no_import_cycles() {
    expect_none(&cycles(&edges(&modules("loadtest/src"))));
}

#[test]
fn cycles_of_every_length_and_level_are_found() {
    let module = |path: &str| path.split('/').map(str::to_owned).collect::<Module>();
    let cycles_of = |sources: &[(&str, &str)]| {
        let each = sources.iter();
        let modules = each.map(|(path, code)| (module(path), (*code).to_owned()));
        cycles(&edges(&modules.collect()))
    };
    let none = cycles_of(&[
        ("a", "use crate::b::B; use self::x::X;"),
        ("a/x", "use super::A; use crate::b;"),
        ("b", "use crate::c::{self, C};"),
        ("c", "fn nothing() {}"),
    ]);
    assert_eq!(none, Vec::<String>::new());
    let three = cycles_of(&[
        ("a", "use crate::{d, b::B};"),
        ("b/y", "let c = crate::c::d::<u8>();"),
        ("b", ""),
        ("c", "use super::a::A;"),
        ("d", ""),
    ]);
    assert_eq!(three.len(), 3, "{three:?}");
    let siblings = cycles_of(&[
        ("a", "mod x; mod y;"),
        ("a/x", "use super::y::{Y, Z};"),
        ("a/y", "use crate::a::x::deep::Deep;"),
        ("a/y/z", "use super::super::x;"),
    ]);
    assert_eq!(siblings, ["in crate::a: x -> y", "in crate::a: y -> x"]);
}
