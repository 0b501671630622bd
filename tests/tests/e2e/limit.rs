//! Rate and concurrency limits: requests are admitted or rejected, never queued, and the quota is reported.

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest, ClientResponse};
use weir_tests::metrics::assert_metric;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::sign::{bearer, sign_hmac_as, sign_hmac_now};

/// The name and a parameter of `"name";a=1;b=2`.
fn parameter(value: &str, name: &str, key: &str) -> Option<u64> {
    value
        .split(',')
        .map(str::trim)
        .find(|item| item.starts_with(&format!("\"{name}\"")))?
        .split(';')
        .find_map(|part| part.trim().strip_prefix(&format!("{key}=")))?
        .parse()
        .ok()
}

fn assert_limited(client_response: &ClientResponse, policy: &str) {
    assert_eq!(client_response.status, 429, "{}", client_response.text());
    assert_eq!(client_response.rejection(), "rate_limited");
    let problem = client_response.json();
    assert_eq!(problem["error"]["type"], "rate_limit_error");
    let wait: u64 = client_response
        .header("retry-after")
        .and_then(|value| value.parse().ok())
        .expect("a Retry-After in seconds");
    assert!((1..=3600).contains(&wait), "{wait}");
    let quota = client_response.header("ratelimit").expect("a RateLimit");
    assert_eq!(parameter(quota, policy, "r"), Some(0), "{quota}");
}

#[tokio::test]
async fn a_burst_is_admitted_and_the_next_request_is_not() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "- {name: all, path: /*, backend: assistant, \
             rate_limits: [{name: everyone, rate: 1/min, burst: 3, by: route}]}",
        )
        .start()
        .await;
    for left in [2, 1, 0] {
        let client_response = proxy.send(ClientRequest::get("/")).await;
        assert_eq!(client_response.status, 200);
        let policy = client_response
            .header("ratelimit-policy")
            .expect("a policy");
        assert_eq!(parameter(policy, "everyone", "q"), Some(3), "{policy}");
        // Three at one a minute: a window of 180 seconds.
        assert_eq!(parameter(policy, "everyone", "w"), Some(180), "{policy}");
        let quota = client_response.header("ratelimit").expect("a standing");
        assert_eq!(parameter(quota, "everyone", "r"), Some(left), "{quota}");
        assert!(parameter(quota, "everyone", "t").is_some(), "{quota}");
        let event = proxy.event_of(&client_response).await;
        let note = &event["weir"]["rate_limit"];
        assert_eq!(note["outcome"], "admitted");
        assert_eq!(note["policy"], "everyone");
        assert_eq!(note["remaining"], left);
    }
    for _ in 0..2 {
        let client_response = proxy.send(ClientRequest::get("/")).await;
        assert_limited(&client_response, "everyone");
        let event = proxy.event_of(&client_response).await;
        assert_eq!(event["weir"]["rate_limit"]["outcome"], "limited");
        assert_eq!(event["error_code"], "rate_limited");
    }
    assert_eq!(backend.requests().len(), 3);
    for (outcome, count) in [("admitted", 3.0), ("limited", 2.0)] {
        let labels = [("policy", "everyone"), ("outcome", outcome)];
        let name = "weir_rate_limit_decisions_total";
        assert_metric(proxy.admin(), name, &labels, count).await;
    }
}

