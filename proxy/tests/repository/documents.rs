//! Documents refer only to what exists, and list the stages in the order of the code.

use std::collections::BTreeSet;
use std::path::Path;

use weir::exchange::Stage;
use weir::refusal::ErrorCode;

use crate::files::{expect_none, files, read, root};
use crate::markdown::Document;

/// The folders whose files documents refer to in backquotes.
const FOLDERS: [&str; 8] = [
    "proxy/",
    "loadtest/",
    "tests/",
    "bench/",
    "build/",
    "dashboards/",
    "deploy/",
    "docs/",
];

/// The request pipeline, from the code.
fn pipeline() -> Vec<&'static str> {
    let stages = Stage::ALL.iter().map(|stage| stage.as_str());
    ["listener"]
        .into_iter()
        .chain(stages)
        .chain(["record"])
        .collect()
}

/// The stages that a line mentions, in its order.
fn stages_in(line: &str) -> Vec<&str> {
    let pipeline = pipeline();
    line.split(|other: char| !other.is_ascii_alphabetic())
        .filter(|word| pipeline.contains(word))
        .collect()
}

#[test]
fn links_have_a_target() {
    let mut findings = Vec::new();
    for path in files("", &["md"]) {
        let text = read(&path);
        for link in Document::parse(&text).links() {
            let target = link.split('#').next().unwrap_or_default();
            let is_external_or_anchor = target.contains("://") || target.is_empty();
            let folder = root().join(&path);
            let folder = folder.parent().unwrap_or(Path::new("/"));
            if !is_external_or_anchor && !folder.join(target).exists() {
                findings.push(format!("{path}: the link {link} has no target"));
            }
        }
    }
    expect_none(&findings);
}

#[test]
fn paths_in_documents_exist() {
    let mut findings = Vec::new();
    for path in files("", &["md"]) {
        let text = read(&path);
        for span in Document::parse(&text).code_spans() {
            let is_path = FOLDERS.iter().any(|folder| span.starts_with(folder));
            if is_path && !span.contains(' ') && !root().join(span).exists() {
                findings.push(format!("{path}: {span} does not exist"));
            }
        }
    }
    expect_none(&findings);
}

#[test]
fn every_module_is_in_the_architecture() {
    let text = read("ARCHITECTURE.md");
    let named: BTreeSet<_> = Document::parse(&text).code_spans().into_iter().collect();
    let findings: Vec<_> = files("proxy/src", &["rs"])
        .into_iter()
        .filter(|path| path.matches('/').count() == 2 && !named.contains(path.as_str()))
        .map(|path| format!("ARCHITECTURE.md does not list {path}"))
        .collect();
    expect_none(&findings);
}

#[test]
fn documents_list_the_stages_in_order() {
    // The crate's documentation and ARCHITECTURE.md list the whole pipeline; a diagram may end earlier.
    for path in ["proxy/src/lib.rs", "ARCHITECTURE.md"] {
        let text = read(path);
        let is_listed = text.lines().any(|line| stages_in(line) == pipeline());
        assert!(
            is_listed,
            "{path} does not list {}",
            pipeline().join(" -> ")
        );
    }
    for path in ["README.md", "README.zh-CN.md"] {
        let text = read(path);
        let diagram = text.lines().map(stages_in).find(|names| names.len() > 5);
        let diagram =
            diagram.unwrap_or_else(|| panic!("{path} has no diagram of the request pipeline"));
        assert!(
            pipeline().starts_with(&diagram),
            "{path} has the stages in the order {diagram:?}"
        );
    }
}

#[test]
fn the_table_of_stages_has_the_order_and_the_error_codes_of_the_code() {
    let text = read("ARCHITECTURE.md");
    let document = Document::parse(&text);
    let pipeline = pipeline();
    let rows: Vec<_> = document
        .rows()
        .into_iter()
        .filter(|cells| cells.len() == 3 && pipeline.contains(&cells[0]))
        .collect();
    let order: Vec<_> = rows.iter().map(|cells| cells[0]).collect();
    assert_eq!(order, pipeline);

    let documented: BTreeSet<String> = rows
        .iter()
        .flat_map(|cells| cells[2].split(','))
        .map(|code| code.trim().replace('`', ""))
        .filter(|code| !code.is_empty())
        .collect();
    let defined: BTreeSet<String> = ErrorCode::ALL
        .iter()
        .map(|code| format!("{} {}", code.as_str(), code.status().as_u16()))
        .collect();
    assert_eq!(documented, defined);
}

#[test]
fn every_claim_names_tests_that_exist() {
    let source: String = ["proxy", "loadtest", "tests"]
        .iter()
        .flat_map(|folder| files(folder, &["rs"]))
        .map(|path| read(&path))
        .collect();
    let text = read("README.md");
    let document = Document::parse(&text);
    let rows = document.rows();
    let claims = rows
        .iter()
        .skip_while(|cells| cells[0] != "claim")
        .skip(1)
        .take_while(|cells| cells.len() == 3);
    let mut seen = 0;
    let mut findings = Vec::new();
    for cells in claims.filter(|cells| !cells[0].starts_with('-')) {
        let names: Vec<_> = cells[2].split_whitespace().collect();
        seen += 1;
        if names.is_empty() {
            findings.push(format!("README.md: no test for the claim {}", cells[0]));
        }
        let unknown = names
            .iter()
            .map(|name| name.trim_matches('`'))
            .filter(|name| !source.contains(&format!("fn {name}(")));
        findings.extend(unknown.map(|name| format!("README.md: test {name} does not exist")));
    }
    assert!(seen > 5, "the table of claims has {seen} rows");
    expect_none(&findings);
}

/// Metrics with a final name whose feature is not implemented yet; alert rules may refer to them.
const PLANNED: [&str; 0] = [];

#[test]
fn metrics_in_documents_exist() {
    let source: String = files("proxy/src", &["rs"])
        .iter()
        .map(|path| read(path))
        .collect();
    let mut findings = Vec::new();
    for name in PLANNED {
        if source.contains(&format!("\"{name}\"")) {
            findings.push(format!("{name} exists: remove it from the planned ones"));
        }
    }
    for path in files("", &["md", "yaml", "sh"]) {
        for word in read(&path).split(|other: char| !other.is_ascii_alphanumeric() && other != '_')
        {
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word);
            if PLANNED.contains(&name) && path.starts_with("alerts/") {
                continue;
            }
            if name.starts_with("weir_") && !source.contains(&format!("\"{name}\"")) {
                findings.push(format!("{path}: metric {word} does not exist"));
            }
        }
    }
    expect_none(&findings);
}
