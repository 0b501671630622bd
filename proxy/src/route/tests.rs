use super::*;

fn route(path: &str, methods: &[&str]) -> Arc<Config> {
    Arc::new(Config {
        name: Arc::from(path),
        path: PathPattern::parse(path).expect("a pattern"),
        methods: methods
            .iter()
            .map(|method| method.parse().expect("a method"))
            .collect(),
        backend: 0,
        platform: Arc::from("api"),
        allow: Vec::new(),
        signature: Vec::new(),
        rate_limits: Vec::new(),
        concurrency: None,
        cache: None,
        body_bytes: 1,
        body_timeout: Duration::from_secs(1),
    })
}

/// A route's path and methods.
type Spelled = (&'static str, &'static [&'static str]);

fn not_allowed(allow: &str) -> Match {
    Match::MethodNotAllowed(allow.to_owned())
}

#[test]
fn the_first_path_decides_and_the_method_only_among_equal_paths() {
    let table = Table::new(vec![
        route("/v1/chat", &["POST"]),
        route("/static/*", &["GET", "HEAD"]),
        route("/v1/chat", &["GET", "DELETE"]),
        route("/v1/*", &["GET"]),
        route("/static/private", &[]),
        route("/v1/*", &[]),
        route("/exact", &[]),
    ]);
    for (method, path, expected) in [
        (Method::POST, "/v1/chat", Match::Route(0)),
        (Method::GET, "/v1/chat", Match::Route(2)),
        (Method::PUT, "/v1/chat", not_allowed("DELETE, GET, POST")),
        (Method::HEAD, "/v1/chat", not_allowed("DELETE, GET, POST")),
        (
            Method::OPTIONS,
            "/v1/chat",
            not_allowed("DELETE, GET, POST"),
        ),
        (Method::GET, "/v1/chats", Match::Route(3)),
        (Method::PUT, "/v1/chat/", Match::Route(5)),
        (Method::GET, "/static/", Match::Route(1)),
        (Method::HEAD, "/static/a/b", Match::Route(1)),
        (Method::POST, "/static/private", not_allowed("GET, HEAD")),
        (Method::GET, "/static", Match::NoRoute),
        (Method::GET, "/statics", Match::NoRoute),
        (Method::GET, "/", Match::NoRoute),
        (Method::GET, "/v1", Match::NoRoute),
        (Method::GET, "/exact/", Match::NoRoute),
        (Method::PATCH, "/exact", Match::Route(6)),
    ] {
        assert_eq!(table.find(&method, path), expected, "{method} {path}");
    }
    assert_eq!(table.get(2).map(|route| route.methods.len()), Some(2));
    assert!(table.get(7).is_none());
}

#[test]
fn no_routes_match_nothing_and_everything_is_a_prefix_of_the_root() {
    assert_eq!(
        Table::new(Vec::new()).find(&Method::GET, "/"),
        Match::NoRoute
    );
    let table = Table::new(vec![route("/*", &[])]);
    for path in ["/", "/a", "/a/b/"] {
        assert_eq!(table.find(&Method::GET, path), Match::Route(0), "{path}");
    }
}

#[test]
fn patterns_are_canonical_or_refused() {
    let exact = |path: &str| Ok(PathPattern::Exact(path.to_owned()));
    let prefix = |path: &str| Ok(PathPattern::Prefix(path.to_owned()));
    for (text, expected) in [
        ("/a", exact("/a")),
        ("/a//b/../%63", exact("/a/c")),
        ("/*", prefix("/")),
        ("/a/*", prefix("/a/")),
        ("/a*", prefix("/a")),
        ("/a/.*", prefix("/a/.")),
        ("/a/../b/*", prefix("/b/")),
        ("/é*", Err(BadPattern::Path(path::BadPath::NonAscii))),
        ("/a/*/b", Err(BadPattern::StarInside)),
        ("/a/**", Err(BadPattern::StarInside)),
        ("*", Err(BadPattern::Path(path::BadPath::NotAbsolute))),
        ("", Err(BadPattern::Path(path::BadPath::NotAbsolute))),
        ("/%2*", Err(BadPattern::Path(path::BadPath::InvalidEscape))),
        ("/../*", Err(BadPattern::Path(path::BadPath::AboveRoot))),
    ] {
        assert_eq!(PathPattern::parse(text), expected, "{text}");
        if let Ok(pattern) = PathPattern::parse(text) {
            assert_eq!(
                PathPattern::parse(&pattern.to_string()),
                Ok(pattern),
                "{text}"
            );
        }
    }
}

#[test]
fn routes_nobody_can_reach_are_found() {
    let cases: [(&[Spelled], &[usize]); 8] = [
        (&[], &[]),
        (&[("/a", &[]), ("/a/*", &[]), ("/*", &[])], &[]),
        (
            &[("/*", &["GET"]), ("/a", &["POST"]), ("/b/*", &[])],
            &[1, 2],
        ),
        (&[("/a", &[]), ("/a", &["GET"]), ("/a", &[])], &[1, 2]),
        (
            &[
                ("/a", &["GET"]),
                ("/a", &["GET", "POST"]),
                ("/a", &["POST", "GET"]),
            ],
            &[2],
        ),
        (&[("/a", &["GET"]), ("/a", &[])], &[]),
        // The second /a counts from where the first stands, before the wider route.
        (&[("/a", &["GET"]), ("/*", &[]), ("/a", &["POST"])], &[]),
        (&[("/a/*", &[]), ("/a/b*", &[]), ("/a", &[])], &[1]),
    ];
    for (routes, expected) in cases {
        let built: Vec<_> = routes
            .iter()
            .map(|(path, methods)| route(path, methods))
            .collect();
        assert_eq!(unreachable(&built), expected, "{routes:?}");
    }
}
