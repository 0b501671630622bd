//! A disk that hangs, under the real binary: a small library before the C library's own, built once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::node;
use crate::setup::Setup;

/// Files below one folder, whose disk hangs when it is told to.
#[derive(Debug)]
pub struct HangingDisk {
    switch: PathBuf,
    below: PathBuf,
    library: PathBuf,
}

impl HangingDisk {
    /// The disk of everything below a folder. Says on stderr when there is no C compiler: then the test is
    /// skipped.
    ///
    /// # Panics
    /// When there is none and `CI=true`; when the library cannot be built.
    #[must_use]
    pub fn below(test: &str, folder: &Path) -> Option<Self> {
        static LIBRARY: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
        let Some((_, library)) = LIBRARY.get_or_init(build) else {
            node::skip(test, "there is no C compiler `cc`");
            return None;
        };
        let folder = folder.canonicalize().expect("a folder");
        Some(HangingDisk {
            switch: folder.join("the-disk-hangs"),
            below: folder.join("data"),
            library: library.clone(),
        })
    }

    /// Puts it under a proxy.
    #[must_use]
    pub fn under(&self, setup: Setup) -> Setup {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        setup
            .variable("LD_PRELOAD", &text(&self.library))
            .variable("WEIR_TEST_HANG", &text(&self.switch))
            .variable("WEIR_TEST_HANG_BELOW", &text(&self.below))
    }

    /// From now on every write and every sync waits.
    ///
    /// # Panics
    /// When that cannot be said.
    pub fn hang(&self) {
        std::fs::write(&self.switch, "").expect("the switch");
    }

    /// What waits goes on.
    ///
    /// # Panics
    /// When that cannot be said.
    pub fn resume(&self) {
        std::fs::remove_file(&self.switch).expect("the switch");
    }
}

fn build() -> Option<(TempDir, PathBuf)> {
    let folder = TempDir::new().expect("a temporary directory");
    let (source, library) = (folder.path().join("hang.c"), folder.path().join("hang.so"));
    std::fs::write(&source, include_str!("disk/hang.c")).expect("the source");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .output();
    let built = built.ok()?;
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "the library is not built: {said}");
    Some((folder, library))
}
