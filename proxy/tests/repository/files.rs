//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders without files of the project.
const SKIPPED: [&str; 4] = ["target", "data", ".git", ".tools"];

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the proxy is in a folder of the repository")
        .to_path_buf()
}

/// Every file with one of these extensions under `folder`, as paths from the root, sorted.
pub(crate) fn files(folder: &str, extensions: &[&str]) -> Vec<String> {
    let root = root();
    let mut pending = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !SKIPPED.contains(&name.as_ref()) {
                pending.push(path);
            } else if path.is_file()
                && let Some(extension) = path.extension()
                && extensions.iter().any(|listed| extension == *listed)
            {
                let path = path
                    .strip_prefix(&root)
                    .expect("the path is below the root");
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// The text of a file, by its path from the root.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether a source contains tests, or what only tests use.
pub(crate) fn is_test_only(path: &str) -> bool {
    path.ends_with("tests.rs") || path.ends_with("fixture.rs") || path.contains("/tests/")
}

/// Fails with all findings at once.
pub(crate) fn expect_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}
