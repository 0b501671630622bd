//! Files stay small enough to be proofread, and have names that say something.

use crate::exceptions::{self, Exception};
use crate::files::{expect_none, files, read};

const LINES_MAX: usize = 400;

/// Names of rooms that have no reason to refuse anything.
const NAMES_OF_NOTHING: [&str; 6] = ["utils", "util", "common", "helpers", "types", "misc"];

/// What is too long, and which exceptions are not needed.
fn judge(sizes: &[(String, usize)], exceptions: &[Exception]) -> Vec<String> {
    let excepted = |wanted: &str| {
        exceptions.iter().find_map(|exception| match exception {
            Exception::Lines { path, lines } if path == wanted => Some(*lines),
            _ => None,
        })
    };
    let too_long = sizes.iter().filter_map(|(path, lines)| {
        let lines_max = excepted(path).unwrap_or(LINES_MAX);
        (*lines > lines_max).then(|| {
            format!("{path} has {lines} lines, more than {lines_max}: find the wall it wants")
        })
    });
    let idle = exceptions.iter().filter_map(|exception| match exception {
        Exception::Lines { path, .. } => {
            let needed = sizes
                .iter()
                .any(|(other, lines)| other == path && *lines > LINES_MAX);
            (!needed).then(|| format!("exceptions.txt: {path} needs no exception any more"))
        }
        Exception::Import { .. } => None,
    });
    too_long.chain(idle).collect()
}

#[test]
fn files_are_small() {
    let sizes: Vec<_> = files("", &["rs", "sh"])
        .into_iter()
        .map(|path| {
            let lines = read(&path).lines().count();
            (path, lines)
        })
        .collect();
    assert!(sizes.len() > 20, "the walk found {} files", sizes.len());
    expect_none(&judge(&sizes, &exceptions::all()));
}

#[test]
fn names_say_something() {
    let findings: Vec<_> = files("", &["rs"])
        .into_iter()
        .filter(|path| {
            path.split(['/', '.'])
                .any(|part| NAMES_OF_NOTHING.contains(&part))
                || path.ends_with("/mod.rs")
        })
        .map(|path| format!("{path}: a name that says nothing, or a mod.rs"))
        .collect();
    expect_none(&findings);
}

#[test]
fn there_are_no_cargo_features() {
    let findings: Vec<_> = files("proxy/src", &["rs"])
        .into_iter()
        .filter(|path| read(path).contains("cfg(feature"))
        .map(|path| format!("{path}: a cargo feature; the configuration switches at run time"))
        .collect();
    expect_none(&findings);
}

#[test]
fn a_long_file_is_found_and_an_idle_exception_too() {
    let lines = |path: &str, lines| Exception::Lines {
        path: path.to_owned(),
        lines,
    };
    let size = |path: &str, lines| (path.to_owned(), lines);
    assert_eq!(judge(&[size("a.rs", 400)], &[]).len(), 0);
    assert_eq!(judge(&[size("a.rs", 401)], &[]).len(), 1);
    assert_eq!(judge(&[size("a.rs", 450)], &[lines("a.rs", 450)]).len(), 0);
    assert_eq!(judge(&[size("a.rs", 451)], &[lines("a.rs", 450)]).len(), 1);
    assert_eq!(judge(&[size("a.rs", 300)], &[lines("a.rs", 450)]).len(), 1);
    assert_eq!(judge(&[], &[lines("gone.rs", 450)]).len(), 1);
}
