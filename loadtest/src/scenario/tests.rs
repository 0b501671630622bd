use std::path::Path;

use super::*;
use crate::request::Judged;
use crate::routes;

const QUESTIONS: Questions = Questions {
    repeats: 0.3,
    bytes: (300, 300),
    seed: 1,
};

fn doors() -> Vec<Door> {
    let text = "backends: [{name: a, endpoints: ['http://127.0.0.1:1']}]
routes:
  - {name: chat, path: /v1/*, backend: a, body_bytes: 1KiB, signature: [{scheme: hmac, clients: [{name: w, secrets: [s]}]}, {scheme: bearer, clients: [{name: b, secrets: [k]}]}], rate_limits: [{name: l, rate: 1/s, by: client}]}
  - {name: bot, path: /hooks/feishu, backend: a, signature: {scheme: feishu, secrets: [e]}}
";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weir.yaml");
    std::fs::write(&path, text).expect("a file");
    routes::of_file(&path).expect("doors").0
}

fn all(name: &str, count: u64) -> Vec<Wanted> {
    let scenario = Scenario::built_in(name, doors(), QUESTIONS).expect("a scenario");
    (0..count)
        .map(|number| scenario.wanted(number).expect("a request"))
        .collect()
}

#[test]
fn a_share_of_questions_is_asked_again() {
    let bodies: std::collections::HashSet<_> = all("chat", 1000)
        .into_iter()
        .map(|wanted| wanted.body)
        .collect();
    // 700 new ones, and at most 100 that are known.
    assert!((720..=860).contains(&bodies.len()), "{}", bodies.len());
}

#[test]
fn the_same_seed_asks_the_same() {
    let bodies = |seed| -> Vec<Bytes> {
        let questions = Questions { seed, ..QUESTIONS };
        let scenario = Scenario::built_in("chat", doors(), questions).expect("one");
        (0..50)
            .map(|number| scenario.wanted(number).expect("one").body)
            .collect()
    };
    assert_eq!(bodies(7), bodies(7));
    assert_ne!(bodies(7), bodies(8));
}

#[test]
fn every_scheme_that_can_be_signed_takes_its_turn() {
    let mut names: Vec<_> = all("platforms", 30)
        .into_iter()
        .map(|one| one.name.to_string())
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names, ["api:bearer", "api:hmac", "feishu:feishu"]);
}

#[test]
fn what_must_be_refused_says_how() {
    let scenario = Scenario::built_in("abuse", doors(), QUESTIONS).expect("a scenario");
    let all: Vec<Wanted> = (0..20)
        .map(|number| {
            let wanted = scenario.wanted(number).expect("a request");
            scenario.answered(&wanted, Judged::Success);
            wanted
        })
        .collect();
    let of = |name: &str| {
        let found: Vec<_> = all.iter().filter(|wanted| &*wanted.name == name).collect();
        assert!(!found.is_empty(), "{name}");
        found
    };
    assert!(
        of("abuse:unsigned")
            .iter()
            .all(|wanted| wanted.headers.len() == 1)
    );
    assert!(
        of("abuse:oversized")
            .iter()
            .all(|wanted| wanted.body.len() == 1025)
    );
    assert_eq!(of("abuse:oversized")[0].expect.judge(413), Judged::Refused);
    assert_eq!(of("abuse:first").len(), 1);
    let replayed = of("abuse:replayed");
    assert!(
        replayed
            .iter()
            .all(|wanted| wanted.headers == replayed[0].headers)
    );
    assert_eq!(
        replayed[0].expect.judge(200),
        Judged::Error,
        "it was let in"
    );
    of("abuse:stale");
    of("abuse:wrong");
}

#[test]
fn a_scenario_that_cannot_be_is_told() {
    let open = routes::open();
    for (name, told) in [
        ("nothing", "one of chat"),
        ("platforms", "needs --config"),
        ("abuse", "needs --config"),
        ("burst", "needs --config"),
    ] {
        let why = Scenario::built_in(name, open.clone(), QUESTIONS).expect_err(name);
        assert!(why.contains(told), "{why}");
    }
    assert!(Scenario::built_in("mixed", open, QUESTIONS).is_ok());
}

#[test]
fn a_file_names_its_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("own.yaml");
    let write = |text: &str| std::fs::write(&path, text).expect("a file");
    write(
        "- {name: ask, weight: 9, path: /ask, body: 'n {number}', route: chat}\n- {name: list, method: GET, path: /list, expect: [304]}\n",
    );
    let requests = read(Path::new(&path), &doors()).expect("requests");
    let scenario = Scenario::of_file(requests, doors(), QUESTIONS);
    let wanted: Vec<_> = (0..100)
        .map(|number| scenario.wanted(number).expect("one"))
        .collect();
    let list: Vec<_> = wanted.iter().filter(|one| &*one.name == "list").collect();
    assert!((1..40).contains(&list.len()), "{}", list.len());
    assert_eq!(
        (list[0].method.as_str(), list[0].expect.judge(304)),
        ("GET", Judged::Refused)
    );
    let ask = wanted.iter().find(|one| &*one.name == "ask").expect("one");
    assert!(
        ask.headers
            .iter()
            .any(|(name, _)| name == "X-Weir-Signature")
    );
    for (text, told) in [
        ("- {name: a}", "path"),
        ("- {name: a, path: x}", "begins with /"),
        ("- {name: a, path: '@h/x'}", "begins with /"),
        ("- {name: a, path: '/a b'}", "is no path"),
        ("- {name: '', path: /x}", "visible characters"),
        ("- {name: \"a\\nb\", path: /x}", "visible characters"),
        (
            "- {name: a, path: /x, headers: {'bad name': x}}",
            "no name of a header",
        ),
        (
            "- {name: a, path: /x, headers: {b: \"x\\ny\"}}",
            "that no header can have",
        ),
        (
            "- {name: a, path: /x, headers: {Content-Length: '9'}}",
            "the client itself",
        ),
        ("- {name: a, path: /x, expect: []}", "lists statuses"),
        ("- {name: a, path: /x, expect: [7]}", "lists statuses"),
        ("- {name: a, path: /x, route: none}", "no route none"),
        ("- {name: a, path: /x, weight: 0}", "weight"),
        ("- {name: a, path: /x, wieght: 1}", "wieght"),
    ] {
        write(text);
        let text = text.replace("path:", "headers: {Authorization: s3cret}, path:");
        let text = match text.matches("headers").count() {
            1 => text,
            _ => text.replace("headers: {Authorization: s3cret}, ", ""),
        };
        write(&text);
        let why = read(&path, &doors()).expect_err(&text);
        assert!(!why.contains("s3cret"), "{why}");
        assert!(why.contains(told), "{why}");
    }
}

#[test]
fn a_request_is_sent_again_only_when_it_has_been_let_in() {
    let scenario = Scenario::built_in("abuse", doors(), QUESTIONS).expect("a scenario");
    let name = |number| {
        let wanted = scenario.wanted(number).expect("a request");
        (wanted.name.to_string(), wanted)
    };
    let (first, wanted) = name(2);
    assert_eq!(first, "abuse:first");
    assert_eq!(name(7).0, "abuse:wrong", "the first is under way");
    scenario.answered(&wanted, Judged::Limited);
    let (again, wanted) = name(12);
    assert_eq!(again, "abuse:first", "it was not let in");
    scenario.answered(&wanted, Judged::Success);
    let (replayed, before) = name(17);
    assert_eq!(
        (replayed.as_str(), before.headers),
        ("abuse:replayed", wanted.headers)
    );
}

#[test]
fn a_signature_that_is_good_for_one_request_a_second_is_used_once_a_second() {
    let text = "backends: [{name: a, endpoints: ['http://127.0.0.1:1']}]
routes:
  - {name: bot, path: /bot, backend: a, signature: [{scheme: simple_sha256, secrets: [s]}, {scheme: bearer, secrets: [k]}]}
";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weir.yaml");
    std::fs::write(&path, text).expect("a file");
    let doors = routes::of_file(&path).expect("doors").0;
    let scenario = Scenario::built_in("platforms", doors, QUESTIONS).expect("a scenario");
    let begun_s = clock::unix_now().as_secs();
    let names: Vec<_> = (0..20)
        .map(|number| scenario.wanted(number).expect("one").name)
        .collect();
    let seconds = clock::unix_now().as_secs() - begun_s + 1;
    let simple = names
        .iter()
        .filter(|name| &***name == "api:simple_sha256")
        .count() as u64;
    assert!((1..=seconds).contains(&simple), "{names:?}");
}

#[test]
fn lengths_are_as_they_were_asked_for() {
    for (text, read) in [
        ("500", Some((500, 500))),
        ("100..900", Some((100, 900))),
        ("9..1", None),
        ("many", None),
    ] {
        assert_eq!(lengths(text).ok(), read, "{text}");
    }
    let questions = Questions {
        bytes: (100, 900),
        ..QUESTIONS
    };
    let sizes: Vec<_> = (0..200)
        .map(|number| {
            questions
                .body(number, Wants::Whole, &mut questions.random(number))
                .len()
        })
        .collect();
    let (shortest, longest) = (
        sizes.iter().min().expect("one"),
        sizes.iter().max().expect("one"),
    );
    assert!(
        *shortest < 300 && *longest > 800 && *longest < 1000,
        "{shortest} {longest}"
    );
}

#[test]
fn a_recording_is_asked_again_at_its_times_and_sizes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.ndjson");
    let event = |at: &str, route: &str, bytes: u32, status: u16| {
        format!(
            "{{\"@timestamp\":\"2026-11-22T08:30:{at}Z\",\"route\":\"{route}\",\"http\":{{\"request\":{{\"method\":\"POST\",\"body\":{{\"bytes\":{bytes}}}}},\"response\":{{\"status_code\":{status}}}}},\"url\":{{\"path\":\"/v1/chat/completions\"}},\"gen_ai\":{{\"request\":{{\"stream\":true}}}}}}\n"
        )
    };
    let text = event("01.500", "chat", 900, 200) + &event("00.250", "none", 0, 404);
    std::fs::write(&path, text).expect("a file");
    let read = |speed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(recorded(&Source::File(path.clone()), speed))
    };
    let recording = read(2.0).expect("a recording");
    assert_eq!(
        recording.schedule.due(1),
        Some(std::time::Duration::from_millis(625))
    );
    let Recording { requests, .. } = recording;
    let scenario = Scenario::of_recording(requests, doors(), QUESTIONS);
    let first = scenario.wanted(0).expect("a request");
    assert_eq!((&*first.name, first.body.len()), ("none", 0));
    assert_eq!(first.expect.judge(404), Judged::Refused, "as it was");
    let second = scenario.wanted(1).expect("a request");
    assert_eq!((&*second.name, second.body.len()), ("chat", 900));
    assert!(String::from_utf8_lossy(&second.body).contains("\"stream\":true"));
    assert!(
        second
            .headers
            .iter()
            .any(|(name, _)| name == "X-Weir-Signature")
    );
    std::fs::write(&path, "{}\n").expect("a file");
    let why = format!("{:#}", read(1.0).expect_err("no event"));
    assert!(
        why.contains("line 1") && why.contains("events.ndjson"),
        "{why}"
    );
}
