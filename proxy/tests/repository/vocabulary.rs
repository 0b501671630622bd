//! One term per concept: terms that the glossary of ARCHITECTURE.md has replaced do not come back.

use crate::files::{expect_none, files, read};

/// A term, and what to use instead.
type Replaced = (&'static str, &'static str);

/// Terms and phrases that no file uses, in any case.
const TERMS: [Replaced; 29] = [
    ("are told", "are reported, are notified"),
    ("complaint", "log throttle"),
    ("ghost", "stale alert"),
    ("ghosts", "stale alerts"),
    ("gone on with", "continued"),
    ("house rule", "repository check"),
    ("house rules", "repository checks"),
    ("is told", "is reported, is notified, is set, receives"),
    ("keepable", "storable"),
    ("lane", "route pipeline"),
    ("lanes", "route pipelines"),
    ("on the way of a request", "in the request pipeline"),
    ("pushed_back", "on_backpressure"),
    ("said no", "rejected"),
    ("says no", "rejects"),
    ("side_thread", "worker::thread"),
    ("sketch", "parse the request line"),
    ("stand-in", "demo assistant"),
    ("take_turns", "yield to batch writes"),
    ("told apart", "distinguished"),
    ("well again", "recovered"),
    ("whole again", "available again"),
    ("withheld", "stripped headers, held back"),
    ("witness", "check_and_insert"),
    ("替身助手", "模拟助手"),
    ("替身", "模拟"),
    ("这道关卡", "质量门禁"),
    ("关卡", "质量门禁"),
    ("为什么这样建造", "设计决策"),
];

/// Names that no Rust source gives to anything.
const IDENTIFIERS: [Replaced; 19] = [
    ("Complaint", "LogThrottle"),
    ("Desk", "SharedState"),
    ("Home", "PoolKey"),
    ("Judged", "Outcome"),
    ("Lane", "RoutePipeline"),
    ("Mistake", "Diagnostic"),
    ("Mistakes", "Diagnostics"),
    ("Passage", "BodyMode"),
    ("Patience", "DeadlineTimer"),
    ("Said", "what is stated: Usage, RequestFacts"),
    ("Sealed", "HashedSecret"),
    ("Sighting", "Exemplar"),
    ("Standing", "AlertState, QuotaStatus"),
    ("Tally", "counters"),
    ("Telling", "LogThrottle"),
    ("Tide", "ReleasePolicy"),
    ("Way", "Outcome"),
    ("Wanted", "RequestSpec, RequiredCredentials"),
    ("Wish", "RequestDirectives"),
];

/// Files whose text is checked, and the one that lists the terms.
const EXTENSIONS: [&str; 10] = [
    "conf", "json", "md", "py", "rs", "sh", "toml", "txt", "yaml", "yml",
];
const THIS_FILE: &str = "proxy/tests/repository/vocabulary.rs";

/// Whether a line contains a term as a whole word; an underscore separates words unless the term has one.
fn contains(line: &str, term: &str) -> bool {
    let is_ascii = term.is_ascii();
    let continues = |other: char| is_ascii && other.is_alphanumeric();
    line.match_indices(term).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + term.len()..].chars().next();
        !before.is_some_and(continues) && !after.is_some_and(continues)
    })
}

/// Whether a line contains an identifier, not as a part of a longer one.
fn names(line: &str, identifier: &str) -> bool {
    let is_part = |other: char| other.is_alphanumeric() || other == '_';
    line.split(|other| !is_part(other))
        .any(|word| word == identifier)
}

/// The replaced terms of a text, with their lines.
fn violations(path: &str, text: &str) -> Vec<String> {
    let is_rust = path.ends_with(".rs");
    // Most files contain no term even as a part of a word; only the others are read line by line.
    let lower = text.to_lowercase();
    let terms: Vec<_> = TERMS
        .iter()
        .filter(|(term, _)| lower.contains(term))
        .collect();
    let identifiers: Vec<_> = IDENTIFIERS
        .iter()
        .filter(|(identifier, _)| is_rust && text.contains(identifier))
        .collect();
    if terms.is_empty() && identifiers.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let lower = line.to_lowercase();
        let terms = terms.iter().filter(|(term, _)| contains(&lower, term));
        let identifiers = identifiers
            .iter()
            .filter(|(identifier, _)| !is_comment(line) && names(line, identifier));
        found.extend(
            terms
                .chain(identifiers)
                .map(|(term, instead)| format!("{path}:{}: {term}; use: {instead}", index + 1)),
        );
    }
    found
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[test]
fn replaced_terms_are_not_used() {
    let findings: Vec<_> = files("", &EXTENSIONS)
        .into_iter()
        .filter(|path| path != THIS_FILE)
        .flat_map(|path| violations(&path, &read(&path)))
        .collect();
    expect_none(&findings);
}

#[test]
fn replaced_terms_are_found_as_whole_words() {
    let count = |path: &str, text: &str| violations(path, text).len();
    assert_eq!(count("a.md", "A Lane of its own\nplanes and lanes"), 2);
    assert_eq!(count("a.md", "every Desk and Patience"), 0);
    assert_eq!(count("a.rs", "let lane_count = 1;"), 1);
    assert_eq!(
        count("a.rs", "struct Tally;\nstruct TallyRow;\n// A Tally\n"),
        1
    );
    assert_eq!(count("a.md", "启动替身助手"), 2);
    assert_eq!(count("a.rs", "self.take_turns();"), 1);
}

#[test]
fn every_term_is_listed_once_in_lower_case() {
    let mut listed: Vec<_> = TERMS.iter().chain(&IDENTIFIERS).collect();
    for (term, instead) in &TERMS {
        assert_eq!(*term, term.to_lowercase());
        assert!(!contains(&instead.to_lowercase(), term), "{term}");
    }
    listed.sort_unstable();
    listed.dedup_by_key(|(term, _)| *term);
    assert_eq!(listed.len(), TERMS.len() + IDENTIFIERS.len());
}
