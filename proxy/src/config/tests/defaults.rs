//! deploy/examples/full.yaml, and the same configuration without its defaults.

use super::*;

/// The example without the keys that have their default.
const TERSE: &str = r#"
redis: {url: redis://127.0.0.1:6379/0}
backends:
  - name: assistant
    endpoints: [http://127.0.0.1:8000]
    health_check: {}
    fallback: cloud
  - name: cloud
    endpoints: [https://api.example.com]
    path_prefix: /openai
    model_map: {glm-4: gpt-4o-mini}
routes:
  - name: chat
    path: /v1/chat/completions
    methods: [POST]
    backend: assistant
    allow: ["0.0.0.0/0", "::/0"]
    signature: {scheme: hmac, clients: [{name: web, secrets: [change-me]}]}
    rate_limits:
      - {name: per-client, rate: 20/s, burst: 40}
      - {name: everyone, rate: 50/s, burst: 100, by: route}
    concurrency: 256
    cache: {}
  - {name: feishu, path: /hooks/feishu, backend: assistant, signature: {scheme: feishu, secrets: [change-me]}}
  - {name: static, path: /static/*, methods: [GET, HEAD], backend: assistant, cache: {http: true}}
  - {name: everything-else, path: /*, backend: assistant, signature: {scheme: bearer, clients: [{name: web, secrets: [change-me]}]}}
events: {file: {}, audit: {}, elasticsearch: {urls: [http://127.0.0.1:9200]}}
traces: {otlp: 'http://127.0.0.1:4318'}
alerts: {alertmanager: {urls: [http://127.0.0.1:9093]}}
"#;

#[test]
fn the_full_example_is_valid() {
    let config = valid(FULL).config;
    assert_eq!(config.backends.len(), 2);
    assert_eq!(config.routes.len(), 4);
}

#[test]
fn an_omitted_default_equals_a_written_one() {
    let (full, terse) = (valid(FULL).config, valid(TERSE).config);
    assert_eq!(format!("{full:#?}"), format!("{terse:#?}"));
    for (full, terse) in full.routes.iter().zip(&terse.routes) {
        assert_eq!(full.signature, terse.signature);
    }
}

#[test]
fn values_of_the_full_example_are_loaded() {
    let config = valid(FULL).config;
    assert_eq!(config.listen[0].address.to_string(), "0.0.0.0:8080");
    assert!(config.listen[0].tls.is_none());
    assert_eq!(config.limits.header_bytes, 32 * 1024);
    assert_eq!(config.limits.header_timeout, Duration::from_secs(10));
    assert_eq!(config.limits.buffered_bytes, 256 << 20);
    assert_eq!(config.limits.connections, 10_000);
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(60));
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:8081");
    assert!(config.admin.token.is_none());
    assert_eq!(config.drain, Duration::from_secs(30));
    let file = config.events.file.unwrap();
    assert_eq!(file.path, Path::new("data/events.ndjson"));
    assert_eq!(file.rotate_at_bytes, 100 << 20);
    assert_eq!(file.keep, Duration::from_secs(30 * 24 * 3600));
    assert!(!config.events.stdout);
    assert_eq!(config.events.environment, "production");

    let assistant = &config.backends[0];
    assert_eq!(&*assistant.endpoints[0].text, "http://127.0.0.1:8000");
    assert_eq!(assistant.endpoints[0].address.port(), Some(8000));
    assert_eq!(assistant.connect_timeout, Duration::from_secs(1));
    assert_eq!(assistant.first_byte_timeout, Duration::from_secs(60));
    assert_eq!(assistant.idle_timeout, Duration::from_secs(30));
    assert_eq!(assistant.total_timeout, Duration::from_secs(300));
    assert_eq!(assistant.pool_idle_connections, 128);
    assert_eq!(assistant.pool_idle_timeout, Duration::from_secs(50));
    assert!(assistant.request_headers.is_empty(), "API_KEY is not set");
    assert!(!assistant.ask_usage, "it changes what the backend gets");
    assert_eq!(
        assistant.retry,
        crate::backend::retry::RetryConfig::default()
    );
    assert_eq!(
        assistant.breaker,
        crate::backend::breaker::BreakerConfig::default()
    );
    let cloud = &config.backends[1];
    assert_eq!(cloud.path_prefix, "/openai");
    assert_eq!(cloud.model_map, [("glm-4".into(), "gpt-4o-mini".into())]);
}

#[test]
fn routes_of_the_full_example_are_loaded() {
    let config = valid(FULL).config;
    let chat = &config.routes[0];
    assert_eq!(
        chat.matching.path,
        crate::route::PathPattern::Exact("/v1/chat/completions".to_owned())
    );
    assert_eq!(chat.matching.methods, [::http::Method::POST]);
    assert_eq!((chat.backend, &*chat.platform), (0, "api"));
    assert_eq!(chat.body_bytes, 10 << 20);
    assert_eq!(chat.body_timeout, Duration::from_secs(30));
    assert_eq!(chat.concurrency, Some(256));
    assert_eq!(chat.matching.allow.len(), 2);
    let cache = chat.cache.as_ref().unwrap();
    assert_eq!(
        (cache.memory_bytes, cache.ttl),
        (100 << 20, Duration::from_secs(3600))
    );
    assert_eq!(cache.scope, crate::cache::Scope::Client);
    assert!(cache.ignore_headers.is_empty() && cache.ignore.is_empty());
    assert_eq!(cache.unless, crate::cache::unless::Unless::default());
    assert_eq!(cache.coalescing, crate::cache::Coalescing::Enabled);
    let names: Vec<&str> = chat.rate_limits.iter().map(|limit| &*limit.name).collect();
    assert_eq!(
        names,
        ["per-client", "everyone"],
        "the limit on tokens is not built yet"
    );
    assert_eq!(
        (chat.rate_limits[0].rate, chat.rate_limits[0].burst),
        (20, 40)
    );
    assert_eq!(chat.rate_limits[1].by, crate::limit::By::Route);
    let hmac = &chat.signature[0];
    assert_eq!(hmac.scheme(), "hmac");
    assert_eq!(
        (hmac.tolerance().as_secs(), hmac.replay().as_secs()),
        (300, 600)
    );
    assert_eq!(hmac.client_names().collect::<Vec<_>>(), ["web"]);
    let shown = format!("{hmac:?}");
    let parts = r#"x-weir-key x-weir-timestamp x-weir-id x-weir-signature \"v1=\" \"{timestamp}.{id}.{body}\" sha256 raw hex"#;
    assert!(shown.contains(parts), "{shown}");

    let feishu = &config.routes[1];
    assert_eq!(&*feishu.platform, "feishu");
    assert_eq!(feishu.signature[0].tolerance().as_secs(), 8 * 3600);
    assert_eq!(feishu.signature[0].replay().as_secs(), 8 * 3600);
    assert_eq!(
        config.routes[2].matching.path,
        crate::route::PathPattern::Prefix("/static/".to_owned())
    );
    assert!(config.routes[2].cache.is_none());
    let http_cache = config.routes[2].http_cache.unwrap();
    assert_eq!(http_cache.memory_bytes, 100 << 20);
    assert_eq!(
        http_cache.scope,
        crate::cache::Scope::Route,
        "the route is open"
    );
    assert_eq!(
        config.routes[3].matching.path,
        crate::route::PathPattern::Prefix("/".to_owned())
    );
}

#[test]
fn the_address_of_an_endpoint_is_read_in_any_spelling() {
    let text = "backends: [{name: a, endpoints: ['HTTP://A.Test', 'H2C://[::1]:81', 'https://a/', 'unix:/run/A.sock', 'UNIX:///run/b.sock']}]\n\
                routes: [{name: r, path: /, backend: a}]\n";
    let config = valid(text).config;
    let endpoints = config.backends[0].endpoints.iter();
    let endpoints = endpoints.map(|endpoint| (&*endpoint.text, endpoint.address.port()));
    assert_eq!(
        endpoints.collect::<Vec<_>>(),
        [
            ("http://a.test", Some(80)),
            ("h2c://[::1]:81", Some(81)),
            ("https://a", Some(443)),
            ("unix:/run/A.sock", None),
            ("unix:/run/b.sock", None),
        ]
    );
}

/// Every key that the example only names in comments.
#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn keys_named_in_comments_are_read() {
    let config = valid(r#"
listen: [{address: "127.0.0.1:0"}, {address: "127.0.0.1:0"}]
limits: {body_bytes: 1MiB, body_timeout: 5s}
admin: {address: 0.0.0.0:0, token: 12345678}
backends: [{name: a, endpoints: ["http://[::1]:8000/", "HTTP://Example.COM"], load_balancing: least_request}]
routes:
  - name: own
    path: /own
    backend: a
    body_bytes: 0B
    body_timeout: 1m
    rate_limits: [{name: slow, rate: 90/min, by: "header:X-Tenant"}, {name: fast, rate: 7200/h, burst: 3, by: address}]
    cache: {scope: route, ttl: 5m, ignore: [/user, /a~1b/0], ignore_headers: [X-Session-Id], unless: {temperature_above: 0.5, tools: true}, coalesce: false}
    signature:
      - {scheme: bearer, secrets: [k1, "sha256:0000000000000000000000000000000000000000000000000000000000000abc"]}
      - {scheme: hmac, secrets: [MDE=], key_header: X-K, timestamp_header: X-T, id_header: X-I, signature_header: X-S,
         prefix: "", signed: "{method} {path}?{query}|{timestamp}|{body}", algorithm: sha512, key_encoding: base64,
         signature_encoding: base64, tolerance: 1m, replay: 0s}
      - {scheme: simple_sha256, secrets: [s]}
      - {scheme: feishu, verification_token: t}
  - {name: rest, path: "/rest*", backend: a, platform: custom}
"#).config;
    assert_eq!(config.admin.token, Some("12345678".into()));
    assert_eq!(&*config.backends[0].endpoints[0].text, "http://[::1]:8000");
    assert_eq!(&*config.backends[0].endpoints[1].text, "http://example.com");
    let own = &config.routes[0];
    assert_eq!(
        (own.body_bytes, own.body_timeout),
        (0, Duration::from_secs(60))
    );
    assert_eq!(
        &*own.platform, "feishu",
        "the first platform scheme names it"
    );
    assert_eq!((own.rate_limits[0].rate, own.rate_limits[0].burst), (90, 1));
    assert_eq!(own.rate_limits[0].period, Duration::from_secs(60));
    assert!(matches!(&own.rate_limits[0].by, crate::limit::By::Header(name) if name == "x-tenant"));
    assert_eq!(
        (
            own.rate_limits[1].period.as_secs(),
            own.rate_limits[1].burst
        ),
        (3600, 3)
    );
    let cache = own.cache.as_ref().unwrap();
    assert_eq!(cache.ignore_headers, ["x-session-id"]);
    let tokens = cache
        .ignore
        .iter()
        .map(|pointer| pointer.tokens().collect::<Vec<_>>());
    assert_eq!(tokens.collect::<Vec<_>>(), [vec!["user"], vec!["a/b", "0"]]);
    assert_eq!(cache.unless.temperature_above, Some(0.5));
    assert_eq!(cache.unless.tools, crate::cache::unless::ToolCalls::Bypass);
    assert_eq!(cache.coalescing, crate::cache::Coalescing::Disabled);
    let bearer = &own.signature[0];
    assert_eq!(
        (bearer.tolerance(), bearer.replay()),
        (Duration::ZERO, Duration::ZERO)
    );
    assert_eq!(bearer.client_names().collect::<Vec<_>>(), ["own"]);
    let hmac = &own.signature[1];
    let shown = format!("{hmac:?}");
    let parts = r#"x-k x-t x-i x-s \"\" \"{method} {path}?{query}|{timestamp}|{body}\" sha512 base64 base64"#;
    assert!(shown.contains(parts), "{shown}");
    assert_eq!(hmac.replay(), Duration::ZERO);
    let feishu = &own.signature[3];
    assert!(format!("{feishu:?}").contains("verification token"));
    let rest = &config.routes[1];
    assert_eq!((rest.body_bytes, rest.body_timeout.as_secs()), (1 << 20, 5));
    assert_eq!(
        rest.matching.path,
        crate::route::PathPattern::Prefix("/rest".to_owned())
    );
    assert_eq!(&*rest.platform, "custom");
}
