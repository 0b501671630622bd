use std::path::Path;

use super::*;
use crate::request::Outcome;
use crate::routes;

const PROMPTS: Prompts = Prompts {
    repeats: 0.3,
    bytes: (300, 300),
    seed: 1,
};

fn target_routes() -> Vec<TargetRoute> {
    let text = "backends: [{name: a, endpoints: ['http://127.0.0.1:1']}]
routes:
  - {name: chat, path: /v1/*, backend: a, body_bytes: 1KiB, signature: [{scheme: hmac, clients: [{name: w, secrets: [s]}]}, {scheme: bearer, clients: [{name: b, secrets: [k]}]}], rate_limits: [{name: l, rate: 1/s, by: client}]}
  - {name: bot, path: /hooks/feishu, backend: a, signature: {scheme: feishu, secrets: [e]}}
";
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("weir.yaml");
    std::fs::write(&path, text).expect("a file");
    routes::from_config_file(&path).expect("routes").0
}

fn all(name: &str, count: u64) -> Vec<RequestSpec> {
    let scenario = Scenario::built_in(name, target_routes(), PROMPTS).expect("a scenario");
    (0..count)
        .map(|number| scenario.request(number).expect("a request"))
        .collect()
}

#[test]
fn a_share_of_prompts_is_repeated() {
    let bodies: std::collections::HashSet<_> = all("chat", 1000)
        .into_iter()
        .map(|request| request.body)
        .collect();
    // 700 new prompts, and at most 100 repeated ones.
    assert!((720..=860).contains(&bodies.len()), "{}", bodies.len());
}

#[test]
fn a_seed_reproduces_the_prompts() {
    let bodies = |seed| -> Vec<Bytes> {
        let prompts = Prompts { seed, ..PROMPTS };
        let scenario = Scenario::built_in("chat", target_routes(), prompts).expect("one");
        (0..50)
            .map(|number| scenario.request(number).expect("one").body)
            .collect()
    };
    assert_eq!(bodies(7), bodies(7));
    assert_ne!(bodies(7), bodies(8));
}

#[test]
fn platforms_uses_every_signer_in_turn() {
    let mut names: Vec<_> = all("platforms", 30)
        .into_iter()
        .map(|one| one.name.to_string())
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names, ["api:bearer", "api:hmac", "feishu:feishu"]);
}

#[test]
fn abuse_sends_every_kind_of_invalid_request() {
    let scenario = Scenario::built_in("abuse", target_routes(), PROMPTS).expect("a scenario");
    let all: Vec<RequestSpec> = (0..20)
        .map(|number| {
            let request = scenario.request(number).expect("a request");
            scenario.observe(&request, Outcome::Success);
            request
        })
        .collect();
    let of = |name: &str| {
        let found: Vec<_> = all
            .iter()
            .filter(|request| &*request.name == name)
            .collect();
        assert!(!found.is_empty(), "{name}");
        found
    };
    assert!(
        of("abuse:unsigned")
            .iter()
            .all(|request| request.headers.len() == 1)
    );
    assert!(
        of("abuse:oversized")
            .iter()
            .all(|request| request.body.len() == 1025)
    );
    assert_eq!(
        of("abuse:oversized")[0].expected.classify(413),
        Outcome::Rejected
    );
    assert_eq!(of("abuse:first").len(), 1);
    let replayed = of("abuse:replayed");
    assert!(
        replayed
            .iter()
            .all(|request| request.headers == replayed[0].headers)
    );
    assert_eq!(
        replayed[0].expected.classify(200),
        Outcome::Error,
        "it was accepted"
    );
    of("abuse:stale");
    of("abuse:wrong");
}

#[test]
fn unusable_scenarios_are_rejected() {
    let open = routes::default_routes();
    for (name, reason) in [
        ("nothing", "expected one of chat"),
        ("platforms", "needs --config"),
        ("abuse", "needs --config"),
        ("burst", "needs --config"),
    ] {
        let error = Scenario::built_in(name, open.clone(), PROMPTS)
            .expect_err(name)
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert!(Scenario::built_in("mixed", open, PROMPTS).is_ok());
}

#[test]
fn scenario_files_are_read_and_checked() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("own.yaml");
    let write = |text: &str| std::fs::write(&path, text).expect("a file");
    write(
        "- {name: ask, weight: 9, path: /ask, body: 'n {number}', route: chat}\n- {name: list, method: GET, path: /list, expect: [304]}\n",
    );
    let requests = read(Path::new(&path), &target_routes()).expect("requests");
    let scenario = Scenario::from_file(requests, target_routes(), PROMPTS);
    let request: Vec<_> = (0..100)
        .map(|number| scenario.request(number).expect("one"))
        .collect();
    let list: Vec<_> = request.iter().filter(|one| &*one.name == "list").collect();
    assert!((1..40).contains(&list.len()), "{}", list.len());
    assert_eq!(
        (list[0].method.as_str(), list[0].expected.classify(304)),
        ("GET", Outcome::Rejected)
    );
    let ask = request.iter().find(|one| &*one.name == "ask").expect("one");
    assert!(
        ask.headers
            .iter()
            .any(|(name, _)| name == "X-Weir-Signature")
    );
    for (text, reason) in [
        ("- {name: a}", "path"),
        ("- {name: a, path: x}", "begins with /"),
        ("- {name: a, path: '@h/x'}", "begins with /"),
        ("- {name: a, path: '/a b'}", "is not a valid path"),
        ("- {name: '', path: /x}", "visible characters"),
        ("- {name: \"a\\nb\", path: /x}", "visible characters"),
        (
            "- {name: a, path: /x, headers: {'bad name': x}}",
            "is not a header name",
        ),
        (
            "- {name: a, path: /x, headers: {b: \"x\\ny\"}}",
            "the value of the header b is invalid",
        ),
        (
            "- {name: a, path: /x, headers: {Content-Length: '9'}}",
            "is set by the client",
        ),
        ("- {name: a, path: /x, expect: []}", "list of statuses"),
        ("- {name: a, path: /x, expect: [7]}", "list of statuses"),
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
        let error = read(&path, &target_routes()).expect_err(&text).to_string();
        assert!(!error.contains("s3cret"), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_request_is_replayed_only_after_it_was_accepted() {
    let scenario = Scenario::built_in("abuse", target_routes(), PROMPTS).expect("a scenario");
    let name = |number| {
        let request = scenario.request(number).expect("a request");
        (request.name.to_string(), request)
    };
    let (first, request) = name(2);
    assert_eq!(first, "abuse:first");
    assert_eq!(name(7).0, "abuse:wrong", "the first is in flight");
    scenario.observe(&request, Outcome::RateLimited);
    let (again, request) = name(12);
    assert_eq!(again, "abuse:first", "it was not accepted");
    scenario.observe(&request, Outcome::Success);
    let (replayed, before) = name(17);
    assert_eq!(
        (replayed.as_str(), before.headers),
        ("abuse:replayed", request.headers)
    );
}

#[test]
fn a_signature_valid_for_one_request_per_second_is_used_once_per_second() {
    let text = "backends: [{name: a, endpoints: ['http://127.0.0.1:1']}]
routes:
  - {name: bot, path: /bot, backend: a, signature: [{scheme: simple_sha256, secrets: [s]}, {scheme: bearer, secrets: [k]}]}
";
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("weir.yaml");
    std::fs::write(&path, text).expect("a file");
    let target_routes = routes::from_config_file(&path).expect("routes").0;
    let scenario = Scenario::built_in("platforms", target_routes, PROMPTS).expect("a scenario");
    let begun_s = clock::unix_now().as_secs();
    let names: Vec<_> = (0..20)
        .map(|number| scenario.request(number).expect("one").name)
        .collect();
    let seconds = clock::unix_now().as_secs() - begun_s + 1;
    let simple = names
        .iter()
        .filter(|name| &***name == "api:simple_sha256")
        .count() as u64;
    assert!((1..=seconds).contains(&simple), "{names:?}");
}

#[test]
fn prompt_lengths_are_within_the_range() {
    for (text, read) in [
        ("500", Some((500, 500))),
        ("100..900", Some((100, 900))),
        ("9..1", None),
        ("many", None),
    ] {
        assert_eq!(lengths(text).ok(), read, "{text}");
    }
    let prompts = Prompts {
        bytes: (100, 900),
        ..PROMPTS
    };
    let sizes: Vec<_> = (0..200)
        .map(|number| {
            prompts
                .body(number, ResponseMode::Whole, &mut prompts.random(number))
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
fn a_recording_is_replayed_at_its_times_and_sizes() {
    let folder = tempfile::tempdir().expect("a directory");
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
        runtime.block_on(load_recording(&EventSource::File(path.clone()), speed))
    };
    let recording = read(2.0).expect("a recording");
    assert_eq!(
        recording.schedule.due(1),
        Some(std::time::Duration::from_millis(625))
    );
    let Recording { requests, .. } = recording;
    let scenario = Scenario::from_recording(requests, target_routes(), PROMPTS);
    let first = scenario.request(0).expect("a request");
    assert_eq!((&*first.name, first.body.len()), ("none", 0));
    assert_eq!(
        first.expected.classify(404),
        Outcome::Rejected,
        "as recorded"
    );
    let second = scenario.request(1).expect("a request");
    assert_eq!((&*second.name, second.body.len()), ("chat", 900));
    assert!(String::from_utf8_lossy(&second.body).contains("\"stream\":true"));
    assert!(
        second
            .headers
            .iter()
            .any(|(name, _)| name == "X-Weir-Signature")
    );
    std::fs::write(&path, "{}\n").expect("a file");
    let error = format!("{:#}", read(1.0).expect_err("no event"));
    assert!(
        error.contains("line 1") && error.contains("events.ndjson"),
        "{error}"
    );
}
