//! Damage to files of the spool.

use super::*;
use crate::ship::spool::format::SegmentVersion;

#[test]
fn an_unreadable_segment_is_moved_aside_and_the_rest_is_read() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let mut dice = Dice(13);
    let (spool, _, _) = Spool::open(&config, &PerDataset::default()).expect("open");
    let events: Vec<_> = (0..500).map(|serial| event(serial, &mut dice)).collect();
    append(&spool, &events);
    drop(spool);
    let paths = segments(directory.path());
    assert!(paths.len() >= 4, "{paths:?}");
    // An invalid segment, an empty one, a directory in place of one, and an invalid cursor.
    fs::write(&paths[1], b"weirsegX0000000000000000").expect("write");
    fs::write(config.path.join("00000000000000009999.seg"), b"").expect("write");
    fs::create_dir(config.path.join("00000000000000019999.seg")).expect("a folder");
    fs::write(config.path.join("cursor"), b"nonsense").expect("write");
    let (spool, mut reader, found) = Spool::open(&config, &PerDataset::default()).expect("open");
    let read = drain(&spool, &mut reader);
    assert_eq!(read.len() as u64, found);
    assert!(read.len() > 250 && read.len() < 500, "{}", read.len());
    assert!(paths[1].with_extension("bad").exists());
    for (number, id, _) in &read {
        assert_eq!(*id, events[*number as usize].0);
    }
    // Missing events in the middle do not hold back the cursor.
    spool.acknowledge(0, read[0].0);
    for (number, _, _) in &read {
        spool.acknowledge(*number, number + 1);
    }
    assert_eq!(spool.oldest_at(), None);
}

#[test]
fn damage_while_reading_is_reported_as_lost() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let mut dice = Dice(17);
    let (spool, mut reader, _) = Spool::open(&config, &PerDataset::default()).expect("open");
    let events: Vec<_> = (0..300).map(|serial| event(serial, &mut dice)).collect();
    append(&spool, &events);
    let paths = segments(directory.path());
    let mut bytes = fs::read(&paths[0]).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&paths[0], bytes).expect("write");
    let (mut got, mut lost) = (0, 0);
    loop {
        match spool.read(&mut reader, 1_000, 1 << 20) {
            SpoolRead::Events(events) => got += events.len() as u64,
            SpoolRead::Lost(from, to) => lost += to - from,
            SpoolRead::Empty => break,
            SpoolRead::Failed(error) => panic!("{error}"),
        }
    }
    assert!(lost > 0 && got > 100, "{got} and {lost}");
    assert_eq!(got + lost, 300);
}

#[test]
fn events_after_damage_are_read() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let mut dice = Dice(19);
    let (spool, mut reader, _) = Spool::open(&config, &PerDataset::default()).expect("open");
    let mut events: Vec<_> = (0..30).map(|serial| event(serial, &mut dice)).collect();
    let later = events.split_off(20);
    append(&spool, &events);
    let path = segments(directory.path()).remove(0);
    let mut bytes = fs::read(&path).expect("read");
    // Damage the length of the first event, so that nothing after it is found.
    bytes[16] ^= 1;
    fs::write(&path, bytes).expect("write");
    let lost = spool.read(&mut reader, 100, 1 << 20);
    assert!(matches!(lost, SpoolRead::Lost(0, 20)), "{lost:?}");
    append(&spool, &later);
    assert_eq!(drain(&spool, &mut reader).len(), 10);
}

#[test]
fn a_damaged_event_loses_no_other() {
    for reopened in [false, true] {
        let directory = TempDir::new().expect("a directory");
        let config = config(directory.path(), 1 << 20);
        let mut dice = Dice(29);
        let (mut spool, mut reader, _) =
            Spool::open(&config, &PerDataset::default()).expect("open");
        let events: Vec<_> = (0..30).map(|serial| event(serial, &mut dice)).collect();
        append(&spool, &events);
        let path = segments(directory.path()).remove(0);
        let mut bytes = fs::read(&path).expect("read");
        let length = |from, number| {
            format::length(SegmentVersion::Two, &bytes[from..], number).expect("an event")
        };
        let end = (0..15).fold(format::HEADER_BYTES, |from, number| {
            from + length(from, number)
        });
        bytes[end - 1] ^= 1;
        fs::write(&path, bytes).expect("write");
        if reopened {
            drop(spool);
            let count;
            (spool, reader, count) = Spool::open(&config, &PerDataset::default()).expect("open");
            assert_eq!(count, 30);
        }
        let (mut got, mut lost) = (0, Vec::new());
        loop {
            match spool.read(&mut reader, 7, 4_000) {
                SpoolRead::Events(events) => got += events.len(),
                SpoolRead::Lost(from, to) => lost.push(to - from),
                SpoolRead::Empty => break,
                SpoolRead::Failed(error) => panic!("{error}"),
            }
        }
        assert_eq!((got, lost), (29, vec![1]));
    }
}

#[test]
fn no_content_of_the_directory_prevents_a_start() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let at = |name: &str| config.path.join(name);
    fs::create_dir_all(at("cursor/full")).expect("a folder");
    fs::create_dir_all(at("00000000000000000000.seg/full")).expect("a folder");
    fs::write(at("00000000000000000000.bad"), b"taken").expect("a file");
    let pipe = std::process::Command::new("mkfifo")
        .arg(at("00000000000000000007.seg"))
        .status();
    assert!(pipe.expect("mkfifo").success());
    let last = format!("{}.seg", u64::MAX);
    let mut segment = format::header(u64::MAX).to_vec();
    let id = b"01KAN0X3S8Q5V4R8C9J2M7T6ZB";
    format::append(&mut segment, u64::MAX, Dataset::Access, id, b"{}").expect("short");
    fs::write(at(&last), segment).expect("a file");
    for round in 0..2 {
        let (spool, mut reader, _) = Spool::open(&config, &PerDataset::default()).expect("open");
        let events = [event(round, &mut Dice(31))];
        assert_eq!(append(&spool, &events), 1);
        let found = drain(&spool, &mut reader);
        assert_eq!(found.last().expect("an event").1, events[0].0);
        drop(spool);
        // A cursor with a valid checksum that leaves no number for the next event.
        fs::write(at("cursor"), format::slot(9, u64::MAX)).expect("written");
    }
}
