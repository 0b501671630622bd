//! Reloading the configuration of a running process.

use std::path::Path;

use serde_json::Value;
use weir_tests::client::{self, ClientRequest, ClientResponse};
use weir_tests::proxy::Proxy;

mod files;
mod leaks;
mod state;
mod triggers;

/// Replaces the file as editors do: a new one is renamed.
pub(super) fn write(proxy: &Proxy, text: &str) {
    replace(&proxy.directory().join("weir.yaml"), text);
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("written");
    std::fs::rename(&new, path).expect("renamed");
}

async fn post_reload(proxy: &Proxy) -> ClientResponse {
    let host = proxy.admin().to_string();
    let request = ClientRequest::post("/api/reload", "").header("host", &host);
    client::send(proxy.admin(), request).await
}

/// The report of a reload over the admin API.
pub(super) async fn reload(proxy: &Proxy) -> Value {
    let response = post_reload(proxy).await;
    let report = response.json();
    let status = match report["outcome"] == "rejected" {
        true => 422,
        false => 200,
    };
    assert_eq!(response.status, status, "{report}");
    report
}

/// The report of a reload of this text.
async fn reload_with(proxy: &Proxy, text: &str) -> Value {
    write(proxy, text);
    reload(proxy).await
}

/// Waits until so many reloads had this outcome.
async fn reloads_when(proxy: &Proxy, outcome: &str, count: f64) {
    proxy
        .metrics_when(&format!("{count} reloads {outcome}"), |metrics| {
            metrics.sum("weir_config_reloads_total", &[("outcome", outcome)]) >= count
        })
        .await;
}

async fn status(proxy: &Proxy, path: &str) -> u16 {
    proxy.send(ClientRequest::get(path)).await.status
}
