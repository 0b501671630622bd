//! The commands: output and exit codes, for people, for pipelines, and when the output cannot be written.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use weir_tests::backend::Backend;
use weir_tests::client::{self, ClientRequest};
use weir_tests::process::{self, Finished, Process};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::sign::bearer;
use weir_tests::wait;

const VALID: &str = "backends: [{name: a, endpoints: [http://127.0.0.1:8000]}]\n\
                     routes: [{name: a, path: /*, backend: a}]\n";

const WARNED: &str = "admin: {token: change-me}\n";

async fn run(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Finished {
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let process = Process::start(directory, arguments, &environment, b"");
    process.finished(wait::PATIENCE).await
}

#[tokio::test]
async fn check_prints_json_and_strict_rejects_warnings() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let at = directory.path();
    let write = |text: &str| std::fs::write(at.join("weir.yaml"), text).expect("written");
    let report = async |arguments: &[&str], code| {
        let ended = run(at, arguments, &[]).await;
        assert_eq!(ended.code, Some(code), "{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.stderr, "", "all of it is in the report");
        serde_json::from_str::<Value>(&ended.stdout).expect("JSON")
    };
    let json = ["check", "--format", "json"];

    write(VALID);
    let reported = report(&json, 0).await;
    assert_eq!(
        (&reported["valid"], &reported["routes"]),
        (&true.into(), &1.into())
    );
    assert_eq!(reported["warnings"], serde_json::json!([]));

    write(&format!("{VALID}{WARNED}"));
    let reported = report(&json, 0).await;
    assert_eq!(reported["warnings"][0]["line"], 3);
    assert_eq!(reported["warnings"][0]["key"], "admin.token");
    let reported = report(&["check", "--strict", "--format", "json"], 1).await;
    assert_eq!(reported["valid"], true);
    assert_eq!(run(at, &["check"], &[]).await.code, Some(0));
    let strict = run(at, &["check", "--strict"], &[]).await;
    assert_eq!(strict.code, Some(1));
    assert!(strict.stderr.contains("--strict"), "{}", strict.stderr);

    write(&format!("{VALID}limits: {{connections: many}}\n"));
    let reported = report(&json, 1).await;
    assert_eq!(reported["valid"], false);
    assert_eq!(reported["mistakes"][0]["line"], 3);
    assert_eq!(reported["mistakes"][0]["column"], 23);
    assert_eq!(
        reported["mistakes"][0]["source_line"],
        "limits: {connections: many}"
    );
}

#[tokio::test]
async fn a_missing_configuration_names_both_locations() {
    if Path::new("/etc/weir/weir.yaml").exists() {
        return;
    }
    let directory = tempfile::TempDir::new().expect("a directory");
    for command in ["run", "check"] {
        let ended = run(directory.path(), &[command], &[]).await;
        assert_eq!(ended.code, Some(1));
        for named in ["weir.yaml", "/etc/weir/weir.yaml", "--config", "weir demo"] {
            assert!(ended.stderr.contains(named), "{named}: {}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn the_secret_of_sign_is_not_in_the_process_list() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let at = directory.path();
    let sign = [
        "sign",
        "--scheme",
        "hmac",
        "--at",
        "1700000000",
        "--id",
        "id-1",
    ];
    let signed = run(at, &[&sign[..], &["--secret", "s3cret"]].concat(), &[]).await;
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    for content in ["s3cret", "s3cret\n", "s3cret\r\n", "\u{feff}s3cret\n\n"] {
        std::fs::write(at.join("secret"), content).expect("written");
        let of_file = run(at, &[&sign[..], &["--secret-file", "secret"]].concat(), &[]).await;
        assert_eq!(
            of_file.stdout, signed.stdout,
            "{content:?}: {}",
            of_file.stderr
        );
    }
    let of_variable = run(at, &sign, &[("WEIR_SECRET", "s3cret")]).await;
    assert_eq!(of_variable.stdout, signed.stdout, "{}", of_variable.stderr);
    // An explicit argument overrides the variable.
    let both = [&sign[..], &["--secret-file", "secret"]].concat();
    let of_file = run(at, &both, &[("WEIR_SECRET", "other")]).await;
    assert_eq!(of_file.stdout, signed.stdout, "{}", of_file.stderr);

    let two = [
        &sign[..],
        &["--secret", "s3cret", "--secret-file", "secret"],
    ]
    .concat();
    for (arguments, reported) in [
        (two, "--secret-file"),
        (sign.to_vec(), "WEIR_SECRET"),
        (
            [&sign[..], &["--secret-file", "none"]].concat(),
            "cannot read none",
        ),
    ] {
        let ended = run(at, &arguments, &[]).await;
        assert!(ended.code.is_some_and(|code| code > 0));
        assert!(
            ended.stderr.contains(reported),
            "{reported}: {}",
            ended.stderr
        );
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn completions_contain_the_commands() {
    let directory = tempfile::TempDir::new().expect("a directory");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run(directory.path(), &["completions", shell], &[]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        for command in ["assistant", "check", "completions"] {
            assert!(ended.stdout.contains(command), "{shell} lacks {command}");
        }
    }
    let unknown = run(directory.path(), &["completions", "cmd"], &[]).await;
    assert_eq!(unknown.code, Some(2));
}

/// A loopback address that no other test of this run uses: a process without output cannot report its ports.
fn own_address(last: u8) -> String {
    let [.., high, low] = std::process::id().to_be_bytes();
    format!("127.{high}.{low}.{last}")
}

#[tokio::test]
async fn a_full_disk_for_the_log_does_not_end_the_process() {
    let backend = Backend::echo().await;
    let directory = tempfile::TempDir::new().expect("a directory");
    let host = own_address(7);
    let yaml = Setup::open(&backend)
        .listen(&format!("{host}:8080"))
        .admin_address(&format!("{host}:8081"))
        .events("stdout: true")
        .top("redis: {url: 'redis://127.0.0.1:1/0'}")
        .yaml(directory.path());
    std::fs::write(directory.path().join("weir.yaml"), yaml).expect("written");
    let weir = process::weir();
    let script = format!(
        "RUST_LOG=debug,nonsense=what exec {} run >/dev/full 2>/dev/full",
        weir.display()
    );
    let process = Process::program(Path::new("sh"), directory.path(), &["-c", &script]);
    let address: SocketAddr = format!("{host}:8080").parse().expect("an address");
    wait::eventually("a listener", wait::PATIENCE, || {
        assert!(process.exit().is_none(), "it ended: {:?}", process.exit());
        std::net::TcpStream::connect(address).is_ok()
    })
    .await;
    for _ in 0..3 {
        assert_eq!(
            client::send(address, ClientRequest::get("/")).await.status,
            200
        );
        process.sighup();
    }
    assert_eq!(
        client::send(address, ClientRequest::get("/")).await.status,
        200
    );
    process.sigterm();
    let exit = process.wait_exit(wait::PATIENCE).await;
    assert_eq!(exit.code(), Some(0));
}

#[tokio::test]
async fn a_full_disk_for_the_output_does_not_end_the_demo() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let host = own_address(9);
    let weir = process::weir();
    let base = weir_tests::ports::three_consecutive();
    for (command, address) in [
        (
            format!("assistant --address {host}:8000"),
            format!("{host}:8000"),
        ),
        (
            format!("demo --port-base {base}"),
            format!("127.0.0.1:{base}"),
        ),
    ] {
        let script = format!("exec {} {command} >/dev/full 2>/dev/full", weir.display());
        let process = Process::program(Path::new("sh"), directory.path(), &["-c", &script]);
        let address: SocketAddr = address.parse().expect("an address");
        wait::eventually(&command, wait::PATIENCE, || {
            assert!(process.exit().is_none(), "{command} ended");
            std::net::TcpStream::connect(address).is_ok()
        })
        .await;
        assert_eq!(
            client::send(address, ClientRequest::get("/v1/models"))
                .await
                .status,
            200
        );
        // SIGHUP of a closed terminal ends the commands that were started in it.
        process.sighup();
        assert_eq!(process.wait_exit(wait::PATIENCE).await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_full_disk_for_a_command_is_an_exit_code_and_no_panic() {
    let directory = tempfile::TempDir::new().expect("a directory");
    std::fs::write(directory.path().join("weir.yaml"), VALID).expect("written");
    std::fs::write(directory.path().join("bad.yaml"), "limits: 5\n").expect("written");
    let weir = process::weir();
    for (arguments, code) in [
        ("check 2>/dev/full", 0),
        ("check >/dev/full", 1),
        ("check --config bad.yaml 2>/dev/full", 1),
        ("run --config bad.yaml 2>/dev/full", 1),
        ("schema >/dev/full", 1),
        ("sign --scheme hmac --secret x >/dev/full 2>/dev/full", 1),
        ("audit verify nothing.ndjson 2>/dev/full", 1),
        ("no-such-command 2>/dev/full", 2),
    ] {
        let script = format!("exec {} {arguments}", weir.display());
        let process = Process::program(Path::new("sh"), directory.path(), &["-c", &script]);
        let ended = process.finished(wait::PATIENCE).await;
        assert_eq!(ended.code, Some(code), "{arguments}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn sighup_reloads_and_ends_nothing() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    proxy.process().sighup();
    wait::eventually("a word on the reload", wait::PATIENCE, || {
        proxy.stderr().contains("(SIGHUP); nothing to apply")
    })
    .await;
    assert_eq!(proxy.send(ClientRequest::get("/")).await.status, 200);
    proxy.sigterm();
    let exit = proxy.wait_exit(wait::PATIENCE).await;
    assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
}

#[tokio::test]
async fn a_fresh_weir_lists_alerts_and_dashboard_variables() {
    let backend = Backend::echo().await;
    let routes = "- {name: chat, path: /chat, backend: assistant, platform: bot}\n\
                  - {name: rest, path: /*, backend: assistant}";
    let proxy = Setup::new(&backend).routes(routes).start().await;
    let alerts = proxy.admin_get("/api/alerts").await.json();
    let rules: Vec<_> = alerts["alerts"]
        .as_array()
        .expect("alerts")
        .iter()
        .map(|alert| alert["rule"].as_str().expect("a name"))
        .collect();
    assert_eq!(rules, ["ErrorRate", "ResponseTime", "DiskUsage"]);
    for alert in alerts["alerts"].as_array().expect("alerts") {
        assert_eq!(alert["tier"], "none", "{alert}");
    }
    // The variables of the dashboards: label_values(METRIC{...}, LABEL).
    let metrics = proxy.metrics().await.text;
    for query in variables() {
        let (metric, label) = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|rest| rest.rsplit_once(", "))
            .expect("label_values(METRIC, LABEL)");
        let name = metric.split('{').next().expect("a name");
        let mut series = metrics
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")));
        // Prometheus adds these labels to any series.
        let found = match label {
            "job" | "instance" => series.next().is_some(),
            _ => ["route=\"chat\"", "platform=\"bot\""]
                .iter()
                .filter(|expected| expected.starts_with(&format!("{label}=")))
                .all(|expected| {
                    metrics
                        .lines()
                        .any(|line| line.starts_with(name) && line.contains(expected))
                }),
        };
        assert!(found, "nothing to choose from: {query}");
    }
}

/// The queries of the drop-downs of all dashboards.
fn variables() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/grafana");
    let mut queries = Vec::new();
    for entry in std::fs::read_dir(folder).expect("dashboards") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a dashboard");
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        let variables = dashboard["templating"]["list"].as_array().expect("a list");
        let of_queries = variables
            .iter()
            .filter_map(|variable| variable["query"]["query"].as_str());
        queries.extend(of_queries.map(str::to_owned));
    }
    assert!(queries.len() >= 6, "{queries:?}");
    queries
}

#[tokio::test]
async fn a_key_from_a_file_ignores_bom_and_line_ends() {
    let backend = Backend::echo().await;
    for content in [
        "sk-of-the-first-hour",
        "sk-of-the-first-hour\n",
        "sk-of-the-first-hour\r\n",
        "\u{feff}sk-of-the-first-hour\n\n",
    ] {
        let directory = tempfile::TempDir::new().expect("a directory");
        let key = directory.path().join("key");
        std::fs::write(&key, content).expect("written");
        let routes = format!(
            "- {{name: all, path: /*, backend: assistant, signature: {{scheme: bearer, clients: [{{name: web, secrets: [\"${{file:{}}}\"]}}]}}}}",
            key.display()
        );
        let proxy: Proxy = Setup::new(&backend).routes(&routes).start().await;
        let response = proxy
            .send(ClientRequest::get("/").headers(bearer("sk-of-the-first-hour")))
            .await;
        assert_eq!(response.status, 200, "{content:?}");
        assert!(!proxy.stderr().contains("warning"), "{}", proxy.stderr());
    }
}
