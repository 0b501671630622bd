//! A type name means one thing: no struct, enum, trait or alias of a crate shares its name with another.

use std::collections::BTreeMap;

use crate::files::{expect_none, files, is_test_only, read};
use crate::paths::code_of;

/// Names that every module may use for the same purpose, and the purpose.
const CONVENTIONS: [(&str, &str); 1] = [(
    "Config",
    "the checked configuration of a module, always qualified: `limit::Config`",
)];

/// Names that every file may use for a private type, and the purpose.
const PRIVATE_CONVENTIONS: [(&str, &str); 2] = [
    ("State", "the states of the state machine in this file"),
    ("Inner", "what the lock in this file guards"),
];

/// The settings as they are in the file: named after their keys, and always qualified, `raw::Route`.
const RAW_SETTINGS: &str = "proxy/src/config/raw";

/// One definition of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Definition {
    name: String,
    path: String,
    is_private: bool,
}

/// The types that a source defines outside of functions, implementations and inline modules.
fn definitions(path: &str, text: &str) -> Vec<Definition> {
    let code = code_of(text);
    let defined = code.lines().filter_map(|line| {
        let (is_private, item) = match line.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => (false, rest.split_once(") ")?.1),
            Some(rest) => (false, rest.strip_prefix(' ')?),
            None => (true, line),
        };
        let (kind, rest) = item.split_once(' ')?;
        let is_type = ["struct", "enum", "trait", "type", "union"].contains(&kind);
        let name = rest.split(|other: char| !other.is_alphanumeric() && other != '_');
        is_type.then_some(Definition {
            name: name.into_iter().next()?.to_owned(),
            path: path.to_owned(),
            is_private,
        })
    });
    defined.collect()
}

/// The names with more than one definition, unless they follow a convention.
fn duplicates(definitions: &[Definition]) -> BTreeMap<&str, Vec<&str>> {
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for definition in definitions {
        let name = definition.name.as_str();
        let listed = |list: &[(&str, &str)]| list.iter().any(|(listed, _)| *listed == name);
        let is_conventional =
            listed(&CONVENTIONS) || definition.is_private && listed(&PRIVATE_CONVENTIONS);
        let is_raw = definition.path.starts_with(RAW_SETTINGS);
        if !is_conventional && !is_raw {
            by_name.entry(name).or_default().push(&definition.path);
        }
    }
    by_name.retain(|_, paths| paths.len() > 1);
    by_name
}

/// All definitions of a crate, without those for tests.
fn definitions_below(folder: &str) -> Vec<Definition> {
    let sources = files(folder, &["rs"]).into_iter();
    let sources = sources.filter(|path| !is_test_only(path));
    sources
        .flat_map(|path| definitions(&path, &read(&path)))
        .collect()
}

#[test]
fn type_names_are_unique_in_a_crate() {
    let mut findings = Vec::new();
    for folder in ["proxy/src", "loadtest/src"] {
        let definitions = definitions_below(folder);
        assert!(definitions.len() > 100, "found only {definitions:?}");
        for (name, paths) in duplicates(&definitions) {
            findings.push(format!("{name}: {}", paths.join(", ")));
        }
    }
    expect_none(&findings);
}

#[test]
fn definitions_are_parsed_and_duplicates_found() {
    let text = "pub(crate) struct One<T>(T);\n// struct Comment;\nenum Two {\n    Three,\n}\n\
                impl Two {\n    type Four = u8;\n}\n#[cfg(test)]\nimpl Two {\n}\npub trait Five: Sized {}\n\
                #[cfg(test)]\nmod tests {\nstruct Six;\n}\npub type Seven = u8;\nstructure!(Eight);\n";
    let one = definitions("a.rs", text);
    let names: Vec<_> = one
        .iter()
        .map(|found| (&*found.name, found.is_private))
        .collect();
    let expected = [
        ("One", false),
        ("Two", true),
        ("Five", false),
        ("Seven", false),
    ];
    assert_eq!(names, expected);

    let define = |path: &str, text: &str| definitions(path, text);
    let found = |others: &[Definition]| {
        let all = [&one[..], others].concat();
        duplicates(&all)
            .into_keys()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found(&define("b.rs", "struct Two;\npub struct Five;\n")),
        ["Five", "Two"]
    );
    let conventional = "pub struct Config;\nstruct Config;\nenum State {}\nenum State {}\n";
    assert_eq!(found(&define("b.rs", conventional)), Vec::<String>::new());
    assert_eq!(
        found(&define("b.rs", "pub enum State {}\npub enum State {}\n")),
        ["State"]
    );
    assert_eq!(
        found(&define("proxy/src/config/raw/b.rs", "struct Two;\n")),
        Vec::<String>::new()
    );
}
