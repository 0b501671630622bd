use std::ffi::OsStr;

use super::*;
use crate::exchange::RequestId;
use crate::record::batch::LineBatch;

/// 2026-11-22T08:30:00.123Z.
const NOW: Duration = Duration::from_millis(1_795_336_200_123);
const DAY: Duration = Duration::from_secs(86_400);

fn config(directory: &Path, rotate_at_bytes: u64) -> FileConfig {
    FileConfig {
        path: directory.join("deep/er/events.ndjson"),
        rotate_at_bytes,
        keep: 30 * DAY,
    }
}

fn batch(lines: &[&str]) -> LineBatch {
    let mut batch = LineBatch::default();
    for line in lines {
        batch.push(&RequestId::new(Duration::ZERO), line.as_bytes());
    }
    batch
}

fn write(file: &mut EventFile, lines: &[&str], now: Duration) -> WriteOutcome {
    file.write(batch(lines).lines(), now)
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory(path))
        .expect("a directory")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

fn open_to_append(path: &Path) -> File {
    let opened = OpenOptions::new().append(true).open(path);
    opened.expect("a file")
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).expect("a file")
}

#[test]
fn lines_are_appended_to_an_existing_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    for line in ["one", "two"] {
        let mut file = EventFile::open(&config, NOW, Arc::default()).expect("a file");
        let written = write(&mut file, &[line], NOW);
        assert!(written.lines == 1 && written.error.is_none());
    }
    assert_eq!(text(&config.path), "one\ntwo\n");
}

#[test]
fn an_incomplete_line_after_a_crash_does_not_damage_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    fs::create_dir_all(config.path.parent().expect("a parent")).expect("a directory");
    fs::write(&config.path, "whole\nhal").expect("a file");
    let mut file = EventFile::open(&config, NOW, Arc::default()).expect("a file");
    write(&mut file, &["next"], NOW);
    assert_eq!(text(&config.path), "whole\nhal\nnext\n");
}

#[test]
fn a_file_is_rotated_before_it_grows_too_large() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), 10);
    let mut file = EventFile::open(&config, NOW, Arc::default()).expect("a file");
    // Two lines of five bytes fill a file; one of eleven gets its own.
    let written = write(&mut file, &["1234", "5678", "9", "abcdefghij", "k"], NOW);
    assert!(written.lines == 5 && written.error.is_none(), "{written:?}");
    assert_eq!(
        names(&config.path),
        [
            "events-20261122T083000.123Z.ndjson",
            "events-20261122T083000.124Z.ndjson",
            "events-20261122T083000.125Z.ndjson",
            "events.ndjson",
        ]
    );
    let rotated = |millisecond| {
        text(
            config
                .path
                .with_file_name(format!("events-20261122T083000.{millisecond}Z.ndjson")),
        )
    };
    assert_eq!(rotated(123), "1234\n5678\n");
    assert_eq!(rotated(124), "9\n");
    assert_eq!(rotated(125), "abcdefghij\n");
    assert_eq!(text(&config.path), "k\n");
}

#[test]
fn lines_of_a_previous_run_count_for_the_rotation() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), 10);
    let mut file = EventFile::open(&config, NOW, Arc::default()).expect("a file");
    write(&mut file, &["12345678"], NOW);
    drop(file);
    let mut file = EventFile::open(&config, NOW, Arc::default()).expect("a file");
    write(&mut file, &["next"], NOW);
    assert_eq!(text(&config.path), "next\n");
    assert_eq!(names(&config.path).len(), 2);
}

#[test]
fn only_old_rotated_files_are_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let file = EventFile::open(&config, NOW, Arc::default()).expect("a file");
    let old = rotated::free_name(&config.path, NOW - 30 * DAY - Duration::from_millis(1))
        .expect("a name");
    let kept = [
        rotated::free_name(&config.path, NOW - 30 * DAY).expect("a name"),
        rotated::free_name(&config.path, NOW).expect("a name"),
        config
            .path
            .with_file_name("events-20200101T000000.000Z.ndjson.gz"),
        config.path.with_file_name("events-2020.ndjson"),
        config.path.with_file_name("events-.ndjson"),
        config
            .path
            .with_file_name("events-20200101X000000.000Z.ndjson"),
        config
            .path
            .with_file_name("other-20200101T000000.000Z.ndjson"),
    ];
    drop(file);
    fs::write(&old, "old").expect("a file");
    for path in &kept {
        fs::write(path, "kept").expect("a file");
    }
    let mut file = EventFile::open(&config, NOW, Arc::default()).expect("a file");
    assert!(!old.exists());
    assert!(
        kept.iter().all(|path| path.exists()),
        "{:?}",
        names(&config.path)
    );
    // Without a restart or a rotation as well.
    write(&mut file, &["a day later"], NOW + DAY);
    assert!(!kept[0].exists() && kept[1].exists());
}

