//! The output files. They are checked before the first request, so that an unwritable report does not waste a test.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Checks that every file can be written, and removes the files of an earlier run, which must not be mistaken for the
/// results of this one. Each path comes with its flag.
///
/// # Errors
/// A file that cannot be written, or two flags with the same file.
pub(crate) fn prepare(outputs: &[(&'static str, Option<&PathBuf>)]) -> anyhow::Result<()> {
    let given = outputs
        .iter()
        .filter_map(|(flag, path)| Some((*flag, (*path)?)));
    let given: Vec<(&str, &PathBuf)> = given.collect();
    for (place, (flag, path)) in given.iter().enumerate() {
        let mut before = given.iter().take(place);
        if let Some((other, _)) = before.find(|(_, other)| other == path) {
            anyhow::bail!(
                "{other} and {flag} are both {}: use different files",
                path.display()
            );
        }
    }
    // Check all of them before removing any.
    for (flag, path) in &given {
        check(path).with_context(|| format!("{flag} {}: cannot be written", path.display()))?;
    }
    for (flag, path) in &given {
        remove(path).with_context(|| format!("{flag} {}: cannot be replaced", path.display()))?;
    }
    Ok(())
}

fn check(path: &Path) -> anyhow::Result<()> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            anyhow::bail!("is a directory: append a file name")
        }
        Ok(found) if found.is_file() => {
            OpenOptions::new().append(true).open(path)?;
        }
        // A pipe or a terminal: opening it could block until there is a reader.
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            anyhow::ensure!(
                directory.is_dir(),
                "the directory {} does not exist",
                directory.display()
            );
            // This turns a dangling symbolic link into a file, and removes both.
            File::create(path)?;
            std::fs::remove_file(path)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => std::fs::remove_file(path),
        // The target of a symbolic link is kept and truncated.
        Ok(found) if found.is_symlink() && path.is_file() => File::create(path).map(drop),
        _ => Ok(()),
    }
}

/// Writes an output file, if its flag was given.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(
    path: &Option<PathBuf>,
    text: impl Fn() -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    std::fs::write(path, text()?).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwritable_files_are_reported_before_any_is_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("old.json"), "an earlier report").expect("a file");
        std::fs::write(at("file"), "").expect("a file");
        let old = at("old.json");
        for (invalid, reason) in [
            (at("none/out.html"), "does not exist"),
            (directory.path().to_owned(), "is a directory"),
            (at("file/out.html"), "cannot be written"),
            (at("old.json"), "both"),
        ] {
            let outputs = [("--json", Some(&old)), ("--report", Some(&invalid))];
            let error = format!("{:#}", prepare(&outputs).expect_err("an error"));
            assert!(
                error.contains(reason) && error.contains("--report"),
                "{error}"
            );
            assert!(old.exists(), "{error}");
        }
        let new = at("new.html");
        prepare(&[
            ("--json", Some(&old)),
            ("--report", Some(&new)),
            ("--junit", None),
        ])
        .expect("fine");
        assert!(!old.exists() && !new.exists());
    }

    #[test]
    fn links_and_devices_are_not_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        std::fs::write(&real, "an earlier report").expect("a file");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        let null = PathBuf::from("/dev/null");
        prepare(&[("--json", Some(&link)), ("--report", Some(&null))]).expect("fine");
        assert!(link.is_symlink() && null.exists());
        assert_eq!(std::fs::read_to_string(&real).expect("a file"), "");
    }
}
