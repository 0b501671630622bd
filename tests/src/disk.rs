//! Simulates a hanging disk for the real binary, with a small preloaded library that is built once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::node;
use crate::setup::Setup;

/// A disk below a directory that can be made to hang.
#[derive(Debug)]
pub struct HangingDisk {
    switch: PathBuf,
    below: PathBuf,
    library: PathBuf,
}

impl HangingDisk {
    /// The disk below a directory. `None` if there is no C compiler: the test is skipped, with a message on stderr.
    ///
    /// # Panics
    /// There is no compiler and `CI=true`, or the library cannot be built.
    #[must_use]
    pub fn below(test: &str, directory: &Path) -> Option<Self> {
        static LIBRARY: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
        let Some((_, library)) = LIBRARY.get_or_init(build) else {
            node::skip(test, "there is no C compiler `cc`");
            return None;
        };
        let directory = directory.canonicalize().expect("a folder");
        Some(HangingDisk {
            switch: directory.join("the-disk-hangs"),
            below: directory.join("data"),
            library: library.clone(),
        })
    }

    /// Preloads the library into a proxy.
    #[must_use]
    pub fn under(&self, setup: Setup) -> Setup {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        setup
            .variable("LD_PRELOAD", &text(&self.library))
            .variable("WEIR_TEST_HANG", &text(&self.switch))
            .variable("WEIR_TEST_HANG_BELOW", &text(&self.below))
    }

    /// From now on every write and every sync blocks.
    ///
    /// # Panics
    /// The library cannot be controlled.
    pub fn hang(&self) {
        std::fs::write(&self.switch, "").expect("the switch");
    }

    /// Blocked writes and syncs continue.
    ///
    /// # Panics
    /// The library cannot be controlled.
    pub fn resume(&self) {
        std::fs::remove_file(&self.switch).expect("the switch");
    }
}

fn build() -> Option<(TempDir, PathBuf)> {
    let directory = TempDir::new().expect("a temporary directory");
    let (source, library) = (
        directory.path().join("hang.c"),
        directory.path().join("hang.so"),
    );
    std::fs::write(&source, include_str!("disk/hang.c")).expect("the source");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .output();
    let built = built.ok()?;
    let output = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "the library is not built: {output}");
    Some((directory, library))
}
