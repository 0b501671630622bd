//! No secret of a file is printed, however invalid the file is.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

/// One in every place that takes a secret, in both styles of YAML; `%` begins one.
const BLOCK: &str = r#"
admin: {address: 0.0.0.0:8081, token: %admin}   # the old one was %comment
trusted_proxies: [10.0.0.0/8]
redis: {url: "redis://me:%redis@127.0.0.1:6379/0", timeout: 100ms}
backends:
  - name: assistant
    endpoints: [http://127.0.0.1:8000, "http://user:%endpoint@127.0.0.1:8001"]
    connect_timeout: 1s
    request_headers:
      authorization: "Bearer %authorization"
      x-api-key: %apikey
      x-env: "${UNSET_KEY:-%fallback}"
      x-file: ${FILLED}
routes:
  - name: chat
    path: /v1/*
    backend: assistant
    methods: [POST]
    signature:
      - scheme: hmac
        clients:
          - name: web
            secrets:
              - %hmac
              - '%quoted'
          - {name: app, secrets: ["%flow", %plain]}
      - scheme: bearer
        secrets: [%bearer,
                  %second]
  - {name: hook, path: /hook, backend: assistant, signature: {scheme: feishu, secrets: [%encrypt], verification_token: %verification}}
events:
  environment: test
  elasticsearch:
    urls: ["https://elastic:%elastic@127.0.0.1:9200"]
    username: elastic
    password: |
      %password
      %goes-on
traces: {otlp: "http://%otlp@127.0.0.1:4318", headers: {x-key: %trace, Authorization: 'Basic %basic'}}
alerts:
  window: 5m
  feishu: {webhook: "https://open.feishu.cn/open-apis/bot/v2/hook/%feishu", secret: >-
    %folded}
  webhook: {url: "https://hooks.example/%hook", token: &anchor %anchored}
  alertmanager: {urls: ["http://am:%am@127.0.0.1:9093"], token: *anchor}
shutdown: {drain: 30s}
"#;

/// What every secret begins with: letters alone, as a passphrase is, and mixed, as a key is.
const BEGINNINGS: [&str; 2] = ["wvqzxkj-jqxzvwk-", "Kq9zXv7JwQ"];

const FILLED: &str = "wvqzxkj-jqxzvwk-of-the-environment";

fn shown(text: &str) -> String {
    let environment = |name: &str| (name == "FILLED").then(|| FILLED.to_owned());
    match parse(text, Path::new("weir.yaml"), &environment) {
        Ok(loaded) => format!("{:?}{loaded:?}", loaded.warnings),
        Err(error) => format!("{error}{error:?}"),
    }
}

#[track_caller]
fn assert_none(text: &str, why: &str) {
    let shown = shown(text);
    for beginning in BEGINNINGS {
        // Half of one would be enough for a guess.
        let half = &beginning[..beginning.len() * 2 / 3];
        assert!(!shown.contains(half), "{why}:\n{shown}\nin\n{text}");
    }
}

/// One change that a slip of a finger, an editor or a bad template makes.
fn mutate(text: &mut String, random: &mut StdRng) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = random.random_range(0..lines.len());
    let line = lines[at].clone();
    let positions: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
    let position = positions.choose(random).copied().unwrap_or(0);
    match random.random_range(0..12) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, line),
        2 if !positions.is_empty() => drop(lines[at].remove(position)),
        3 => {
            let inserted = [
                ":",
                ": ",
                "\"",
                "'",
                "[",
                "]",
                "{",
                "}",
                ",",
                ", ",
                "#",
                " #",
                "&a ",
                "*",
                "!",
                "|",
                ">",
                "- ",
                "\t",
                "%",
                "@",
                "`",
                "\\",
                "${",
                "}",
                "wrong: 1, ",
                "é",
                "\u{1b}",
            ];
            lines[at].insert_str(position, inserted.choose(random).unwrap());
        }
        4 => lines[at] = format!("  {line}"),
        5 => lines[at] = line.strip_prefix("  ").unwrap_or(&line).to_owned(),
        6 if at + 1 < lines.len() => {
            let next = lines.remove(at + 1);
            lines[at] = format!("{line} {}", next.trim_start());
        }
        7 => {
            let keys = [
                "token", "secrets", "password", "url", "clients", "name", "urls",
            ];
            let key = keys.choose(random).unwrap();
            lines[at] = line.replace(key, ["tokn", "zzzz", "x"].choose(random).unwrap());
        }
        8 => {
            let other = [":", ": {a: ", ": [", ": - ", ": !x "];
            lines[at] = line.replacen(": ", other.choose(random).unwrap(), 1);
        }
        9 => lines[at] = line.replace(['"', '\''], ["", "\"", "'"].choose(random).unwrap()),
        10 => lines[at].truncate(position),
        11 => lines[at] = line.replace(['[', ']', '{', '}'], ""),
        _ => {}
    }
    *text = lines.join("\n");
}

#[test]
fn no_secret_is_printed_however_a_file_is_damaged() {
    let seed = std::env::var("WEIR_TEST_SEED").map_or(15, |seed| seed.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..1500 {
        let mut text = BLOCK.replace('%', BEGINNINGS[round % 2]);
        for _ in 0..random.random_range(1..=3) {
            mutate(&mut text, &mut random);
        }
        assert_none(&text, &format!("WEIR_TEST_SEED={seed}, round {round}"));
    }
}

/// A diagnostic on each line, so that each is quoted.
#[test]
fn a_secret_is_masked_wherever_it_appears() {
    for beginning in BEGINNINGS {
        let text = BLOCK.replace('%', beginning);
        assert_none(&text, "as it is");
        for (at, line) in text.lines().enumerate() {
            let Some((before, after)) = line.split_once(": ") else {
                continue;
            };
            let mut lines: Vec<&str> = text.lines().collect();
            let key = before.len() - before.trim_start_matches([' ', '-', '{']).len();
            let unknown = format!("{}zzzz: {after}", &before[..key]);
            lines[at] = &unknown;
            assert_none(&lines.join("\n"), "under an unknown key");
            let broken = format!("{line}: @");
            lines[at] = &broken;
            assert_none(&lines.join("\n"), "not YAML");
        }
    }
}

fn quoted(extra: &str) -> String {
    let error = invalid(&format!("{LEAST}{extra}\n"));
    error.list[0].source_line.clone()
}

#[test]
fn of_a_long_line_a_window_around_the_column_is_shown() {
    let list = |before: usize, after: usize| {
        let addresses = |count| vec!["10.0.0.0/8"; count].join(", ");
        let (before, after) = (addresses(before), addresses(after));
        let extra = format!("trusted_proxies: [{before}, nonsense, {after}]\n");
        invalid(&format!("{LEAST}{extra}")).to_string()
    };
    for (before, after) in [(20, 20), (1, 20), (20, 1)] {
        let shown = list(before, after);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].chars().count() < 120, "{shown}");
        assert_eq!(lines[1].find("nonsense"), lines[2].find('^'), "{shown}");
        assert_eq!(lines[1].starts_with("    3 | ..."), before > 1, "{shown}");
        assert_eq!(lines[1].ends_with("..."), after > 1, "{shown}");
    }
}

#[test]
fn a_syntax_error_shows_its_line() {
    for (extra, shown) in [
        (
            "redis: {url: a: b}",
            "    3 | redis: {url: *: *}\n      |               ^",
        ),
        (
            "limits:\n\tconnections: 5",
            "    4 |  connections: *\n      |  ^",
        ),
    ] {
        let error = invalid(&format!("{LEAST}{extra}\n")).to_string();
        assert!(error.contains(shown), "{error}");
    }
}

#[test]
fn values_that_are_not_secret_are_quoted_column_by_column() {
    for (written, shown) in [
        (
            "limits: {idle_timeout: 30x} # why",
            "limits: {idle_timeout: 30x}",
        ),
        (
            "admin: {token: abc, adress: 'x'}",
            "admin: {token: ***, adress: '*'}",
        ),
        (
            "admin: {token: \"${TOKEN}\", x: 1}",
            "admin: {token: \"${TOKEN}\", x: *}",
        ),
        (
            "admin: {token: \"${T:-abc}\", x: 1}",
            "admin: {token: \"*********\", x: *}",
        ),
        ("admin: {token: [a-b, c]}", "admin: {token: [***, *]}"),
        (
            "redis: {url: 'redis://me:pw@h/0', timeout: soon}",
            "redis: {url: '*****************', timeout: soon}",
        ),
        (
            "redis: {url: 'redis://h:1/0', timeout: soon}",
            "redis: {url: 'redis://h:1/0', timeout: soon}",
        ),
        ("limits: 5 # why", "limits: 5"),
        (
            "limits: {connections: [5, x]}",
            "limits: {connections: [5, x]}",
        ),
        ("trusted_proxies: 10.0.0.0/8", "trusted_proxies: 10.0.0.0/8"),
        ("paths: [keep, Pa$$]", "paths: [keep, ****]"),
        ("admin: abc", "admin: ***"),
        ("redis: localhost:6379", "redis: localhost:6379"),
        ("redis: 'redis://:pw@h'", "redis: '*************'"),
        ("events: stdout", "events: ******"),
        ("shutdown: '${FILLED}'", "shutdown: '${FILLED}'"),
        ("admin: {a: é, b: 日本}", "admin: {a: *, b: **}"),
        ("limits: {connections: 5", "limits: {connections: *"),
        ("zzzz: {connections: 5 # why", "****: {connections: *"),
        ("limits: {connections: a: 5}", "limits: {connections: *: *}"),
        (
            "limits: {token: 'a-b connections}",
            "limits: {token: '*** ***********}",
        ),
    ] {
        assert_eq!(quoted(written), shown, "{written}");
    }
}

#[test]
fn values_of_another_type_than_expected_are_quoted_if_no_secret_belongs_there() {
    let of_route = |extra: &str| {
        let error = invalid(&super::single::route_with(extra));
        error.list[0]
            .source_line
            .trim_start_matches([' ', '-'])
            .to_owned()
    };
    for shown in [
        "cache: {ignore: /user}",
        "cache: {ignore_headers: x-session}",
        "cache: {unless: tools}",
        "cache: {unless: {temperature_above: [0.5]}}",
        "cache: 1h",
        "methods: POST",
    ] {
        assert_eq!(of_route(shown), shown);
    }
    for hidden in ["signature: abc", "signature: {scheme: hmac, clients: abc}"] {
        assert_eq!(of_route(hidden), hidden.replace("abc", "***"));
    }
}

#[test]
fn values_that_lost_their_keys_are_not_repeated() {
    for extra in [
        "admin: {my-passphrase}",
        "admin: {my-passphrase, address: x}",
        "admin: {token: *my-passphrase}",
        "admin: {token: '${my-passphrase}'}",
        "admin: {token: '${my_passphrase}'}",
        "admin: {token: '${file:my-passphrase}'}",
        "admin: {token: '${A:-${my-passphrase}}'}",
        "limits: {idle_timeout: &a my-passphrase}\nadmin: {token: *a}",
        "admin: {token: &a my-passphrase}\nlimits: {idle_timeout: *a}",
        "limits:\n  idle_timeout: 5\n    - my-passphrase",
        "shutdown: {my-passphrase, my-passphrase}",
        "traces: {headers: {my passphrase: x}}",
    ] {
        let shown = shown(&format!("{LEAST}{extra}\n"));
        assert!(!shown.contains("passphrase"), "{shown}");
    }
}

#[test]
fn a_syntax_error_is_reported_without_jargon() {
    for (extra, words) in [
        ("a: b: c", "quote text that contains `: `"),
        ("a: [b", "begins with `[` has no `]`"),
        ("a: {b: 1", "begins with `{` has no `}`"),
        ("a: {b: c: d}", "or a value contains `: ` and needs quotes"),
        ("a: ]", "no opening bracket"),
        ("a: [b}", "goes with"),
        ("a: 'b", "never closed"),
        ("a: 'b' c", "closing quote"),
        ("a: \"\\z\"", "backslash"),
        ("a:\n\tb: c", "spaces"),
        ("a: @b", "quote a text"),
        ("a: `b", "quote a text"),
        ("limits:\n    a: 1\n  b: 2", "begin in the same column"),
        ("a: - b", "begin a list on its own line"),
        ("a\nb: 1", "`:` and a space"),
    ] {
        let shown = invalid(&format!("{LEAST}{extra}\n")).to_string();
        assert!(shown.contains(words), "{extra}: {shown}");
        for jargon in [
            "flow",
            "scalar",
            "simple key",
            "EOF",
            "serde",
            "token",
            "node",
            "expected <",
            "::",
        ] {
            assert!(!shown.contains(jargon), "{jargon}: {shown}");
        }
    }
}

fn warned(signature: &str) -> Vec<Warning> {
    let text = format!(
        "backends: [{{name: a, endpoints: ['http://a']}}]\n\
         routes: [{{name: r, path: /, backend: a, signature: {signature}}}]\n"
    );
    let warnings = valid(&text).warnings.into_iter();
    warnings
        .filter(|warning| !warning.contains("shorter than"))
        .collect()
}

#[test]
fn an_api_key_that_can_never_match_causes_a_warning() {
    for (secret, part) in [
        (r#""sk-1\n""#, "line break"),
        (r#""sk-1\r\n""#, "line break"),
        (r#"" sk-1""#, "white space"),
        (r#""sk-1 ""#, "white space"),
        (r#""sk 1""#, "contains white space"),
        (r#"'"sk-1"'"#, "in quotes"),
        (r#""'sk-1'""#, "in quotes"),
        ("Bearer sk-1", "begins with `Bearer `"),
        ("bearer sk-1", "begins with `Bearer `"),
    ] {
        let warnings = warned(&format!(
            "{{scheme: bearer, clients: [{{name: w, secrets: [ok, {secret}]}}]}}"
        ));
        assert_eq!(warnings.len(), 1, "{secret}: {warnings:?}");
        assert!(warnings[0].contains(part), "{warnings:?}");
        assert!(
            warnings[0].starts_with("`signature.clients[0].secrets[1]` of route `r` (line 2)"),
            "{warnings:?}"
        );
        assert!(!warnings[0].contains("sk-1"), "{warnings:?}");
    }
    // A passphrase may have spaces where it is no header.
    assert_eq!(warned("{scheme: hmac, secrets: ['correct horse']}"), []);
    assert_eq!(warned("{scheme: bearer, secrets: ['sk-1', \"it's\"]}"), []);
}
