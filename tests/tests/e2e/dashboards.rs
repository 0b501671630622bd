//! Every query of the dashboards returns data on a real Prometheus that scrapes a weir under load. And the form of the
//! dashboards, which cannot be viewed here.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir_tests::backend::{Backend, BackendResponse, ReceivedRequest};
use weir_tests::certs::Authority;
use weir_tests::client::{Client, ClientRequest, chat_request};
use weir_tests::node::Node;
use weir_tests::prometheus::{JOB, Prometheus, QueryResult};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::sign::sign_hmac_as;
use weir_tests::wait;

mod grafana;
mod kibana;

/// Panels without data, with the reason.
const WAITING: &str = include_str!("dashboards/waiting.txt");

/// The maximum duration of the load. It ends when every query has data.
const DEADLINE: Duration = Duration::from_secs(120);

const SECRET: &str = "web-secret-0123456";

const ROUTES: &str = "
- name: chat
  path: /v1/chat/completions
  methods: [POST]
  backend: assistant
  signature: {scheme: hmac, clients: [{name: web, secrets: [web-secret-0123456]}]}
  cache: {answers: true, memory: 1MiB, ttl: 1h, scope: client}
- {name: few, path: /few, backend: assistant, platform: bot, rate_limits: [{name: few, rate: 2/s, burst: 2, by: route}]}
- {name: rest, path: /*, backend: assistant}
";

/// A query of a panel.
struct Query {
    /// `FILE: TITLE`, as in the list of panels without data.
    panel: String,
    expression: String,
}

fn dashboards() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/grafana");
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .expect("dashboards/grafana")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let text = std::fs::read_to_string(&path).expect("a dashboard");
            let value =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, value)
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

fn queries() -> Vec<Query> {
    let mut found = Vec::new();
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().expect("a title");
            for target in panel["targets"].as_array().expect("targets") {
                found.push(Query {
                    panel: format!("{file}: {title}"),
                    expression: target["expr"].as_str().expect("a query").to_owned(),
                });
            }
        }
    }
    found
}

fn panels_without_data() -> BTreeSet<&'static str> {
    let lines = WAITING.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// The substitutions of Grafana's variables.
fn substitute_variables(expression: &str) -> String {
    let mut expression = expression.to_owned();
    for (variable, value) in [
        ("$__rate_interval", "5s"),
        ("$__range", "30s"),
        ("$job", JOB),
        ("$instance", ".+"),
        ("$route", ".+"),
        ("$platform", ".+"),
    ] {
        expression = expression.replace(variable, value);
    }
    assert!(
        !expression.contains('$'),
        "a variable is left in {expression}"
    );
    expression
}

fn answer(received: &ReceivedRequest) -> BackendResponse {
    match received.target.as_str() {
        "/error" => BackendResponse::status(500),
        "/reset" => BackendResponse::reset_immediately(),
        _ => BackendResponse::chat_for(received),
    }
}

/// One round of requests for everything that the dashboards show.
async fn send_round(proxy: &Proxy, number: usize) {
    let mut client = Client::h1(proxy.address()).await;
    for (prompt, stream) in [("the same", false), (&*format!("another {number}"), true)] {
        let body = chat_request(prompt, stream);
        let signed = sign_hmac_as("web", SECRET, body.to_string().as_bytes());
        client
            .send(ClientRequest::json("/v1/chat/completions", &body).headers(signed))
            .await;
    }
    client.send(ClientRequest::chat("unsigned")).await;
    for path in ["/few", "/few", "/error", "/reset", "/anything"] {
        client.send(ClientRequest::get(path)).await;
    }
}

/// Repeats rounds until cancelled.
async fn load(proxy: &Proxy) -> Infallible {
    let mut number = 0;
    loop {
        send_round(proxy, number).await;
        number += 1;
    }
}

/// Runs the queries until only those of the panels without data are left.
async fn run_queries(
    prometheus: &Prometheus,
    left: &mut Vec<Query>,
    panels_without_data: &BTreeSet<&str>,
) {
    while left
        .iter()
        .any(|query| !panels_without_data.contains(&*query.panel))
    {
        let mut still = Vec::new();
        for query in left.drain(..) {
            match prometheus
                .query(&substitute_variables(&query.expression))
                .await
            {
                QueryResult::Numbers(_) => {}
                QueryResult::Refused(reason) => {
                    panic!("{}: {reason}: {}", query.panel, query.expression)
                }
                QueryResult::Nothing | QueryResult::NotANumber => still.push(query),
            }
        }
        *left = still;
        wait::tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_dashboard_has_data_under_load() {
    let test = "every_query_of_every_dashboard_has_data_under_load";
    let Some(node) = Node::get().await else {
        return;
    };
    let backend = Backend::responding(answer).await;
    let shipping = format!(
        "elasticsearch: {{urls: ['{}'], data_stream: logs-weir.dashboards-default, batch: {{wait: 200ms}}}}",
        node.url()
    );
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let files = Authority::new().issue(directory.path());
    let setup = Setup::new(&backend)
        .routes(ROUTES)
        .backend_options(&["health_check: {interval: 1s}"])
        .tls(&files)
        // Nothing listens there, nor at the address of the collector: losses are shown as well.
        .top("alerts: {evaluate_every: 200ms, window: 5s, alertmanager: {urls: ['http://127.0.0.1:9']}}")
        .events("spool: {path: data/spool, sync: 100ms}")
        .events(&shipping)
        .events("audit: {path: data/audit.ndjson}")
        .top("traces: {otlp: 'http://127.0.0.1:9', sample: 100%}");
    let proxy = setup.start().await;
    let Some(prometheus) = Prometheus::scraping(test, &[proxy.admin()]).await else {
        return;
    };
    let panels_without_data = panels_without_data();
    let mut left = queries();
    assert!(left.len() > 40, "{} queries", left.len());
    tokio::select! {
        never = load(&proxy) => match never {},
        done = tokio::time::timeout(DEADLINE, run_queries(&prometheus, &mut left, &panels_without_data)) => drop(done),
    }
    let without: BTreeSet<_> = left.iter().map(|query| &*query.panel).collect();
    let unexpected: Vec<_> = left
        .iter()
        .filter(|query| !panels_without_data.contains(&*query.panel))
        .map(|query| format!("{}: {}", query.panel, query.expression))
        .collect();
    assert!(unexpected.is_empty(), "no data for {unexpected:#?}");
    let needless: Vec<_> = panels_without_data.difference(&without).collect();
    assert!(
        needless.is_empty(),
        "have data, but are listed as having none: {needless:#?}"
    );
}