#[test]
fn a_file_that_was_moved_or_removed_is_reopened() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let mut file = EventFile::open(&config, NOW, Arc::default()).expect("a file");
    write(&mut file, &["one"], NOW);
    let moved = config.path.with_extension("1");
    fs::rename(&config.path, &moved).expect("a move");
    write(&mut file, &["two"], NOW);
    assert_eq!(
        (text(&moved).as_str(), text(&config.path).as_str()),
        ("one\n", "two\n")
    );
    fs::remove_dir_all(directory.path().join("deep")).expect("a removal");
    write(&mut file, &["three"], NOW);
    assert_eq!(text(&config.path), "three\n");
    // logrotate's copytruncate: no hole of zeros in front.
    fs::write(&config.path, "").expect("a truncation");
    write(&mut file, &["four"], NOW);
    assert_eq!(text(&config.path), "four\n");
}

#[test]
fn an_error_loses_only_its_own_lines() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let mut file = EventFile::open(&config, NOW, Arc::default()).expect("a file");
    let parent = config.path.parent().expect("a parent").to_owned();
    fs::remove_dir_all(&parent).expect("a removal");
    fs::write(&parent, "in the way").expect("a file");
    let written = write(&mut file, &["lost", "lost too"], NOW);
    assert_eq!(written.lines, 0);
    let error = written.error.expect("an error").to_string();
    assert!(error.contains("events.ndjson"), "{error}");
    fs::remove_file(&parent).expect("a removal");
    assert_eq!(write(&mut file, &["kept"], NOW).lines, 1);
    assert_eq!(text(&config.path), "kept\n");
}

#[test]
fn a_full_disk_loses_whole_lines_only() {
    // A device that fails every write with ENOSPC.
    let mut full = OpenOptions::new()
        .append(true)
        .open("/dev/full")
        .expect("a device");
    let batch = batch(&["one", "two"]);
    let (lines, outcome) = write_whole_lines(&mut full, batch.lines());
    assert_eq!(lines, 0);
    assert_eq!(
        outcome.expect_err("an error").kind(),
        io::ErrorKind::StorageFull
    );
}

#[test]
fn the_part_of_an_incomplete_line_is_removed() {
    /// Accepts this many bytes and then is full.
    struct Small(usize, Vec<u8>);
    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0).min(3);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0 -= count;
            self.1.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let batch = batch(&["one", "two"]);
    let (bytes, outcome) = write_bytes(&mut Small(6, Vec::new()), batch.lines().bytes());
    assert_eq!((bytes, outcome.is_err()), (6, true));
    assert_eq!(batch.lines().fitting(bytes as u64), (4, 1));
    let (bytes, outcome) = write_bytes(&mut Small(8, Vec::new()), batch.lines().bytes());
    assert_eq!((bytes, outcome.is_ok()), (8, true));

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events");
    fs::write(&path, "one\ntw").expect("a file");
    truncate_by(&open_to_append(&path), 2).expect("a shorter file");
    assert_eq!(text(&path), "one\n");
}

#[test]
fn a_path_that_cannot_be_opened_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let in_the_way = directory.path().join("file");
    fs::write(&in_the_way, "").expect("a file");
    let error = EventFile::open(&config(&in_the_way, 10), NOW, Arc::default())
        .expect_err("a file in the way");
    assert!(error.to_string().contains("events.file.path"), "{error}");
    assert!(error.to_string().contains("events.ndjson"), "{error}");
    let mut on_a_directory = config(directory.path(), 10);
    on_a_directory.path = directory.path().to_owned();
    EventFile::open(&on_a_directory, NOW, Arc::default()).expect_err("a directory");
}

#[test]
fn names_without_an_extension_are_rotated() {
    let path = Path::new("events");
    assert_eq!(directory(path), Path::new("."));
    let stamped = OsStr::new("events-20261122T083000.123Z");
    assert_eq!(
        rotated_at(path, stamped).as_deref(),
        Some("20261122T083000.123Z")
    );
    assert_eq!(rotated_at(path, OsStr::new("events")), None);
}
