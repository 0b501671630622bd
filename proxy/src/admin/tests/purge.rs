//! `DELETE /api/cache`.

use super::*;
use crate::admin::purge::PurgeReceipt;
use crate::cache::purge::{PurgeError, PurgeRequest};

/// Purges seven responses of the route `chat`, and knows no other.
#[derive(Debug)]
pub(super) struct FixedPurges;

impl CachePurges for FixedPurges {
    fn purge(&self, request: PurgeRequest) -> PurgeReceipt {
        Box::pin(std::future::ready(match request.route.as_deref() {
            None | Some("chat") => Ok(7),
            Some("slow") => Err(PurgeError::Incomplete {
                reason: "Redis failed: it replied OOM".to_owned(),
            }),
            Some(name) => Err(PurgeError::UnknownRoute {
                name: name.to_owned(),
                known: vec!["chat".into(), "ask".into()],
            }),
        }))
    }
}

#[test]
fn a_purge_names_what_it_cannot_do() {
    let running = start(Some("token"));
    let request = |method: &str, query: &str, fields: &str| {
        let request = format!(
            "{method} /api/cache{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"
        );
        ask(running.admin.address, &request)
    };
    let token = "Authorization: Bearer token\r\n";
    let key = "?key=00112233445566778899aabbccddeeff";
    for query in [
        "",
        "?route=chat",
        key,
        "?key=/a.css",
        "?route=chat&key=%2Fa%3Fb",
    ] {
        let response = request("DELETE", query, token);
        assert_eq!(response.status, 200, "{query} {}", response.body);
        assert_eq!(response.json(), serde_json::json!({"purged": 7}), "{query}");
    }
    for (query, status, detail) in [
        (
            "?route=chta",
            404,
            "no route `chta` has a cache; routes with a cache: chat, ask",
        ),
        (
            "?route=slow",
            503,
            "Redis failed: it replied OOM; once this is solved, send the request again",
        ),
        ("?key=", 400, "32 hexadecimal digits of weir.cache.key"),
        (
            "?route=chat&key=a.css",
            400,
            "or the path or URL of responses",
        ),
        ("?key=chat", 400, "32 hexadecimal digits of weir.cache.key"),
        ("?routes=chat", 400, "unknown field `routes`"),
        ("?route=chat&route=ask", 400, "duplicate field `route`"),
        ("?all", 400, "supported are ?route=NAME and ?key=KEY"),
    ] {
        let response = request("DELETE", query, token);
        assert_eq!(response.status, status, "{query} {}", response.body);
        let problem = response.json();
        let text = problem["detail"].as_str().expect("a detail");
        assert!(text.contains(detail), "{query}: {text}");
    }
    assert_eq!(request("DELETE", "", "").status, 401);
    let foreign = format!("{token}Origin: http://evil.example\r\n");
    assert_eq!(request("DELETE", "", &foreign).status, 403);
    assert_eq!(request("GET", "", token).status, 405);
}