#[tokio::test]
async fn the_quota_is_restored_after_its_period() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "- {name: all, path: /*, backend: assistant, \
             rate_limits: [{name: quick, rate: 5/s, burst: 1, by: route}]}",
        )
        .start()
        .await;
    assert_eq!(proxy.send(ClientRequest::get("/")).await.status, 200);
    weir_tests::wait::within("a second cell", weir_tests::wait::PATIENCE, async {
        while proxy.send(ClientRequest::get("/")).await.status != 200 {
            weir_tests::wait::tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn clients_have_separate_limits() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "
- name: all
  path: /*
  backend: assistant
  signature:
    scheme: hmac
    clients:
      - {name: one, secrets: [secret-one-0123456]}
      - {name: two, secrets: [secret-two-0123456]}
  rate_limits: [{name: each, rate: 1/h, burst: 1, by: client}]
",
        )
        .start()
        .await;
    for (client, secret) in [("one", "secret-one-0123456"), ("two", "secret-two-0123456")] {
        let request = || ClientRequest::post("/", "").headers(sign_hmac_as(client, secret, b""));
        assert_eq!(proxy.send(request()).await.status, 200, "{client}");
        assert_limited(&proxy.send(request()).await, "each");
    }
    // Unverified requests do not consume a limit.
    for _ in 0..5 {
        let forged = ClientRequest::post("/", "").headers(sign_hmac_as("one", "wrong", b""));
        assert_eq!(proxy.send(forged).await.status, 401);
    }
    assert_eq!(backend.requests().len(), 2);
}

#[tokio::test]
async fn address_limits_apply_before_the_body_is_read() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "- {name: all, path: /*, backend: assistant, \
             signature: {scheme: hmac, secrets: [secret-0123456789]}, \
             rate_limits: [{name: flood, rate: 1/h, burst: 1, by: address}]}",
        )
        .start()
        .await;
    let unsigned = ClientRequest::post("/", "x");
    assert_eq!(
        proxy.send(unsigned).await.status,
        401,
        "the first is admitted"
    );
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.status, 429, "{}", backend_response.text());
    // Another address, as reported by a trusted proxy, has its own limit.
    let request = ClientRequest::post("/", "x")
        .headers(sign_hmac_now("secret-0123456789", b"x"))
        .header("x-forwarded-for", "203.0.113.7");
    assert_eq!(proxy.send(request).await.status, 200);
}

#[tokio::test]
async fn the_first_exceeded_limit_answers() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "
- name: all
  path: /*
  backend: assistant
  rate_limits:
    - {name: tenant, rate: 1/h, burst: 2, by: \"header:X-Tenant\"}
    - {name: total, rate: 1/h, burst: 3, by: route}
",
        )
        .start()
        .await;
    let request = |tenant: &str| ClientRequest::get("/").header("x-tenant", tenant);
    for tenant in ["a", "a"] {
        let client_response = proxy.send(request(tenant)).await;
        assert_eq!(client_response.status, 200);
        let policy = client_response
            .header("ratelimit-policy")
            .expect("policies");
        assert_eq!(parameter(policy, "tenant", "q"), Some(2));
        assert_eq!(parameter(policy, "total", "q"), Some(3));
    }
    assert_limited(&proxy.send(request("a")).await, "tenant");
    assert_eq!(proxy.send(request("b")).await.status, 200);
    assert_limited(&proxy.send(request("b")).await, "total");
    assert_limited(&proxy.send(request("c")).await, "total");
}

#[tokio::test]
async fn a_platform_limit_covers_all_its_clients() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "
- name: keys
  path: /*
  backend: assistant
  signature:
    scheme: bearer
    clients:
      - {name: one, secrets: [sk-one-0123456789]}
      - {name: two, secrets: [sk-two-0123456789]}
  rate_limits: [{name: platform, rate: 1/h, burst: 1, by: platform}]
",
        )
        .start()
        .await;
    let request = |key: &str| ClientRequest::get("/").headers(bearer(key));
    assert_eq!(proxy.send(request("sk-one-0123456789")).await.status, 200);
    assert_limited(&proxy.send(request("sk-two-0123456789")).await, "platform");
}

#[tokio::test]
async fn requests_over_the_concurrency_limit_are_over_capacity() {
    let backend = Backend::manual().await;
    let proxy = Setup::new(&backend)
        .routes("- {name: all, path: /*, backend: assistant, concurrency: 2}")
        .start()
        .await;
    let address = proxy.address();
    let held: Vec<_> = (0..2)
        .map(|_| {
            tokio::spawn(weir_tests::client::send(
                address,
                ClientRequest::chat("wait"),
            ))
        })
        .collect();
    let mut calls = vec![backend.next_request().await, backend.next_request().await];
    let client_response = proxy.send(ClientRequest::chat("one more")).await;
    assert_eq!(client_response.status, 503);
    assert_eq!(client_response.rejection(), "over_capacity");
    assert!(client_response.header("retry-after").is_some());
    assert_eq!(
        proxy.event_of(&client_response).await["error_code"],
        "over_capacity"
    );

    // A response releases its slot, and so does a client that leaves: each of these is admitted into the slot of the one
    // before, and leaves as soon as the backend has its request.
    calls
        .remove(0)
        .respond(weir_tests::backend::BackendResponse::chat("done"))
        .await;
    let leavers = weir_tests::wait::within("a free place", weir_tests::wait::PATIENCE, async {
        let mut left = Vec::new();
        while left.len() < 3 {
            let mut client = Client::h1(address).await;
            let sending = client.try_open(ClientRequest::chat("next"));
            tokio::select! {
                call = backend.next_request() => left.push(call),
                _ = sending => weir_tests::wait::tick().await,
            }
        }
        left
    });
    drop(leavers.await);
    for call in calls {
        call.respond(weir_tests::backend::BackendResponse::chat("done"))
            .await;
    }
    for held in held {
        assert_eq!(held.await.expect("a response").status, 200);
    }
}

/// The limit and the remaining quota in `RateLimit`.
fn quota(client_response: &ClientResponse) -> (String, Option<u64>) {
    let value = client_response.header("ratelimit").expect("RateLimit");
    let name = value.split(['"', ';']).nth(1).unwrap_or_default();
    (name.to_owned(), parameter(value, name, "r"))
}

#[tokio::test]
async fn the_most_restrictive_limit_is_reported_from_any_stage() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "
- name: near
  path: /near
  backend: assistant
  rate_limits:
    - {name: address, rate: 1/h, burst: 3, by: address}
    - {name: total, rate: 1/h, burst: 100, by: route}
- name: far
  path: /far
  backend: assistant
  rate_limits:
    - {name: address, rate: 1/h, burst: 100, by: address}
    - {name: total, rate: 1/h, burst: 3, by: route}
",
        )
        .start()
        .await;
    for (path, name) in [("/near", "address"), ("/far", "total")] {
        for (request, left) in [
            (ClientRequest::post(path, "x"), 2),
            (ClientRequest::chunked(path, b"xyz", 1), 1),
            (ClientRequest::get(path), 0),
        ] {
            let client_response = proxy.send(request).await;
            assert_eq!(client_response.status, 200);
            assert_eq!(
                quota(&client_response),
                (name.to_owned(), Some(left)),
                "{path}"
            );
        }
        let client_response = proxy.send(ClientRequest::get(path)).await;
        assert_eq!(client_response.status, 429, "{path}");
        assert_eq!(
            quota(&client_response),
            (name.to_owned(), Some(0)),
            "{path}"
        );
    }
}
