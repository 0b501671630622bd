use tempfile::TempDir;

use super::super::verify::{VerifyReport, verify};
use super::*;

const NOW: Duration = Duration::from_secs(1_795_336_200);
const DAY: Duration = Duration::from_secs(24 * 3600);
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Place {
            folder: TempDir::new().expect("a folder"),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.ndjson")
    }

    fn open(&self, now: Duration) -> AuditLog {
        AuditLog::open(&self.path(), KEEP, now).expect("a log")
    }

    /// A log of this many lines.
    fn filled(lines: usize) -> Self {
        let place = Place::new();
        let mut log = place.open(NOW);
        for _ in 0..lines {
            log.append(&[AuditEntry::stopped()], NOW).expect("written");
        }
        place
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("a file")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("written");
    }

    fn report(&self) -> VerifyReport {
        verify(&self.path()).expect("a log")
    }

    fn faults(&self) -> Vec<String> {
        let faults = self.report().faults.into_iter();
        faults.map(|fault| fault.to_string()).collect()
    }
}

fn without(text: &str, line: usize) -> String {
    let lines = text.lines().enumerate();
    lines
        .filter(|(place, _)| *place != line)
        .map(|(_, text)| format!("{text}\n"))
        .collect()
}

#[test]
fn an_intact_log_verifies_over_many_starts() {
    let place = Place::filled(5);
    for start in 1..4 {
        let mut log = place.open(NOW + Duration::from_secs(start));
        let entries = [AuditEntry::started(), AuditEntry::stopped()];
        log.append(&entries, NOW).expect("written");
    }
    let report = place.report();
    assert_eq!(report.faults, []);
    assert_eq!((report.files, report.lines), (1, 11));
    assert_eq!((report.first, report.last), (1, 11));
    let expected = format!(
        "intact: 11 lines in 1 file (1 to 11), last hash {}",
        report.hash
    );
    assert_eq!(report.to_string(), expected);
}

#[test]
fn a_changed_or_removed_line_is_detected_anywhere() {
    let place = Place::filled(4);
    let text = place.text();
    for line in 0..4 {
        place.write(&without(&text, line));
        let faults = place.faults();
        assert_eq!(faults.len(), 1, "{line}: {faults:?}");
        let changed: String = text
            .lines()
            .enumerate()
            .map(|(at, text)| match at == line {
                true => format!("{}\n", text.replace("success", "failure")),
                false => format!("{text}\n"),
            })
            .collect();
        place.write(&changed);
        let report = place.report();
        assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
        assert!(report.faults[0].what.contains("was changed"), "{line}");
        assert_eq!((report.changed, report.missing), (1, 0), "{line}");
    }
    // A line that is missing behind a changed one is missing all the same.
    place.write(&without(&text, 2).replacen("\"sequence\":2", "\"sequence\":3", 1));
    let report = place.report();
    assert_eq!((report.changed, report.missing), (1, 1), "{report:?}");
    let summary = report.to_string();
    let expected = "corrupt: 1 line changed, 1 missing; 3 lines in 1 file (1 to 4), last hash ";
    assert!(summary.starts_with(expected), "{summary}");
    // Swapped, duplicated, or inserted.
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    for order in [[0, 2, 1, 3].as_slice(), &[0, 1, 1, 2, 3], &[3, 0, 1, 2]] {
        place.write(&order.iter().map(|at| lines[*at]).collect::<String>());
        assert!(!place.faults().is_empty(), "{order:?}");
    }
    place.write(&text);
    assert!(place.faults().is_empty());
}

#[test]
fn a_rewritten_chain_does_not_match_the_head() {
    let (place, other) = (Place::filled(4), Place::filled(2));
    let mut log = other.open(NOW);
    log.append(&[AuditEntry::started(), AuditEntry::started()], NOW)
        .expect("written");
    fs::copy(other.path(), place.path()).expect("copied");
    assert!(place.faults()[0].contains("but is not in the log"));
    fs::remove_file(head_path(&place.path())).expect("removed");
    assert!(place.faults()[0].contains("the head is missing"));
}

#[test]
fn missing_lines_stay_missing_after_the_next_start() {
    let place = Place::filled(4);
    place.write(&without(&without(&place.text(), 3), 2));
    place
        .open(NOW)
        .append(&[AuditEntry::started()], NOW)
        .expect("written");
    let faults = place.faults();
    assert!(faults[0].contains("lines 3 to 4 are missing"), "{faults:?}");
    assert_eq!(place.report().last, 5);
    // Also when all lines are missing.
    fs::remove_file(place.path()).expect("removed");
    place
        .open(NOW)
        .append(&[AuditEntry::started()], NOW)
        .expect("written");
    assert!(place.faults()[0].contains("begins with line 6"));
}

