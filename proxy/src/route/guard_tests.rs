use super::*;
use crate::route::tests::pattern;

const OUTSIDE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const INSIDE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

/// `"PATH [METHOD] [open | signed | keyed | inside | limited]"`
fn route(text: &str) -> Config {
    let mut words = text.split(' ');
    let mut config = Config {
        path: pattern(words.next().expect("a path")),
        methods: Vec::new(),
        allow: Vec::new(),
    };
    for word in words {
        match word {
            "open" | "signed" | "keyed" | "limited" => {}
            "inside" => config.allow.push("10.0.0.0/8".parse().expect("a network")),
            method => config.methods.push(method.parse().expect("a method")),
        }
    }
    config
}

/// A signature over the body is stricter than an API key, and a key than nothing.
fn signature(route: &str) -> u8 {
    match (route.contains("keyed"), route.contains("signed")) {
        (true, _) => 1,
        (false, true) => 2,
        (false, false) => 0,
    }
}

fn table(routes: &[&str]) -> Table {
    let signatures: Vec<u8> = routes.iter().map(|route| signature(route)).collect();
    let signatures: Vec<&u8> = signatures.iter().collect();
    let limited = routes.iter().map(|route| route.contains("limited"));
    let requirements = Requirements::compare(&signatures, limited.collect(), |a, b| a > b);
    Table::new(
        routes.iter().map(|text| route(text)).collect(),
        requirements,
    )
}

/// Which route decides: `=` the one that the path itself matches, else its text, or `405`.
fn decides(routes: &[&str], method: &str, path: &str, from: IpAddr) -> String {
    let table = table(routes);
    let method = method.parse().expect("a method");
    let RouteMatch::Route(found) = table.find(&method, path) else {
        panic!("{path} has a route of its own");
    };
    match table.guard(&method, path, found, from) {
        Guarded::Not => "=".to_owned(),
        Guarded::By(position) => routes[position].to_owned(),
        Guarded::MethodNotAllowed(allow) => format!("405 {allow}"),
    }
}

const CHAT: &str = "/v1/chat/completions POST signed";
const REST: &str = "/* open";

#[test]
fn a_protected_route_decides_on_its_look_alikes() {
    for path in [
        "/v1/chat%2Fcompletions",
        "/v1/chat/completions/",
        "/V1/chat/completions",
        "/v1/chat/completions;x",
        "/v1/chat/completions%3Fx",
        "/v1/chat/completions%20",
        "/v1/x/%252e%252e/chat/completions",
        "/v1/chat/completions%3Fx/%252e%252e/%252e%252e/y",
    ] {
        assert_eq!(
            decides(&[CHAT, REST], "POST", path, OUTSIDE),
            CHAT,
            "{path}"
        );
        let other = decides(&[CHAT, REST], "GET", path, OUTSIDE);
        assert_eq!(other, "405 POST", "{path}");
    }
    for path in [
        "/v1/chat/completions/x",
        "/v1/Chat",
        "/v1/chat%2Fcompletions2",
        "/",
        "/%2F",
    ] {
        assert_eq!(decides(&[CHAT, REST], "POST", path, OUTSIDE), "=", "{path}");
    }
}

#[test]
fn the_first_route_of_the_folded_form_decides() {
    for (routes, method, path, expected) in [
        // Open by name, and so is what looks like it.
        (&["/health open", "/* signed"][..], "GET", "/health", "="),
        (&["/Health open", "/* signed"], "GET", "/Health", "="),
        (&["/docs/* open", "/* signed"], "GET", "/docs/", "="),
        (&["/docs/* open", "/* signed"], "GET", "/docs/A%2Fb", "="),
        // Out of what is open, by two readings.
        (
            &["/docs/* open", "/* signed"],
            "GET",
            "/docs/%252e%252e/admin",
            "/* signed",
        ),
        (
            &["/admin/* open", "/admin signed", "/* open"],
            "GET",
            "/admin/",
            "/admin signed",
        ),
        // A stricter pattern that is not its own folded form guards all the same.
        (&["/Admin/ signed", REST], "GET", "/admin", "/Admin/ signed"),
        (
            &["/admin/* signed", REST],
            "GET",
            "/admin",
            "/admin/* signed",
        ),
        // A path with an escape can be its own folded form, too.
        (&["/a%/* signed", REST], "GET", "/a%", "/a%/* signed"),
        // Unless a route names the path.
        (
            &["/admin/* signed", "/admin open", REST],
            "GET",
            "/admin",
            "=",
        ),
        (
            &["/admin open", "/admin/* signed", REST],
            "GET",
            "/admin",
            "=",
        ),
        (&["/admin/* signed", REST], "GET", "/administrator", "="),
        (&["/Admin/ signed", REST], "GET", "/ADMIN", "/Admin/ signed"),
        (
            &["/admin/* signed", REST],
            "GET",
            "/Admin/",
            "/admin/* signed",
        ),
        (
            &["/admin/* signed", REST],
            "GET",
            "/ADMIN",
            "/admin/* signed",
        ),
        (&["/admin/* signed", REST], "GET", "/Administrator", "="),
        (
            &["/v1/cha* signed", REST],
            "GET",
            "/v1/CHAt",
            "/v1/cha* signed",
        ),
        // Only routes with equal paths are distinguished by method.
        (
            &["/a GET open", "/a POST signed", REST],
            "POST",
            "/A",
            "/a POST signed",
        ),
        (&["/a GET open", "/a POST signed", REST], "GET", "/A", "="),
        (
            &["/a GET open", "/a POST signed", REST],
            "PUT",
            "/A",
            "405 GET, POST",
        ),
        (&["/a GET open", REST], "PUT", "/A", "="),
    ] {
        assert_eq!(
            decides(routes, method, path, OUTSIDE),
            expected,
            "{routes:?} {method} {path}"
        );
    }
}

#[test]
fn a_route_is_stricter_if_it_rejects_what_the_other_admits() {
    for (narrow, wide, from, guarded) in [
        ("/a signed", "/* keyed", OUTSIDE, true),
        ("/a keyed", "/* signed", OUTSIDE, false),
        ("/a signed", "/* signed", OUTSIDE, false),
        ("/a signed", "/* signed keyed", OUTSIDE, true),
        ("/a inside", "/* open", OUTSIDE, true),
        ("/a inside", "/* open", INSIDE, false),
        ("/a inside", "/* signed", OUTSIDE, true),
        ("/a inside", "/* signed", INSIDE, false),
        ("/a keyed", "/* inside", INSIDE, true),
        ("/a limited", "/* open", OUTSIDE, true),
        ("/a limited", "/* limited", OUTSIDE, false),
        ("/a limited", "/* signed", OUTSIDE, false),
        ("/a signed", "/* limited", OUTSIDE, true),
        ("/a open", "/* open", OUTSIDE, false),
    ] {
        let expected = if guarded { narrow } else { "=" };
        let decided = decides(&[narrow, wide], "GET", "/A", from);
        assert_eq!(decided, expected, "{narrow} before {wide}, from {from}");
    }
}
