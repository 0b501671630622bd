//! `cache: {http: true}`: RFC 9111 over HTTP/1.1 and HTTP/2.
//!
//! A request states in `x-reply` what the backend responds with, so that a case is one table row.

use weir_tests::backend::{Backend, BackendResponse, ReceivedRequest};
use weir_tests::client::{self, Client, ClientRequest, ClientResponse};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;

mod herd;

const ROUTE: &str =
    "- {name: pages, path: /*, backend: assistant, cache: {http: true, memory: 8MiB}}";
const BODY: &str = "0123456789";

/// Responds as the request states: `STATUS|NAME: VALUE|...`. A request whose `If-None-Match` is the `ETag` of the
/// response gets a 304.
fn reply(request: &ReceivedRequest) -> BackendResponse {
    let reply = request.header("x-reply").unwrap_or("200");
    let mut parts = reply.split('|');
    let status = parts.next().and_then(|status| status.parse().ok());
    let fields: Vec<_> = parts.filter_map(|part| part.split_once(": ")).collect();
    let etag = fields.iter().find(|(name, _)| *name == "etag");
    let is_known = etag.is_some_and(|(_, etag)| request.header("if-none-match") == Some(etag));
    let response = match is_known {
        true => BackendResponse::status(304).without_header("content-type"),
        false => BackendResponse::bytes("text/plain", BODY).with_status(status.unwrap_or(200)),
    };
    let add =
        |response: BackendResponse, (name, value): &(&str, &str)| response.header(name, value);
    fields.iter().fold(response, add)
}

async fn start(backend: &Backend) -> Proxy {
    Setup::new(backend)
        .backend_options(&["retry: {attempts: 1}"])
        .routes(ROUTE)
        .start()
        .await
}

