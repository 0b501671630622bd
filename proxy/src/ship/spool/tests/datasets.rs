//! Request events and alert transitions in one spool.

use super::*;

fn append_to(spool: &Spool, dataset: Dataset, events: &[([u8; 26], Vec<u8>)]) -> usize {
    let lines = events.iter().map(|(id, line)| (id, &line[..]));
    spool.append(dataset, lines).0
}

#[test]
fn datasets_are_distinguished_after_a_restart_and_counted_in_their_own_ledgers() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let mut dice = Dice(41);
    let events: Vec<_> = (0..40).map(|serial| event(serial, &mut dice)).collect();
    let (spool, mut reader, _) = Spool::open(&config, &PerDataset::default()).expect("open");
    for (number, event) in events.iter().enumerate() {
        let dataset = Dataset::ALL[usize::from(number % 4 == 3)];
        assert_eq!(append_to(&spool, dataset, std::slice::from_ref(event)), 1);
    }
    let news = spool.acknowledge(0, 10);
    assert_eq!((news.access, news.alert), (8, 2));
    assert_eq!(spool.acknowledge(3, 4), PerDataset::default(), "once");
    assert_eq!(drain(&spool, &mut reader).len(), 40);
    spool.sync().expect("sync");
    drop(spool);
    let ledgers = PerDataset::<Ledger>::default();
    let (spool, mut reader, found) = Spool::open(&config, &ledgers).expect("open");
    assert_eq!(found, 30);
    let recovered = |dataset| ledgers.of(dataset).counts().recovered;
    assert_eq!(
        (recovered(Dataset::Access), recovered(Dataset::Alert)),
        (22, 8)
    );
    let SpoolRead::Events(events) = spool.read(&mut reader, 100, 1 << 20) else {
        panic!("events");
    };
    for event in &events {
        let expected = Dataset::ALL[usize::from(event.number % 4 == 3)];
        assert_eq!(event.dataset, expected, "{}", event.number);
    }
    let news = spool.acknowledge(0, 40);
    assert_eq!((news.access, news.alert), (22, 8));
}

#[test]
fn a_segment_of_version_1_is_read_and_not_appended_to() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    fs::create_dir_all(&config.path).expect("a folder");
    let (id, line) = event(1, &mut Dice(43));
    let content = [&id[..], &line[..]].concat();
    let checked = [&5_u64.to_le_bytes()[..], &content[..]].concat();
    let segment = [
        &b"weirseg1"[..],
        &5_u64.to_le_bytes(),
        &u32::try_from(content.len()).expect("short").to_le_bytes(),
        &crc32fast::hash(&checked).to_le_bytes(),
        &content,
    ];
    let path = config.path.join("00000000000000000005.seg");
    fs::write(&path, segment.concat()).expect("a segment");
    let ledgers = PerDataset::<Ledger>::default();
    let (spool, mut reader, found) = Spool::open(&config, &ledgers).expect("open");
    assert_eq!((found, ledgers.access.counts().recovered), (1, 1));
    assert_eq!(
        append_to(&spool, Dataset::Alert, &[event(2, &mut Dice(44))]),
        1
    );
    let read = drain(&spool, &mut reader);
    assert_eq!(read[0], (5, id, line));
    assert_eq!((read.len(), read[1].0), (2, 6));
    assert_eq!(segments(directory.path()).len(), 2);
}

#[test]
fn neither_dataset_takes_the_room_of_the_other() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 200_000);
    let mut dice = Dice(47);
    let events: Vec<_> = (0..1_000).map(|serial| event(serial, &mut dice)).collect();
    let (spool, _, _) = Spool::open(&config, &PerDataset::default()).expect("open");
    for dataset in Dataset::ALL {
        let count = append_to(&spool, dataset, &events);
        assert!((100..1_000).contains(&count), "{dataset:?}: {count}");
    }
    let bytes = spool.bytes();
    // The headers of segments count as those of requests.
    assert!(
        bytes.access > 150_000 && bytes.access < 200_100,
        "{bytes:?}"
    );
    assert!(bytes.alert > 150_000 && bytes.alert <= 200_000, "{bytes:?}");
}

#[test]
fn a_waiting_transition_is_moved_and_keeps_no_old_segment() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let mut dice = Dice(53);
    let ledgers = PerDataset::<Ledger>::default();
    let (spool, mut reader, _) = Spool::open(&config, &ledgers).expect("open");
    ledgers.alert.record();
    let transition = event(0, &mut dice);
    append_to(&spool, Dataset::Alert, std::slice::from_ref(&transition));
    let read = |reader: &mut SpoolReader| match spool.read(reader, 100, 1 << 20) {
        SpoolRead::Events(events) => events,
        other => panic!("{other:?}"),
    };
    let waiting = read(&mut reader);
    assert_eq!(spool.move_to_end(Dataset::Alert, waiting.clone()), waiting);
    let events: Vec<_> = (1..500).map(|serial| event(serial, &mut dice)).collect();
    (0..499).for_each(|_| ledgers.access.record());
    assert_eq!(append_to(&spool, Dataset::Access, &events), 499);
    assert!(segments(directory.path()).len() > 2);
    let news = spool.acknowledge(1, 500);
    ledgers
        .access
        .settle(crate::ship::ledger::Settled::Indexed, news.access);
    let before = segments(directory.path()).len();
    assert!(before > 2, "the transition keeps them");
    assert_eq!(spool.move_to_end(Dataset::Alert, waiting), []);
    assert!(segments(directory.path()).len() <= 2);
    for dataset in Dataset::ALL {
        let counts = ledgers.of(dataset).counts();
        assert!(counts.is_balanced(), "{dataset:?}: {counts:?}");
    }
    assert_eq!(ledgers.alert.counts().spooled, 1);
    let last = drain(&spool, &mut reader).pop().expect("the transition");
    assert_eq!((last.0, last.1), (500, transition.0));
}
