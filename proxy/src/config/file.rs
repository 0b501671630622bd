//! The file of a running process: loading it again, and finding out whether it, or a file that it names, has changed.
//!
//! Changes are found by content: inotify reports nothing for a single file that is bind-mounted, nor for the swap of a
//! symbolic link in a parent folder (Kubernetes swaps `..data`), and times of modification can stay the same.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;

use super::{ConfigError, FILE_BYTES_MAX, LoadedConfig, load};
use crate::settings::diagnostic::Diagnostics;
use crate::settings::hashed::SecretHash;
use crate::settings::node::{NodeKind, YamlNode};
use crate::settings::{interpolate, tree};

/// The path of a configuration.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    /// The files that the text with this hash names: with `${file:PATH}`, and as PEM files of backends.
    named: Option<(SecretHash, Vec<PathBuf>)>,
}

/// The content of a configuration file and of every file that it names, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSnapshot(Vec<FileContent>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum FileContent {
    Hashed(SecretHash),
    Unreadable(io::ErrorKind),
}

/// A configuration and the file that it was loaded from.
#[derive(Debug)]
pub struct OpenedConfig {
    pub file: ConfigFile,
    pub loaded: LoadedConfig,
    /// Taken before the file was loaded: a change in the meantime is found later.
    pub snapshot: FilesSnapshot,
}

/// Loads the file at `path`, to be loaded again when it changes.
///
/// # Errors
/// As [`load`].
pub fn open(path: PathBuf) -> Result<OpenedConfig, ConfigError> {
    let mut file = ConfigFile::new(path);
    let snapshot = file.snapshot();
    let loaded = load(&file.path)?;
    Ok(OpenedConfig {
        file,
        loaded,
        snapshot,
    })
}

impl ConfigFile {
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        ConfigFile { path, named: None }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Loads it again; files that it names and environment variables are read again as well.
    ///
    /// # Errors
    /// As [`load`], and when it is not a regular file: a pipe is read only once.
    pub fn load_again(&self) -> Result<LoadedConfig, ConfigError> {
        let metadata = std::fs::metadata(&self.path);
        if metadata.is_ok_and(|metadata| !metadata.is_file()) {
            let message = "is not a regular file, so it cannot be read again".to_owned();
            return Err(ConfigError::of_file(&self.path, message));
        }
        load(&self.path)
    }

    /// Reads it, and every file that it names.
    pub fn snapshot(&mut self) -> FilesSnapshot {
        let text = read(&self.path);
        let content = FileContent::of(&text);
        let mut all = vec![content.clone()];
        if let (FileContent::Hashed(hash), Ok(text)) = (content, &text) {
            let named = named_files(&mut self.named, hash, text);
            all.extend(named.iter().map(|path| FileContent::of(&read(path))));
        }
        FilesSnapshot(all)
    }
}

impl FileContent {
    fn of(read: &io::Result<Zeroizing<Vec<u8>>>) -> Self {
        match read {
            Ok(bytes) => FileContent::Hashed(SecretHash::of_bytes(bytes)),
            Err(error) => FileContent::Unreadable(error.kind()),
        }
    }
}

/// The files that a text names; the text is parsed only if it is another one than before.
fn named_files<'k>(
    known: &'k mut Option<(SecretHash, Vec<PathBuf>)>,
    hash: SecretHash,
    text: &[u8],
) -> &'k [PathBuf] {
    let known = match known.take() {
        Some((of, paths)) if of == hash => known.insert((of, paths)),
        _ => {
            let text = std::str::from_utf8(text).unwrap_or_default();
            let diagnostics = &mut Diagnostics::default();
            let mut paths = Vec::new();
            if let Some(mut root) = tree::parse(text, diagnostics) {
                paths = interpolate::named_files(&root);
                let environment = |name: &str| std::env::var(name).ok();
                interpolate::interpolate(&mut root, text, &environment, diagnostics);
                paths.extend(pem_files(&root));
            }
            known.insert((hash, paths))
        }
    };
    &known.1
}

/// The files of `backends[].tls`. Listeners watch their own.
fn pem_files(root: &YamlNode) -> Vec<PathBuf> {
    let backends = match value(root, "backends").map(|node| &node.kind) {
        Some(NodeKind::Sequence(backends)) => &backends[..],
        _ => &[],
    };
    let all = backends.iter().filter_map(|backend| value(backend, "tls"));
    let files = all.flat_map(|tls| {
        let keys = ["ca_file", "certificate", "key"].into_iter();
        keys.filter_map(|key| value(tls, key))
    });
    let paths = files.filter_map(|file| match &file.kind {
        NodeKind::Scalar(path) => Some(PathBuf::from(path.text.as_str())),
        _ => None,
    });
    paths.collect()
}

fn value<'n>(mapping: &'n YamlNode, key: &str) -> Option<&'n YamlNode> {
    let NodeKind::Mapping(entries) = &mapping.kind else {
        return None;
    };
    let (_, value) = entries.iter().find(|(name, _)| name.text == key)?;
    Some(value)
}

/// The content of a regular file, up to the largest that is ever used. Opening a pipe would wait for its writer.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_changes_with_the_file_and_with_every_file_that_it_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("written");
        let text = format!(
            "a: [\"${{file:{0}/one}}\", '$${{file:{0}/none}}']\nb: x${{file:{0}/two}}${{file:{0}/one}}\n",
            folder.path().display()
        );
        write("weir.yaml", &text);
        write("one", "1");
        let mut file = ConfigFile::new(path("weir.yaml"));
        let first = file.snapshot();
        assert_eq!(first, file.snapshot());
        assert_eq!(
            first.0.len(),
            3,
            "the file, `one`, and `two`, which is missing"
        );
        write("two", "2");
        let second = file.snapshot();
        assert_ne!(first, second);
        write("one", "other");
        assert_ne!(second, file.snapshot());
        write("one", "1");
        assert_eq!(second, file.snapshot());
        write("none", "named by an escape only");
        assert_eq!(second, file.snapshot());
        write("weir.yaml", "a: b");
        let third = file.snapshot();
        assert_eq!(third.0.len(), 1);
        std::fs::remove_file(path("weir.yaml")).expect("removed");
        assert_ne!(third, file.snapshot());
        write("weir.yaml", &text);
        assert_eq!(second, file.snapshot());
    }

    #[test]
    fn a_snapshot_changes_with_the_pem_files_of_a_backend() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca_file = folder.path().join("ca.pem");
        let text = format!(
            "backends: [{{name: a}}, {{name: b, tls: {{ca_file: {}}}}}]\n",
            ca_file.display()
        );
        let path = folder.path().join("weir.yaml");
        std::fs::write(&path, text).expect("written");
        let mut file = ConfigFile::new(path);
        let first = file.snapshot();
        std::fs::write(&ca_file, "one").expect("written");
        let second = file.snapshot();
        assert_ne!(first, second);
        std::fs::write(&ca_file, "another").expect("written");
        assert_ne!(second, file.snapshot());
    }

    #[test]
    fn a_file_that_is_no_regular_one_is_neither_read_nor_loaded_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = ConfigFile::new(folder.path().to_owned());
        let error = file.load_again().expect_err("a folder is no file");
        assert!(error.to_string().contains("not a regular file"), "{error}");
        assert_eq!(file.snapshot(), file.snapshot());
    }
}
