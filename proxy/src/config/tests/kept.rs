//! What a loaded configuration keeps of its secrets, and what it shows.

use std::path::PathBuf;

use super::*;

/// Sets every key that takes a secret, or an address that may contain one; each value contains `MARK`.
const ALL: &str = r#"
admin: {token: MARK-admin}
redis: {url: "redis://user:MARK-redis@127.0.0.1:6379/0"}
backends:
  - {name: a, endpoints: ["http://127.0.0.1:8000"], request_headers: {authorization: "Bearer MARK-backend"}}
routes:
  - name: one
    path: /one
    backend: a
    signature:
      - {scheme: hmac, clients: [{name: web, secrets: [MARK-hmac]}]}
      - {scheme: bearer, secrets: [MARK-bearer]}
      - {scheme: simple_sha256, secrets: [MARK-simple]}
      - {scheme: feishu, secrets: [MARK-encrypt], verification_token: MARK-verification}
events:
  elasticsearch:
    urls: ["http://127.0.0.1:9200/MARK-index"]
    username: elastic
    password: MARK-password
    api_key: MARK-key
traces: {otlp: "http://127.0.0.1:4318/MARK-otlp", headers: {x-key: MARK-header, x-empty: "MARK-empty${NONE:-}"}}
alerts:
  console_url: "https://console.example/MARK-console"
  rules:
    - {name: R, signal: error_rate, warning: 1%, critical: 3%, recovery: 1%, runbook: "https://runbook.example/MARK-runbook"}
  alertmanager: {urls: ["http://127.0.0.1:9093/MARK-alertmanager"], username: weir, password: MARK-basic}
  feishu: {webhook: "https://open.feishu.cn/hook/MARK-hook", secret: MARK-sign}
  webhook: {url: "https://hooks.example/MARK-url", token: MARK-token}
"#;

/// The links that alerts show; everything else is kept secret.
const SHOWN: [&str; 2] = ["MARK-console", "MARK-runbook"];

/// The lines of a declaration that give a key a type for secrets.
fn secret_keys(source: &str) -> Vec<&str> {
    const TYPES: [&str; 5] = [
        "SecretText",
        "HeaderText",
        "ServiceUrl",
        "IndexUrl",
        "RedisUrl",
    ];
    let declared = source
        .lines()
        .filter_map(|line| line.trim().split_once(": "));
    let declared =
        declared.filter(|(_, rest)| rest.ends_with("] reload,") || rest.ends_with("] restart,"));
    let secret = declared.filter(|(_, rest)| TYPES.iter().any(|name| rest.contains(name)));
    secret.map(|(key, _)| key).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if !path.ends_with("signature/planned.rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_file_with_all_secrets_sets_every_declared_key_that_takes_one() {
    let mut paths = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut paths,
    );
    let mut keys = 0;
    for path in paths {
        for key in secret_keys(&std::fs::read_to_string(&path).unwrap()) {
            let is_set = ALL.contains(&format!("{key}: "));
            assert!(is_set, "{}: `{key}` is not in the file", path.display());
            keys += 1;
        }
    }
    assert!(keys > 15, "found only {keys} keys");
}

#[test]
fn the_checked_configuration_shows_no_secret() {
    let loaded = valid(ALL);
    let shown = format!("{:?} {:#?} {loaded:?}", loaded.config, loaded.config);
    let mut hidden = shown.replace(SHOWN[0], "").replace(SHOWN[1], "");
    hidden.make_ascii_lowercase();
    assert!(!hidden.contains("mark"), "{hidden}");
}

#[test]
fn the_values_of_a_loaded_file_hold_hashes_of_secrets() {
    fn assert_hashed(node: &node::YamlNode) {
        match &node.kind {
            node::NodeKind::Scalar(scalar) => {
                assert!(!scalar.text.contains("MARK"), "{}", *scalar.text);
                assert!(!scalar.written.contains("MARK"), "{}", *scalar.written);
            }
            node::NodeKind::Sequence(items) => items.iter().for_each(assert_hashed),
            node::NodeKind::Mapping(entries) => {
                entries.iter().for_each(|(_, value)| assert_hashed(value));
            }
            _ => {}
        }
    }
    assert_hashed(&valid(ALL).values.0);
}

#[test]
fn a_changed_secret_is_a_change_of_its_key() {
    let base = valid(ALL);
    assert_eq!(diff(&base, &valid(ALL)), Changes::default());
    for (secret, key) in [
        ("MARK-admin", "admin.token"),
        ("MARK-redis", "redis.url"),
        ("MARK-backend", "backends[a].request_headers"),
        ("MARK-hmac", "routes[one].signature[0].clients[web].secrets"),
        (
            "MARK-verification",
            "routes[one].signature[3].verification_token",
        ),
        ("MARK-password", "events.elasticsearch.password"),
        ("MARK-header", "traces.headers"),
        ("MARK-hook", "alerts.feishu"),
    ] {
        let other = valid(&ALL.replace(secret, "0ther"));
        assert_eq!(diff(&base, &other).changed, [key], "{secret}");
    }
}

/// One file has the address as it is, the other in a variable: only one of them is hashed.
#[test]
fn a_secret_address_is_equal_however_it_is_written() {
    let text = |url: &str| format!("{LEAST}traces: {{otlp: \"{url}\"}}\n");
    let environment = |_: &str| Some("http://127.0.0.1:4318/path".to_owned());
    let variable = parse(&text("${URL}"), Path::new("weir.yaml"), &environment).unwrap();
    let written = valid(&text("http://127.0.0.1:4318/path"));
    assert_eq!(diff(&variable, &written), Changes::default());
    assert_eq!(diff(&written, &variable), Changes::default());
}
