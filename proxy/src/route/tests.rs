use super::*;

/// `/a/*` as the configuration writes it.
pub(super) fn pattern(text: &str) -> PathPattern {
    match text.strip_suffix('*') {
        Some(prefix) => PathPattern::Prefix(prefix.to_owned()),
        None => PathPattern::Exact(text.to_owned()),
    }
}

fn route(path: &str, methods: &[&str]) -> Config {
    let methods = methods.iter().map(|method| method.parse());
    Config {
        path: pattern(path),
        methods: methods.map(|method| method.expect("a method")).collect(),
        allow: Vec::new(),
    }
}

/// Routes that require nothing.
fn table(routes: Vec<Config>) -> Table {
    let open: Vec<&[()]> = vec![&[]; routes.len()];
    let requirements = Requirements::compare(&open, vec![false; routes.len()], |_, _| false);
    Table::new(routes, requirements)
}

fn not_allowed(allow: &str) -> RouteMatch {
    RouteMatch::MethodNotAllowed(allow.to_owned())
}

#[test]
fn the_first_path_decides_and_the_method_only_among_equal_paths() {
    let table = self::table(vec![
        route("/v1/chat", &["POST"]),
        route("/static/*", &["GET", "HEAD"]),
        route("/v1/chat", &["GET", "DELETE"]),
        route("/v1/*", &["GET"]),
        route("/static/private", &[]),
        route("/v1/*", &[]),
        route("/exact", &[]),
    ]);
    for (method, path, expected) in [
        (Method::POST, "/v1/chat", RouteMatch::Route(0)),
        (Method::GET, "/v1/chat", RouteMatch::Route(2)),
        (Method::PUT, "/v1/chat", not_allowed("DELETE, GET, POST")),
        (Method::HEAD, "/v1/chat", not_allowed("DELETE, GET, POST")),
        (
            Method::OPTIONS,
            "/v1/chat",
            not_allowed("DELETE, GET, POST"),
        ),
        (Method::GET, "/v1/chats", RouteMatch::Route(3)),
        (Method::PUT, "/v1/chat/", RouteMatch::Route(5)),
        (Method::GET, "/static/", RouteMatch::Route(1)),
        (Method::HEAD, "/static/a/b", RouteMatch::Route(1)),
        (Method::POST, "/static/private", not_allowed("GET, HEAD")),
        (Method::GET, "/static", RouteMatch::NoRoute),
        (Method::GET, "/statics", RouteMatch::NoRoute),
        (Method::GET, "/", RouteMatch::NoRoute),
        (Method::GET, "/v1", RouteMatch::NoRoute),
        (Method::GET, "/exact/", RouteMatch::NoRoute),
        (Method::PATCH, "/exact", RouteMatch::Route(6)),
    ] {
        assert_eq!(table.find(&method, path), expected, "{method} {path}");
    }
}

#[test]
fn an_empty_table_matches_nothing_and_a_root_prefix_everything() {
    assert_eq!(
        table(Vec::new()).find(&Method::GET, "/"),
        RouteMatch::NoRoute
    );
    let table = self::table(vec![route("/*", &[])]);
    for path in ["/", "/a", "/a/b/"] {
        assert_eq!(
            table.find(&Method::GET, path),
            RouteMatch::Route(0),
            "{path}"
        );
    }
}
