//! Reads events from Elasticsearch or OpenSearch with the scroll API, which both implement
//! (www.elastic.co/docs/api/doc/elasticsearch/operation/operation-scroll).

use std::time::Duration;

use anyhow::Context as _;
use goose_reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::event::{Event, RecordedRequest};

const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the server keeps the scroll context between two pages.
const SCROLL_KEEP_ALIVE: &str = "1m";
const PAGE_SIZE: u32 = 5000;
/// The fields of an event that are requested.
const FIELDS: [&str; 7] = [
    "@timestamp",
    "route",
    "url.path",
    "http.request.method",
    "http.request.body.bytes",
    "http.response.status_code",
    "gen_ai.request.stream",
];
/// How much of an error response is shown.
const ERROR_CHARS_MAX: usize = 500;

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

/// All events that match a query.
pub(super) async fn events(
    url: &str,
    query: &str,
    api_key: Option<&str>,
) -> anyhow::Result<Vec<(Duration, RecordedRequest)>> {
    let url = url.trim_end_matches('/');
    let server = server(url)?;
    let client = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let with_key = |request: RequestBuilder| match api_key {
        Some(key) => request.header("Authorization", format!("ApiKey {key}")),
        None => request,
    };
    let first = json!({
        "size": PAGE_SIZE,
        "sort": [{"@timestamp": "asc"}],
        "query": {"query_string": {"query": query}},
        "_source": FIELDS,
    });
    let scroll = format!("{server}/_search/scroll");
    let search = client.post(format!("{url}/_search?scroll={SCROLL_KEEP_ALIVE}"));
    let mut page = fetch_page(with_key(search), &first).await?;
    let mut events = Vec::new();
    while !page.hits.hits.is_empty() {
        for hit in page.hits.hits {
            let event: Event = serde_json::from_value(hit.source)
                .with_context(|| format!("{} is not a weir event", hit.id))?;
            events.extend(event.into_request().with_context(|| hit.id)?);
        }
        let next = json!({"scroll": SCROLL_KEEP_ALIVE, "scroll_id": page.scroll_id});
        page = fetch_page(with_key(client.post(&scroll)), &next).await?;
    }
    // Without this, the scroll context expires later.
    let done = json!({"scroll_id": page.scroll_id});
    drop(with_key(client.delete(&scroll)).json(&done).send().await);
    Ok(events)
}

async fn fetch_page(request: RequestBuilder, body: &Value) -> anyhow::Result<Page> {
    let response = request.json(body).send().await;
    // The URL may contain a password.
    let response = response.map_err(goose_reqwest::Error::without_url)?;
    let status = response.status();
    let text = response.text().await;
    let text = text.map_err(goose_reqwest::Error::without_url)?;
    if !status.is_success() {
        let reason: String = text.chars().take(ERROR_CHARS_MAX).collect();
        anyhow::bail!("it responded with {status}: {reason}");
    }
    let page: Page =
        serde_json::from_str(&text).context("the response is not a page of search results")?;
    anyhow::ensure!(
        !page.timed_out && page.shards.failed == 0,
        "some shards did not respond, so events would be missing"
    );
    Ok(page)
}

/// The URL without the index.
fn server(url: &str) -> anyhow::Result<&str> {
    let split = url.rsplit_once('/');
    let server = split.filter(|(server, index)| {
        !index.is_empty()
            && server
                .split_once("://")
                .is_some_and(|(_, host)| !host.is_empty())
    });
    server.map(|(server, _)| server).context(
        "expected the URL of a data stream, such as http://127.0.0.1:9200/logs-weir.access-default",
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
    fn the_server_is_the_url_without_the_index() {
        assert_eq!(server("http://h:9200/a-*").expect("one"), "http://h:9200");
        for invalid in ["http://h:9200", "http://h:9200/", "h", ""] {
            assert!(server(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn the_password_is_removed_from_the_url() {
        assert_eq!(without_password("https://u:p@h/a"), "https://h/a");
        assert_eq!(without_password("https://h/a"), "https://h/a");
    }
}
