//! Documents name only what exists, and the order of the stages is the one of the code.

use std::collections::BTreeSet;
use std::path::Path;

use weir::exchange::Stage;
use weir::refusal::ErrorCode;

use crate::files::{expect_none, files, read, root};
use crate::markdown::Document;

/// Folders whose paths a document may name in backquotes.
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

/// The way, from the code.
fn way() -> Vec<&'static str> {
    let stages = Stage::ALL.iter().map(|stage| stage.as_str());
    ["listener"]
        .into_iter()
        .chain(stages)
        .chain(["record"])
        .collect()
}

/// The names of the way in the order in which a line says them.
fn named_in_order(line: &str) -> Vec<&str> {
    let way = way();
    line.split(|other: char| !other.is_ascii_alphabetic())
        .filter(|word| way.contains(word))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut findings = Vec::new();
    for path in files("", &["md"]) {
        let text = read(&path);
        for link in Document::read(&text).links() {
            let target = link.split('#').next().unwrap_or_default();
            let elsewhere = target.contains("://") || target.is_empty();
            let folder = root().join(&path);
            let folder = folder.parent().unwrap_or(Path::new("/"));
            if !elsewhere && !folder.join(target).exists() {
                findings.push(format!("{path}: the link {link} leads nowhere"));
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
        for span in Document::read(&text).code_spans() {
            let ours = FOLDERS.iter().any(|folder| span.starts_with(folder));
            if ours && !span.contains(' ') && !root().join(span).exists() {
                findings.push(format!("{path}: there is no {span}"));
            }
        }
    }
    expect_none(&findings);
}

#[test]
fn every_room_is_in_the_architecture() {
    let text = read("ARCHITECTURE.md");
    let named: BTreeSet<_> = Document::read(&text).code_spans().into_iter().collect();
    let findings: Vec<_> = files("proxy/src", &["rs"])
        .into_iter()
        .filter(|path| path.matches('/').count() == 2 && !named.contains(path.as_str()))
        .map(|path| format!("ARCHITECTURE.md does not say what {path} is"))
        .collect();
    expect_none(&findings);
}

#[test]
fn the_way_is_told_in_its_order() {
    // The crate's own documentation first; a document may have more on the line, or end earlier
    // (a picture), but never another order.
    for path in ["proxy/src/lib.rs", "ARCHITECTURE.md"] {
        let text = read(path);
        let told = text.lines().any(|line| named_in_order(line) == way());
        assert!(told, "{path} does not tell the way: {}", way().join(" -> "));
    }
    for path in ["README.md", "README.zh-CN.md"] {
        let text = read(path);
        let picture = text
            .lines()
            .map(named_in_order)
            .find(|names| names.len() > 5);
        let picture = picture.unwrap_or_else(|| panic!("{path} has no picture of the way"));
        assert!(
            way().starts_with(&picture),
            "{path} tells the way as {picture:?}"
        );
    }
}

#[test]
fn the_table_of_stages_has_the_order_and_the_codes_of_the_source() {
    let text = read("ARCHITECTURE.md");
    let document = Document::read(&text);
    let way = way();
    let rows: Vec<_> = document
        .rows()
        .into_iter()
        .filter(|cells| cells.len() == 3 && way.contains(&cells[0]))
        .collect();
    let order: Vec<_> = rows.iter().map(|cells| cells[0]).collect();
    assert_eq!(order, way);

    let told: BTreeSet<String> = rows
        .iter()
        .flat_map(|cells| cells[2].split(','))
        .map(|code| code.trim().replace('`', ""))
        .filter(|code| !code.is_empty())
        .collect();
    let real: BTreeSet<String> = ErrorCode::ALL
        .iter()
        .map(|code| format!("{} {}", code.as_str(), code.status().as_u16()))
        .collect();
    assert_eq!(told, real);
}

#[test]
fn every_claim_names_tests_that_exist() {
    let source: String = ["proxy", "loadtest", "tests"]
        .iter()
        .flat_map(|folder| files(folder, &["rs"]))
        .map(|path| read(&path))
        .collect();
    let text = read("README.md");
    let document = Document::read(&text);
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
            findings.push(format!("README.md: no test shows that {}", cells[0]));
        }
        let unknown = names
            .iter()
            .map(|name| name.trim_matches('`'))
            .filter(|name| !source.contains(&format!("fn {name}(")));
        findings.extend(unknown.map(|name| format!("README.md: there is no test {name}")));
    }
    assert!(seen > 5, "the table of claims has {seen} rows");
    expect_none(&findings);
}

/// Metrics whose names are settled and whose feature is not built yet: rules for them wait.
const TO_COME: [&str; 2] = ["weir_circuit_open", "weir_config_reloads_total"];

#[test]
fn metrics_in_documents_exist() {
    let source: String = files("proxy/src", &["rs"])
        .iter()
        .map(|path| read(path))
        .collect();
    let mut findings = Vec::new();
    for name in TO_COME {
        if source.contains(&format!("\"{name}\"")) {
            findings.push(format!(
                "{name} is there: take it off the list of those to come"
            ));
        }
    }
    for path in files("", &["md", "yaml", "sh"]) {
        for word in read(&path).split(|other: char| !other.is_ascii_alphanumeric() && other != '_')
        {
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word);
            if TO_COME.contains(&name) && path.starts_with("alerts/") {
                continue;
            }
            if name.starts_with("weir_") && !source.contains(&format!("\"{name}\"")) {
                findings.push(format!("{path}: there is no metric {word}"));
            }
        }
    }
    expect_none(&findings);
}
