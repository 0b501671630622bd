//! Runs the seeds of the fuzz targets, cut and changed in simple ways, and checks that each target is complete.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::TARGETS;

/// At how many places a seed is cut at most, which bounds the time for large ones.
const CUTS_MAX: usize = 64;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn seeds_of(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder().join("seeds").join(target)).expect("seeds");
    let mut seeds: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.clone(), fs::read(path).expect("a seed")))
        .collect();
    seeds.sort();
    seeds
}

/// The seed itself, its prefixes, and the seed with one byte changed.
fn variants(seed: &[u8]) -> Vec<Vec<u8>> {
    let mut variants = vec![seed.to_vec()];
    let step = seed.len().div_ceil(CUTS_MAX).max(1);
    for at in (0..seed.len()).step_by(step) {
        variants.push(seed[..at].to_vec());
        for change in [0x01, 0x20, 0x80] {
            let mut changed = seed.to_vec();
            changed[at] ^= change;
            variants.push(changed);
        }
    }
    variants
}

#[test]
fn every_seed_passes_whole_cut_and_changed() {
    let mut failures = Vec::new();
    for (name, target) in TARGETS {
        for (path, seed) in seeds_of(name) {
            let fails = |input: &Vec<u8>| catch_unwind(|| target(input)).is_err();
            if let Some(input) = variants(&seed).iter().find(|input| fails(input)) {
                failures.push(format!("{}: {}", path.display(), input.escape_ascii()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_target_has_a_binary_and_seeds() {
    let named: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let list = |folder: PathBuf| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let stems = paths.map(|path| path.file_stem().expect("a name").to_string_lossy().into());
        stems.collect()
    };
    assert_eq!(list(folder().join("seeds")), named);
    assert_eq!(list(folder().join("targets")), named);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("the manifest");
    for name in named {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(!seeds_of(&name).is_empty(), "{name}");
    }
}
