//! Events out of Elasticsearch or OpenSearch, page by page
//! (www.elastic.co/docs/api/doc/elasticsearch/operation/operation-scroll: both have it).

use std::time::Duration;

use anyhow::Context as _;
use goose_reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Event, Recorded, read};

const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the index keeps its place between two pages.
const KEPT: &str = "1m";
const PAGE: u32 = 5000;
/// What of an event is asked for.
const FIELDS: [&str; 7] = [
    "@timestamp",
    "route",
    "url.path",
    "http.request.method",
    "http.request.body.bytes",
    "http.response.status_code",
    "gen_ai.request.stream",
];
/// Of what an index says about a query that it does not take.
const WHY_BYTES_MAX: usize = 500;

#[derive(Deserialize)]
struct Page {
    #[serde(rename = "_scroll_id")]
    scroll_id: String,
    #[serde(default)]
    timed_out: bool,
    #[serde(rename = "_shards", default)]
    shards: Shards,
    hits: Hits,
}

#[derive(Default, Deserialize)]
struct Shards {
    #[serde(default)]
    failed: u64,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source")]
    source: Value,
}

/// All events that a query finds.
pub(super) async fn events(
    url: &str,
    query: &str,
    api_key: Option<&str>,
) -> anyhow::Result<Vec<(Duration, Recorded)>> {
    let url = url.trim_end_matches('/');
    let server = server(url)?;
    let client = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let with_key = |request: RequestBuilder| match api_key {
        Some(key) => request.header("Authorization", format!("ApiKey {key}")),
        None => request,
    };
    let first = json!({
        "size": PAGE,
        "sort": [{"@timestamp": "asc"}],
        "query": {"query_string": {"query": query}},
        "_source": FIELDS,
    });
    let scroll = format!("{server}/_search/scroll");
    let search = client.post(format!("{url}/_search?scroll={KEPT}"));
    let mut page = ask(with_key(search), &first).await?;
    let mut events = Vec::new();
    while !page.hits.hits.is_empty() {
        for hit in page.hits.hits {
            let event: Event = serde_json::from_value(hit.source)
                .with_context(|| format!("{} is no event of weir's", hit.id))?;
            events.extend(read(event).with_context(|| hit.id)?);
        }
        let next = json!({"scroll": KEPT, "scroll_id": page.scroll_id});
        page = ask(with_key(client.post(&scroll)), &next).await?;
    }
    // It would forget by itself, later.
    let done = json!({"scroll_id": page.scroll_id});
    drop(with_key(client.delete(&scroll)).json(&done).send().await);
    Ok(events)
}

async fn ask(request: RequestBuilder, body: &Value) -> anyhow::Result<Page> {
    let answer = request.json(body).send().await;
    // The address may hold a password.
    let answer = answer.map_err(goose_reqwest::Error::without_url)?;
    let status = answer.status();
    let text = answer.text().await;
    let text = text.map_err(goose_reqwest::Error::without_url)?;
    if !status.is_success() {
        let why: String = text.chars().take(WHY_BYTES_MAX).collect();
        anyhow::bail!("it answered {status}: {why}");
    }
    let page: Page = serde_json::from_str(&text).context("it answered no page of a search")?;
    anyhow::ensure!(
        !page.timed_out && page.shards.failed == 0,
        "a part of it did not answer, so that events would be missing"
    );
    Ok(page)
}

/// The address without the index.
fn server(url: &str) -> anyhow::Result<&str> {
    let split = url.rsplit_once('/');
    let server = split.filter(|(server, index)| {
        !index.is_empty()
            && server
                .split_once("://")
                .is_some_and(|(_, host)| !host.is_empty())
    });
    server.map(|(server, _)| server).context(
        "expected the address of a data stream, such as http://127.0.0.1:9200/logs-weir.access-default",
    )
}

pub(super) fn without_password(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| {
        let (_, host) = rest.rsplit_once('@')?;
        Some(format!("{scheme}://{host}"))
    }) {
        Some(without) => without,
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_has_a_server() {
        assert_eq!(server("http://h:9200/a-*").expect("one"), "http://h:9200");
        for wrong in ["http://h:9200", "http://h:9200/", "h", ""] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_not_told() {
        assert_eq!(without_password("https://u:p@h/a"), "https://h/a");
        assert_eq!(without_password("https://h/a"), "https://h/a");
    }
}
