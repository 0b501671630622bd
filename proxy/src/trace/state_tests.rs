//! The specification's cases for `tracestate`.

use super::*;

const STATE_PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-00";

/// The `tracestate` lines of a request, and the expected outgoing one.
type Row<'a> = (&'a [&'a str], Option<&'a str>);

const STATES: &[(&str, &[Row<'static>])] = &[
    (
        "tracestate_included_traceparent_included",
        &[(&["foo=1,bar=2"], Some("foo=1,bar=2"))],
    ),
    (
        "tracestate_empty_header",
        &[
            (&[""], None),
            (&["foo=1", ""], Some("foo=1")),
            (&["", "foo=1"], Some("foo=1")),
        ],
    ),
    (
        "tracestate_multiple_headers_different_keys",
        &[(
            &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
            Some("foo=1,bar=2,rojo=1,congo=2,baz=3"),
        )],
    ),
    (
        "tracestate_duplicated_keys",
        &[
            (&["foo=1,foo=1"], Some("foo=1")),
            (&["foo=1,foo=2"], Some("foo=1")),
            (&["foo=1", "foo=1"], Some("foo=1")),
            (&["foo=1", "foo=2"], Some("foo=1")),
        ],
    ),
    (
        "tracestate_ows_handling",
        &[
            (
                &["foo=1 \t , \t bar=2, \t baz=3"],
                Some("foo=1,bar=2,baz=3"),
            ),
            (
                &["foo=1\t \t,\t \tbar=2,\t \tbaz=3"],
                Some("foo=1,bar=2,baz=3"),
            ),
            (&[" foo=1"], Some("foo=1")),
            (&["\tfoo=1"], Some("foo=1")),
            (&["foo=1 "], Some("foo=1")),
            (&["foo=1\t"], Some("foo=1")),
            (&["\t foo=1 \t"], Some("foo=1")),
        ],
    ),
    (
        "tracestate_key_illegal_characters",
        &[
            (&["foo =1"], None),
            (&["FOO=1"], None),
            (&["foo.bar=1"], None),
        ],
    ),
    (
        "tracestate_key_illegal_vendor_format",
        &[
            (&["foo@=1,bar=2"], Some("foo@=1,bar=2")),
            (&["@foo=1,bar=2"], None),
            (&["foo@@bar=1,bar=2"], Some("foo@@bar=1,bar=2")),
            (&["foo@bar@baz=1,bar=2"], Some("foo@bar@baz=1,bar=2")),
        ],
    ),
    (
        "tracestate_value_illegal_characters",
        &[(&["foo=bar=baz"], None), (&["foo=,bar=3"], None)],
    ),
];

pub(super) fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = STATES
        .iter()
        .map(|(name, rows)| states(name, rows))
        .collect();
    let parent = ("traceparent", STATE_PARENT);
    cases.extend([
        named(
            "tracestate_included_traceparent_missing",
            &[&[("tracestate", "foo=1")], &[("tracestate", "foo=1,bar=2")]],
            Restarts,
            None,
        ),
        named(
            "tracestate_header_name",
            &[
                &[parent, ("trace-state", "foo=1")],
                &[parent, ("trace.state", "foo=1")],
            ],
            Continues,
            None,
        ),
        named(
            "tracestate_header_name_valid_casing",
            &[
                &[parent, ("TraceState", "foo=1")],
                &[parent, ("TrAcEsTaTe", "foo=1")],
                &[parent, ("TRACESTATE", "foo=1")],
            ],
            Continues,
            Some("foo=1"),
        ),
        all_allowed_characters(),
        member_count_limit(),
        key_length_limit(),
    ]);
    cases
}

fn states(name: &'static str, rows: &[Row<'_>]) -> Case {
    let requests = rows.iter().map(|(lines, expected)| {
        let mut headers = vec![("traceparent", STATE_PARENT)];
        headers.extend(lines.iter().map(|line| ("tracestate", *line)));
        request(&headers, Continues, *expected)
    });
    (name, requests.collect())
}

fn all_allowed_characters() -> Case {
    let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
    let value: String = (' '..='~')
        .filter(|letter| !",=".contains(*letter))
        .collect();
    let plain = format!("{key}={value}");
    let tenant = format!("{key}@a-z0-9_-*/={value}");
    states(
        "tracestate_all_allowed_characters",
        &[(&[&plain], Some(&plain)), (&[&tenant], Some(&tenant))],
    )
}

fn member_count_limit() -> Case {
    let members = |range: std::ops::RangeInclusive<u8>| {
        let members: Vec<_> = range.map(|n| format!("bar{n:02}={n:02}")).collect();
        members.join(",")
    };
    let lines = [
        members(1..=10),
        members(11..=20),
        members(21..=30),
        members(31..=32),
        members(31..=33),
    ];
    let [a, b, c, two, three] = lines.each_ref().map(String::as_str);
    states(
        "tracestate_member_count_limit",
        &[
            (&[a, b, c, two], Some(&members(1..=32))),
            (&[a, b, c, three], None),
        ],
    )
}

fn key_length_limit() -> Case {
    let keys = [
        "z".repeat(256),
        format!("{}@{}", "t".repeat(241), "v".repeat(14)),
        format!("{}@v", "t".repeat(242)),
        format!("t@{}", "v".repeat(15)),
    ];
    let mut requests = states("", &[(&["foo=1", &format!("{}=1", "z".repeat(257))], None)]).1;
    for key in keys {
        let expected = format!("foo=1,{key}=1");
        requests.extend(states("", &[(&["foo=1", &format!("{key}=1")], Some(&expected))]).1);
    }
    ("tracestate_key_length_limit", requests)
}
