//! Files stay small enough to be proofread, their names are meaningful, and there are no cargo features.

use crate::exceptions::{self, Exception};
use crate::files::{expect_none, files, read};

const LINES_MAX: usize = 400;

/// Names of modules that could contain anything.
const MEANINGLESS: [&str; 6] = ["utils", "util", "common", "helpers", "types", "misc"];

/// The files that are too long, and the exceptions that are not needed.
fn violations(sizes: &[(String, usize)], exceptions: &[Exception]) -> Vec<String> {
    let too_long = sizes.iter().filter_map(|(path, lines)| {
        let exception = exceptions.iter().find(|exception| exception.path == *path);
        let lines_max = exception.map_or(LINES_MAX, |exception| exception.lines_max);
        (*lines > lines_max)
            .then(|| format!("{path} has {lines} lines, more than {lines_max}: split it"))
    });
    let unused = exceptions.iter().filter_map(|exception| {
        let path = &exception.path;
        let is_needed = sizes
            .iter()
            .any(|(other, lines)| other == path && *lines > LINES_MAX);
        (!is_needed).then(|| format!("exceptions.txt: {path} no longer needs an exception"))
    });
    too_long.chain(unused).collect()
}

#[test]
fn files_have_at_most_400_lines() {
    let sizes: Vec<_> = files("", &["rs", "sh"])
        .into_iter()
        .map(|path| {
            let lines = read(&path).lines().count();
            (path, lines)
        })
        .collect();
    assert!(sizes.len() > 20, "found only {} files", sizes.len());
    expect_none(&violations(&sizes, &exceptions::all()));
}

#[test]
fn module_names_are_meaningful() {
    let findings: Vec<_> = files("", &["rs"])
        .into_iter()
        .filter(|path| {
            path.split(['/', '.'])
                .any(|part| MEANINGLESS.contains(&part))
                || path.ends_with("/mod.rs")
        })
        .map(|path| format!("{path}: a name that could mean anything, or a mod.rs"))
        .collect();
    expect_none(&findings);
}

#[test]
fn there_are_no_cargo_features() {
    let findings: Vec<_> = files("proxy/src", &["rs"])
        .into_iter()
        .filter(|path| read(path).contains("cfg(feature"))
        .map(|path| format!("{path}: a cargo feature; use a configuration key instead"))
        .collect();
    expect_none(&findings);
}

#[test]
fn long_files_and_unused_exceptions_are_found() {
    let exception = |lines_max| Exception {
        path: "a.rs".to_owned(),
        lines_max,
    };
    let size = |lines| ("a.rs".to_owned(), lines);
    assert_eq!(violations(&[size(400)], &[]).len(), 0);
    assert_eq!(violations(&[size(401)], &[]).len(), 1);
    assert_eq!(violations(&[size(450)], &[exception(450)]).len(), 0);
    assert_eq!(violations(&[size(451)], &[exception(450)]).len(), 1);
    assert_eq!(violations(&[size(300)], &[exception(450)]).len(), 1);
    assert_eq!(violations(&[], &[exception(450)]).len(), 1);
}
