//! Cases that the specification's test suite does not cover: flags, identifiers, limits and baggage.

use super::*;

#[test]
fn flags_and_identifiers_follow_the_rules() {
    let mut random = counting();
    for (flags, expected) in [
        ("00", 0),
        ("01", 1),
        ("02", 2),
        ("03", 3),
        ("ff", 3),
        ("fc", 0),
    ] {
        let text = format!("00-{TRACE}-1234567890123456-{flags}");
        let headers = header_map(&[("traceparent".to_owned(), text)]);
        let context = TraceContext::from_headers(&headers, &mut random);
        assert_eq!(context.flags, expected, "{flags}");
        assert_eq!(
            context.parent_id,
            Some([0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56])
        );
    }
    for bad in [
        "00-1234567890123456789012345678901A-1234567890123456-01",
        "00-12345678901234567890123456789012-123456789012345A-01",
        "0A-12345678901234567890123456789012-1234567890123456-01",
        "01-12345678901234567890123456789012-1234567890123456-0A",
        "",
        "00",
        "00-12345678901234567890123456789012-1234567890123456\u{7f}01",
    ] {
        assert!(TraceParent::parse(bad.as_bytes()).is_none(), "{bad}");
    }
    let new = TraceContext::from_headers(&HeaderMap::new(), &mut random);
    assert_eq!((new.flags, new.parent_id), (FLAG_RANDOM, None));
    let zeroes = TraceContext::from_headers(&HeaderMap::new(), &mut |bytes| bytes.fill(0));
    assert!(TraceParent::parse(&zeroes.traceparent(&zeroes.span_id)).is_some());
}

#[test]
fn a_malformed_tracestate_does_not_end_the_trace() {
    let long_value = format!("a={}", "v".repeat(256));
    let too_long = format!("{long_value}v");
    for (lines, expected) in [
        (vec!["foo"], None),
        (vec!["=1"], None),
        (vec!["foo=1,,, ,bar=2"], Some("foo=1,bar=2")),
        (vec![","], None),
        (vec!["foo=  1"], Some("foo=  1")),
        (vec!["foo=a\tb"], None),
        (vec!["foo=ü"], None),
        (vec!["fo=1,foo=2"], Some("fo=1,foo=2")),
        (vec![&long_value], Some(long_value.as_str())),
        (vec![&too_long], None),
        (vec!["foo=1", "BAR=1"], None),
    ] {
        let mut headers = header_map(&[("traceparent".to_owned(), PARENT.to_owned())]);
        for line in &lines {
            headers.append(
                "tracestate",
                HeaderValue::from_bytes(line.as_bytes()).expect("a value"),
            );
        }
        let context = TraceContext::from_headers(&headers, &mut counting());
        assert!(context.parent_id.is_some(), "{lines:?}");
        let sent = context
            .tracestate
            .as_ref()
            .map(|value| value.to_str().expect("ASCII"));
        assert_eq!(sent, expected, "{lines:?}");
    }
}

#[test]
fn baggage_is_independent_and_bounded() {
    let members = |count: usize| {
        (0..count)
            .map(|n| format!("k{n}=v"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let full = format!("k={}", "v".repeat(8190));
    for (lines, expected) in [
        (vec![], None),
        (vec![String::new()], None),
        (
            vec!["a=1;p=2,b=%20".to_owned()],
            Some("a=1;p=2,b=%20".to_owned()),
        ),
        (
            vec!["a=1".to_owned(), " b=2 ".to_owned()],
            Some("a=1,b=2".to_owned()),
        ),
        (vec![members(64)], Some(members(64))),
        (vec![members(65)], None),
        (vec![full.clone()], Some(full.clone())),
        (vec![format!("{full}v")], None),
        (vec![full, "b=2".to_owned()], None),
        (vec!["a=ü".to_owned()], None),
    ] {
        let named = lines
            .iter()
            .map(|line| ("baggage".to_owned(), line.clone()))
            .collect::<Vec<_>>();
        let mut headers = header_map(&named);
        let context = TraceContext::from_headers(&headers, &mut counting());
        context.write_to(&mut headers, &context.span_id);
        let sent: Vec<_> = headers
            .get_all("baggage")
            .iter()
            .map(|value| value.to_str().expect("ASCII").to_owned())
            .collect();
        assert_eq!(sent, expected.into_iter().collect::<Vec<_>>(), "{lines:?}");
    }
}