#[test]
fn an_incomplete_line_after_a_crash_is_removed_and_logged() {
    for head_is_behind in [false, true] {
        let place = Place::filled(2);
        let head = fs::read(head_path(&place.path())).expect("a head");
        let mut log = place.open(NOW);
        log.append(&[AuditEntry::started()], NOW).expect("written");
        if head_is_behind {
            fs::write(head_path(&place.path()), head).expect("written");
        }
        place.write(&(place.text() + "{\"sequence\":4,\"@time"));
        drop(log);
        place.open(NOW);
        assert_eq!(place.faults(), [""; 0]);
        let text = place.text();
        let last = text.lines().last().expect("a line");
        assert!(last.contains("\"action\":\"audit_line_cut\""), "{last}");
        assert!(last.contains("\"cut_bytes\":20"), "{last}");
    }
}

#[test]
fn a_line_without_its_newline_is_detected_and_kept() {
    let place = Place::filled(3);
    let text = place.text();
    place.write(text.trim_end());
    let faults = place.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].contains(":3: this line has no newline"),
        "{faults:?}"
    );
    drop(place.open(NOW));
    assert_eq!(place.text(), text);
    assert_eq!(place.faults(), [""; 0]);
}

#[test]
fn a_head_missing_at_a_start_is_logged_in_the_log() {
    let place = Place::filled(3);
    let text = place.text();
    let lines: Vec<&str> = text.lines().take(2).collect();
    place.write(&(lines.join("\n") + "\n"));
    fs::remove_file(head_path(&place.path())).expect("removed");
    assert_eq!(place.faults().len(), 1);
    drop(place.open(NOW));
    assert!(place.text().contains("\"action\":\"audit_head_missing\""));
    // An empty log without a head is a fault as well.
    fs::remove_file(head_path(&place.path())).expect("removed");
    place.write("");
    assert_eq!(place.faults().len(), 1);
}

#[test]
fn files_are_rotated_every_day_and_expired_ones_are_removed_and_logged() {
    let place = Place::new();
    for day in 0..35 {
        let now = NOW + DAY * day;
        place
            .open(now)
            .append(&[AuditEntry::started()], now)
            .expect("written");
    }
    let report = place.report();
    assert_eq!(report.faults, []);
    assert!((30..=33).contains(&report.files), "{}", report.files);
    assert!(report.first > 1 && report.last > 35, "{report:?}");
    // A file that was removed in any other way is missing.
    let oldest = &files(&place.path()).expect("files")[0];
    fs::remove_file(oldest).expect("removed");
    assert!(place.faults()[0].contains("no expired file ended before it"));
}

#[test]
fn a_failing_disk_does_not_break_the_chain() {
    let place = Place::filled(1);
    let mut log = place.open(NOW);
    let text = place.text();
    fs::remove_file(place.path()).expect("removed");
    fs::create_dir(place.path()).expect("a folder in its place");
    log.append(&[AuditEntry::stopped()], NOW)
        .expect_err("a folder");
    fs::remove_dir(place.path()).expect("removed");
    place.write(&text);
    log.append(&[AuditEntry::stopped()], NOW).expect("written");
    assert_eq!(place.faults(), [""; 0]);
    assert_eq!(place.report().last, 2);
}

#[test]
fn the_files_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::filled(1);
    for path in [place.path(), head_path(&place.path())] {
        let mode = fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[test]
fn a_missing_log_is_an_error_and_garbage_a_fault() {
    let place = Place::new();
    let error = verify(&place.path()).expect_err("no log");
    assert_eq!(error.to_string(), "no such file");
    place.write("\u{0}\u{1}\n{}\n[\n\n\"hash\":\"\"}");
    let faults = place.faults();
    // Five lines, and the head is missing.
    assert_eq!(faults.len(), 6, "{faults:?}");
}

#[test]
fn a_log_is_opened_by_one_process() {
    let place = Place::new();
    let log = place.open(NOW);
    let second = AuditLog::open(&place.path(), KEEP, NOW).expect_err("it is held");
    assert!(second.to_string().contains("another process"), "{second}");
    drop(log);
    place.open(NOW);
}
