//! The files that a run writes. Whether they can be written is known before the first request: a report that is
//! lost after an hour is a lost hour.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Looks whether every file can be written, and removes what an earlier run has left there: that is not this
/// run's, should this one not come to its end. Each with its flag.
///
/// # Errors
/// Which file cannot be written, and why; two flags with the same file.
pub(crate) fn prepare(outputs: &[(&'static str, Option<&PathBuf>)]) -> anyhow::Result<()> {
    let given = outputs
        .iter()
        .filter_map(|(flag, path)| Some((*flag, (*path)?)));
    let given: Vec<(&str, &PathBuf)> = given.collect();
    for (place, (flag, path)) in given.iter().enumerate() {
        let mut before = given.iter().take(place);
        if let Some((other, _)) = before.find(|(_, other)| other == path) {
            anyhow::bail!(
                "{other} and {flag} are both {}: give each its own file",
                path.display()
            );
        }
    }
    // All of them before any is removed.
    for (flag, path) in &given {
        check(path).with_context(|| format!("{flag} {}: it cannot be written", path.display()))?;
    }
    for (flag, path) in &given {
        remove(path)
            .with_context(|| format!("{flag} {}: it cannot be replaced", path.display()))?;
    }
    Ok(())
}

fn check(path: &Path) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            anyhow::bail!("it is a folder: give the name of a file in it")
        }
        Ok(found) if found.is_file() => {
            OpenOptions::new().append(true).open(path)?;
        }
        // A pipe or a terminal: opening it could wait for somebody who reads.
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            anyhow::ensure!(
                folder.is_dir(),
                "there is no folder {}: create it first",
                folder.display()
            );
            // A link that leads nowhere is made a file by this, and goes with it.
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
        // What a link leads to stays where it is, and loses its text.
        Ok(found) if found.is_symlink() && path.is_file() => File::create(path).map(drop),
        _ => Ok(()),
    }
}

/// Writes one of them, where it was asked for.
///
/// # Errors
/// That it cannot be written.
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
    fn what_cannot_be_written_is_known_and_nothing_is_removed_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("old.json"), "an earlier one").expect("a file");
        std::fs::write(at("file"), "").expect("a file");
        let old = at("old.json");
        for (wrong, why) in [
            (at("none/out.html"), "there is no folder"),
            (folder.path().to_owned(), "it is a folder"),
            (at("file/out.html"), "it cannot be written"),
            (at("old.json"), "both"),
        ] {
            let outputs = [("--json", Some(&old)), ("--report", Some(&wrong))];
            let error = format!("{:#}", prepare(&outputs).expect_err("a mistake"));
            assert!(error.contains(why) && error.contains("--report"), "{error}");
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
    fn what_is_no_file_of_ours_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&real, "an earlier one").expect("a file");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        let null = PathBuf::from("/dev/null");
        prepare(&[("--json", Some(&link)), ("--report", Some(&null))]).expect("fine");
        assert!(link.is_symlink() && null.exists());
        assert_eq!(std::fs::read_to_string(&real).expect("a file"), "");
    }
}