type Lines = &'static [(&'static str, &'static str)];
/// One request: method, header lines, the backend's reply.
type Step = (&'static str, Lines, &'static str);
/// What the client gets: status and `Cache-Status`.
type Expected = (u16, &'static str);
type Case = (&'static str, Vec<(Step, Expected)>);

const HIT: &str = "weir; hit; detail=memory";
const MISS: &str = "weir; fwd=miss; stored";
const FRESH: &str = "200|cache-control: max-age=60|etag: \"a\"";
const STALE: &str = "200|cache-control: max-age=60|age: 90|etag: \"a\"";

fn get(headers: Lines, reply: &'static str) -> Step {
    ("GET", headers, reply)
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn of_storing() -> Vec<Case> {
    vec![
        (
            "a fresh response is reused, also for HEAD",
            vec![
                (get(&[], FRESH), (200, MISS)),
                (get(&[], FRESH), (200, HIT)),
                (("HEAD", &[][..], FRESH), (200, HIT)),
                (get(&[("cache-control", "only-if-cached")], ""), (200, HIT)),
            ],
        ),
        (
            "what is not allowed is not stored",
            vec![
                (
                    get(&[], "200|cache-control: no-store"),
                    (200, "weir; fwd=miss"),
                ),
                (
                    get(&[], "200|cache-control: private, max-age=9"),
                    (200, "weir; fwd=miss"),
                ),
                (
                    get(&[], "200|cache-control: max-age=9|set-cookie: a=b"),
                    (200, "weir; fwd=miss"),
                ),
                (
                    get(&[], "200|cache-control: max-age=9|vary: *"),
                    (200, "weir; fwd=miss"),
                ),
                (
                    get(&[("authorization", "a")], FRESH),
                    (200, "weir; fwd=miss"),
                ),
                (get(&[("cookie", "a=b")], FRESH), (200, "weir; fwd=miss")),
                (
                    get(&[("cache-control", "no-store")], FRESH),
                    (200, "weir; fwd=bypass"),
                ),
                (
                    // It is weir's own response (RFC 9211, section 2).
                    get(&[("cache-control", "only-if-cached")], FRESH),
                    (504, ""),
                ),
                (
                    get(
                        &[],
                        "200|cache-control: max-age=9|cdn-cache-control: no-store",
                    ),
                    (200, "weir; fwd=miss"),
                ),
            ],
        ),
        (
            "a stale response is validated",
            vec![
                (get(&[], STALE), (200, MISS)),
                (get(&[], FRESH), (200, "weir; fwd=stale; fwd-status=304")),
                (get(&[], FRESH), (200, HIT)),
                (
                    get(&[("cache-control", "no-cache")], FRESH),
                    (200, "weir; fwd=request; fwd-status=304"),
                ),
                (
                    get(
                        &[("cache-control", "no-cache")],
                        "200|cache-control: max-age=9|etag: \"b\"",
                    ),
                    (200, "weir; fwd=request; stored"),
                ),
                (get(&[("if-none-match", "W/\"b\"")], ""), (304, HIT)),
            ],
        ),
        (
            "each variant is stored",
            vec![
                (
                    get(
                        &[("x-tenant", "a")],
                        "200|cache-control: max-age=9|vary: X-Tenant",
                    ),
                    (200, MISS),
                ),
                (
                    get(
                        &[("x-tenant", "b")],
                        "200|cache-control: max-age=9|vary: X-Tenant",
                    ),
                    (200, "weir; fwd=vary-miss; stored"),
                ),
                (get(&[("x-tenant", "a")], ""), (200, HIT)),
                (get(&[("x-tenant", "b")], ""), (200, HIT)),
            ],
        ),
    ]
}

fn of_serving() -> Vec<Case> {
    vec![
        (
            "ranges and conditions are answered from the cache",
            vec![
                (get(&[], FRESH), (200, MISS)),
                (get(&[("range", "bytes=2-4")], ""), (206, HIT)),
                (
                    get(&[("range", "bytes=2-4"), ("if-range", "\"a\"")], ""),
                    (206, HIT),
                ),
                (
                    get(&[("range", "bytes=2-4"), ("if-range", "\"b\"")], ""),
                    (200, HIT),
                ),
                (get(&[("range", "bytes=10-")], ""), (416, HIT)),
                (get(&[("if-none-match", "\"b\", \"a\"")], ""), (304, HIT)),
                (get(&[("if-none-match", "\"b\"")], ""), (200, HIT)),
            ],
        ),
        (
            "an unsafe method invalidates",
            vec![
                (get(&[], FRESH), (200, MISS)),
                (("OPTIONS", &[][..], "200"), (200, "weir; fwd=method")),
                (("POST", &[][..], "500"), (500, "weir; fwd=method")),
                (get(&[], FRESH), (200, HIT)),
                (("POST", &[][..], "200"), (200, "weir; fwd=method")),
                (get(&[], FRESH), (200, MISS)),
            ],
        ),
        (
            "a stale response is served where the backend fails",
            vec![
                (
                    get(
                        &[],
                        "200|cache-control: max-age=60, stale-if-error=60|age: 90",
                    ),
                    (200, MISS),
                ),
                (
                    get(&[], "503"),
                    (200, "weir; fwd=stale; detail=stale-if-error"),
                ),
                (get(&[], "404"), (404, "weir; fwd=stale")),
            ],
        ),
    ]
}

#[tokio::test]
async fn responses_are_reused_as_rfc_9111_has_it() {
    let backend = Backend::responding(reply).await;
    let proxy = start(&backend).await;
    let cases = [of_storing(), of_serving()].concat();
    for (number, (name, steps)) in cases.into_iter().enumerate() {
        for version in ["h1", "h2"] {
            let mut client = match version {
                "h1" => Client::h1(proxy.address()).await,
                _ => Client::h2(proxy.address()).await,
            };
            for (position, ((method, headers, reply), expected)) in steps.iter().enumerate() {
                let mut request = ClientRequest::new(method, &format!("/{version}/{number}"));
                for (name, value) in *headers {
                    request = request.header(name, value);
                }
                let response = client.send(request.header("x-reply", reply)).await;
                let got = (
                    response.status,
                    response.header("cache-status").unwrap_or(""),
                );
                assert_eq!(got, *expected, "{name}, step {position}, {version}");
                check_head(&response);
            }
        }
    }
    backend.assert_faultless();
}

#[tokio::test]
async fn a_response_that_is_cut_short_is_not_stored() {
    let backend = Backend::responding(|_| {
        let response = BackendResponse::bytes("text/plain", BODY).with_length();
        response.header("cache-control", "max-age=60").truncated()
    })
    .await;
    let proxy = start(&backend).await;
    for _ in 0..2 {
        let mut client = Client::h1(proxy.address()).await;
        let response = client.open(ClientRequest::get("/cut")).await;
        assert!(response.rest().await.is_err(), "the body is cut short");
    }
    assert_eq!(backend.requests().len(), 2);
}

/// An eighth of the memory is 1 MiB.
#[tokio::test]
async fn a_response_whose_length_is_too_large_has_no_stored_in_its_cache_status() {
    let backend = Backend::responding(|request| {
        let bytes = if request.target == "/large" {
            2 << 20
        } else {
            1 << 19
        };
        let response = BackendResponse::bytes("text/plain", "x".repeat(bytes)).with_length();
        response.header("cache-control", "max-age=60")
    })
    .await;
    let proxy = start(&backend).await;
    for (path, first, then) in [
        ("/large", "weir; fwd=miss", "weir; fwd=miss"),
        ("/small", MISS, HIT),
    ] {
        for expected in [first, then] {
            let response = proxy.send(ClientRequest::get(path)).await;
            assert_eq!(response.header("cache-status"), Some(expected), "{path}");
        }
    }
}

#[tokio::test]
async fn a_response_to_a_request_before_an_unsafe_one_is_not_stored() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let address = proxy.address();
    let get = || tokio::spawn(client::send(address, ClientRequest::get("/page")));
    let page = |text: &str| {
        let page = BackendResponse::bytes("text/plain", text.to_owned());
        page.header("cache-control", "max-age=60")
    };
    let before = get();
    let pending = backend.next_request().await;
    let post = tokio::spawn(client::send(address, ClientRequest::post("/page", "new")));
    let posted = backend.next_request().await;
    posted.respond(BackendResponse::status(200)).await;
    assert_eq!(post.await.expect("a response").status, 200);
    // It does not even share the response that is on its way.
    let after = get();
    let second = backend.next_request().await;
    pending.respond(page("old")).await;
    assert_eq!(before.await.expect("a response").text(), "old");
    second.respond(page("new")).await;
    assert_eq!(after.await.expect("a response").text(), "new");
    let hit = proxy.send(ClientRequest::get("/page")).await;
    assert_eq!(hit.header("cache-status"), Some("weir; hit; detail=memory"));
    assert_eq!(hit.text(), "new");
}

fn check_head(response: &ClientResponse) {
    let is_hit = response
        .header("cache-status")
        .is_some_and(|status| status.contains("; hit"));
    if is_hit {
        assert!(response.header("age").is_some(), "{response:?}");
    }
    assert!(response.header("date").is_some());
    match response.status {
        206 => {
            assert_eq!(response.text(), &BODY[2..5]);
            assert_eq!(response.header("content-range"), Some("bytes 2-4/10"));
        }
        304 => assert!(response.header("etag").is_some()),
        416 => assert_eq!(response.header("content-range"), Some("bytes */10")),
        _ => {}
    }
}
