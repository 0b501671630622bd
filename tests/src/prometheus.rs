//! A real Prometheus, from Debian's package, that scrapes the targets of a test.

use std::net::SocketAddr;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{self, ClientRequest};
use crate::node;
use crate::process::{self, Process};
use crate::wait;

/// The job label of the scraped metrics.
pub const JOB: &str = "weir";

/// A running Prometheus; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    process: Process,
    /// Its data, deleted with it.
    _directory: TempDir,
}

/// The result of a query.
#[derive(Debug, PartialEq)]
pub enum QueryResult {
    /// At least one numeric sample.
    Numbers(usize),
    /// No series.
    Nothing,
    /// Only NaN values.
    NotANumber,
    /// The query was rejected, with the reason.
    Refused(String),
}

impl Prometheus {
    /// Starts a Prometheus that scrapes `/metrics` of each target twice a second. `None` if it is not installed: the test
    /// is skipped, with a message on stderr.
    ///
    /// # Panics
    /// It is not installed and `CI=true`, or it does not start.
    pub async fn scraping(test: &str, targets: &[SocketAddr]) -> Option<Self> {
        Self::alerting(test, targets, None).await
    }

    /// As [`Prometheus::scraping`], with `rules` (the text of a file) and the address of an Alertmanager.
    ///
    /// # Panics
    /// As [`Prometheus::scraping`].
    pub async fn alerting(
        test: &str,
        targets: &[SocketAddr],
        rules: Option<(&str, &str)>,
    ) -> Option<Self> {
        let Some(program) = process::tool("prometheus") else {
            node::skip(test, "prometheus is missing, see build/setup.sh");
            return None;
        };
        let directory = TempDir::new().expect("a temporary directory");
        let targets: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
        let mut configuration = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\n\
             scrape_configs:\n\
             - job_name: {JOB}\n  static_configs: [{{targets: [{}]}}]\n",
            targets.join(", ")
        );
        if let Some((rules, alertmanager)) = rules {
            let address = alertmanager.trim_start_matches("http://");
            configuration.push_str(&format!(
                "rule_files: [rules.yaml]\n\
                 alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}\n"
            ));
            std::fs::write(directory.path().join("rules.yaml"), rules).expect("rules are written");
        }
        std::fs::write(directory.path().join("prometheus.yml"), configuration)
            .expect("prometheus.yml is written");
        let arguments = [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
            "--log.level=info",
            "--enable-feature=exemplar-storage",
        ];
        let process = Process::program(&program, directory.path(), &arguments);
        let address = wait::found("the address of Prometheus", wait::PATIENCE, || {
            let output = process.stderr();
            let exit = process.exit();
            assert!(exit.is_none(), "Prometheus ended with {exit:?}:\n{output}");
            if !output.contains("Server is ready") {
                return None;
            }
            let line = output.lines().find(|line| line.contains("Listening on"))?;
            line.split_once("address=")?.1.trim().parse().ok()
        })
        .await;
        Some(Prometheus {
            address,
            process,
            _directory: directory,
        })
    }

    /// Its stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// The exemplars of a query's series in the last minutes.
    ///
    /// # Panics
    /// The response is invalid.
    pub async fn exemplars(&self, expression: &str) -> Vec<Value> {
        let now = weir::clock::unix_now().as_secs();
        let body = format!(
            "query={}&start={}&end={}",
            form_encoded(expression),
            now - 300,
            now + 60
        );
        let request = ClientRequest::post("/api/v1/query_exemplars", body)
            .header("content-type", "application/x-www-form-urlencoded");
        let response = client::send(self.address, request).await;
        let backend_response: Value =
            serde_json::from_slice(&response.body).expect("Prometheus responds with JSON");
        assert_eq!(backend_response["status"], "success", "{backend_response}");
        let series = backend_response["data"].as_array().expect("series").iter();
        series
            .flat_map(|series| series["exemplars"].as_array().cloned().unwrap_or_default())
            .collect()
    }

    /// The values of a series, twice a second from `start`: pairs of Unix time in seconds and value.
    ///
    /// # Panics
    /// The response is invalid, or there is more than one series.
    pub async fn range(&self, expression: &str, start: u64) -> Vec<(f64, f64)> {
        let end = weir::clock::unix_now().as_secs() + 1;
        let body = format!(
            "query={}&start={start}&end={end}&step=500ms",
            form_encoded(expression),
        );
        let request = ClientRequest::post("/api/v1/query_range", body)
            .header("content-type", "application/x-www-form-urlencoded");
        let response = client::send(self.address, request).await;
        let backend_response: Value =
            serde_json::from_slice(&response.body).expect("Prometheus responds with JSON");
        let series = backend_response["data"]["result"]
            .as_array()
            .expect("series");
        assert!(series.len() <= 1, "{backend_response}");
        let values = series.iter().flat_map(|one| one["values"].as_array());
        values
            .flatten()
            .filter_map(|pair| Some((pair[0].as_f64()?, pair[1].as_str()?.parse().ok()?)))
            .collect()
    }

    /// Evaluates a query now.
    ///
    /// # Panics
    /// The response is invalid.
    pub async fn query(&self, expression: &str) -> QueryResult {
        let body = format!("query={}", form_encoded(expression));
        let request = ClientRequest::post("/api/v1/query", body)
            .header("content-type", "application/x-www-form-urlencoded");
        let response = client::send(self.address, request).await;
        let backend_response: Value =
            serde_json::from_slice(&response.body).expect("Prometheus responds with JSON");
        if backend_response["status"] != "success" {
            return QueryResult::Refused(backend_response["error"].to_string());
        }
        let result = &backend_response["data"]["result"];
        let values: Vec<&Value> = match backend_response["data"]["resultType"].as_str() {
            Some("scalar") => vec![&result[1]],
            _ => {
                let series = result.as_array().expect("a list of series");
                series.iter().map(|one| &one["value"][1]).collect()
            }
        };
        let numbers = values.iter().filter(|value| is_number(value)).count();
        match (values.is_empty(), numbers) {
            (true, _) => QueryResult::Nothing,
            (false, 0) => QueryResult::NotANumber,
            (false, numbers) => QueryResult::Numbers(numbers),
        }
    }
}

fn is_number(value: &Value) -> bool {
    let value = value.as_str().and_then(|text| text.parse::<f64>().ok());
    value.is_some_and(f64::is_finite)
}

fn form_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
