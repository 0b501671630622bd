//! Scrapes `/metrics`, parses it, and asserts on it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::client::{self, ClientRequest};
use crate::wait;

/// How long a metric may take to be updated.
const COUNTED_WITHIN: Duration = wait::PATIENCE;

/// A sample: name, labels and value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// A scrape.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub text: String,
    pub samples: Vec<Sample>,
}

impl Metrics {
    /// # Panics
    /// The response is not 200 with Prometheus text.
    pub async fn scrape(admin: SocketAddr) -> Self {
        let response = client::send(
            admin,
            ClientRequest::get("/metrics").header("host", &admin.to_string()),
        )
        .await;
        assert_eq!(response.status, 200, "{}", response.text());
        Self::parse(&response.text())
    }

    /// # Panics
    /// A line is not in the Prometheus text format.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| parse_sample(line).unwrap_or_else(|| panic!("not a sample: {line:?}")))
            .collect();
        Metrics {
            text: text.to_owned(),
            samples,
        }
    }

    /// The sum of all samples with this name and these labels; 0 if there are none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| {
                labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|have| have == value))
            })
            .map(|sample| sample.value)
            .sum()
    }

    /// Whether there is a metric with this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.text
            .lines()
            .any(|line| line.split_whitespace().nth(2) == Some(name) && line.starts_with("# TYPE"))
    }
}

/// Waits until the sum of `name` with `labels` is `value`.
///
/// # Panics
/// It is not in time; with the last value.
pub async fn assert_metric(admin: SocketAddr, name: &str, labels: &[(&str, &str)], value: f64) {
    let mut last = f64::NAN;
    let polling = async {
        loop {
            last = Metrics::scrape(admin).await.sum(name, labels);
            if (last - value).abs() < 1e-9 {
                return;
            }
            wait::tick().await;
        }
    };
    let in_time = tokio::time::timeout(COUNTED_WITHIN, polling).await.is_ok();
    assert!(in_time, "{name}{labels:?} is {last}, not {value}");
}

fn parse_sample(line: &str) -> Option<Sample> {
    let (series, value) = match line.rfind('}') {
        Some(end) => line.split_at(end + 1),
        None => line.split_once(' ')?,
    };
    let value = value.split_whitespace().next()?.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample {
            name: series.to_owned(),
            labels: BTreeMap::new(),
            value,
        });
    };
    Some(Sample {
        name: name.to_owned(),
        labels: parse_labels(labels.strip_suffix('}')?)?,
        value,
    })
}

fn parse_labels(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut escaped = false;
        let mut end = None;
        for (at, letter) in rest.char_indices() {
            match letter {
                'n' if escaped => value.push('\n'),
                _ if escaped => value.push(letter),
                '\\' => {
                    escaped = true;
                    continue;
                }
                '"' => {
                    end = Some(at);
                    break;
                }
                _ => value.push(letter),
            }
            escaped = false;
        }
        labels.insert(name.trim_start_matches(',').trim().to_owned(), value);
        text = rest.get(end? + 1..)?;
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_contain_quotes_commas_and_braces() {
        let metrics = Metrics::parse(
            "# TYPE a counter\na{x=\"1\",y=\"q\\\"},{\\\\\"} 2\na{x=\"1\",y=\"z\"} 3.5\nb 7\n",
        );
        assert!((metrics.sum("a", &[("x", "1")]) - 5.5).abs() < 1e-9);
        assert!((metrics.sum("a", &[("y", "q\"},{\\")]) - 2.0).abs() < 1e-9);
        assert!((metrics.sum("b", &[]) - 7.0).abs() < 1e-9);
        assert!(metrics.has("a"));
        assert!(!metrics.has("b"));
    }
}
