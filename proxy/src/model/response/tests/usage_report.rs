//! The usage of a call that follows from what its response reports.

use super::cases::{NO_TOKENS, events, tokens};
use super::*;

/// The usage that results from these reports in consecutive events.
fn of_reports(reports: &[&str]) -> [Option<u64>; 5] {
    let data: Vec<String> = reports
        .iter()
        .map(|report| format!(r#"{{"type":"message_delta","usage":{report}}}"#))
        .collect();
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    token_counts(&read(ResponseFormat::Sse, &events(&data)).usage)
}

#[test]
fn counts_are_whole_numbers_in_any_notation() {
    for (written, count) in [
        ("5", Some(5)),
        ("0", Some(0)),
        ("5.0", Some(5)),
        ("5e0", Some(5)),
        ("1.2E+3", Some(1_200)),
        ("\"5\"", Some(5)),
        ("\"5.0\"", Some(5)),
        ("\"\\u0035\"", Some(5)),
        ("9007199254740992", Some(1 << 53)),
        ("9007199254740993", None),
        ("9223372036854775807", None),
        ("18446744073709551615", None),
        ("18446744073709551616", None),
        ("5.5", None),
        ("-5", None),
        ("\"-5\"", None),
        ("1e30", None),
        ("1e999", None),
        ("NaN", None),
        ("05x", None),
        ("", None),
        ("\"\"", None),
        ("\" 5\"", None),
        ("\"five\"", None),
        ("\"inf\"", None),
        ("null", None),
        ("true", None),
        ("[5]", None),
        ("{\"5\":5}", None),
    ] {
        let report = format!(r#"{{"prompt_tokens":{written},"completion_tokens":7}}"#);
        let expected = [count, Some(7), None, None, None];
        assert_eq!(of_reports(&[&report]), expected, "{report}");
        let whole = format!(r#"{{"choices":[{{"finish_reason":"stop"}}],"usage":{report}}}"#);
        assert_eq!(
            token_counts(&read(ResponseFormat::Json, &whole).usage),
            expected,
            "{whole}"
        );
    }
}

#[test]
fn later_reports_replace_earlier_ones_field_by_field() {
    for (reports, expected) in [
        (&["{}"] as &[&str], NO_TOKENS),
        (&["null", "7", "[]"], NO_TOKENS),
        (
            &[
                r#"{"input_tokens":3,"output_tokens":1}"#,
                r#"{"output_tokens":5}"#,
            ],
            tokens(3, 5),
        ),
        (
            &[
                r#"{"input_tokens":3,"output_tokens":9}"#,
                r#"{"input_tokens":2,"output_tokens":5}"#,
            ],
            tokens(2, 5),
        ),
        (
            &[
                r#"{"input_tokens":3,"output_tokens":5}"#,
                r#"{"input_tokens":0,"output_tokens":null}"#,
            ],
            tokens(3, 5),
        ),
        (&[r#"{"input_tokens":0,"output_tokens":0}"#], tokens(0, 0)),
        (
            &[r#"{"prompt_tokens":3}"#],
            [Some(3), None, None, None, None],
        ),
        (
            &[r#"{"output_tokens":3}"#],
            [None, Some(3), None, None, None],
        ),
        // A missing count is not derived, even where it could be.
        (
            &[r#"{"prompt_tokens":3,"total_tokens":8}"#],
            [Some(3), None, None, None, None],
        ),
        (
            &[r#"{"completion_tokens":3,"total_tokens":8}"#],
            [None, Some(3), None, None, None],
        ),
    ] {
        assert_eq!(of_reports(reports), expected, "{reports:?}");
    }
}

#[test]
fn cached_tokens_are_added_to_an_input_without_them() {
    let cached = |input, read, creation| [Some(input), Some(1), read, creation, None];
    for (reports, expected) in [
        // Anthropic reports them besides the input.
        (
            &[
                r#"{"input_tokens":4,"cache_read_input_tokens":90,"cache_creation_input_tokens":6,"output_tokens":1}"#,
            ] as &[&str],
            cached(100, Some(90), Some(6)),
        ),
        (
            &[
                r#"{"input_tokens":4,"cache_read_input_tokens":90,"cache_creation_input_tokens":6,"output_tokens":1}"#,
                r#"{"input_tokens":4,"output_tokens":1}"#,
            ],
            cached(100, Some(90), Some(6)),
        ),
        (
            &[
                r#"{"input_tokens":2,"cache_read_input_tokens":0,"cache_creation_input_tokens":30,"output_tokens":1}"#,
                r#"{"input_tokens":6,"cache_read_input_tokens":50,"cache_creation_input_tokens":40,"output_tokens":1}"#,
            ],
            cached(96, Some(50), Some(40)),
        ),
        (
            &[r#"{"input_tokens":0,"cache_read_input_tokens":90,"output_tokens":1}"#],
            cached(90, Some(90), None),
        ),
    ] {
        assert_eq!(of_reports(reports), expected, "{reports:?}");
    }
}

#[test]
fn cached_tokens_are_not_added_to_an_input_that_includes_them() {
    let cached = |input, read, creation| [Some(input), Some(1), read, creation, None];
    for (reports, expected) in [
        // First the whole input, then the rest of it besides the cached tokens.
        (
            &[
                r#"{"input_tokens":348,"output_tokens":0}"#,
                r#"{"input_tokens":39,"cache_read_input_tokens":304,"output_tokens":1,"prompt_tokens_details":{"cached_tokens":304}}"#,
            ] as &[&str],
            cached(343, Some(304), None),
        ),
        // First the whole input, then only how much of it was cached.
        (
            &[
                r#"{"input_tokens":348}"#,
                r#"{"cache_read_input_tokens":304,"output_tokens":1}"#,
            ],
            cached(348, Some(304), None),
        ),
        (
            &[
                r#"{"input_tokens":348}"#,
                r#"{"input_tokens":0,"cache_read_input_tokens":304,"output_tokens":1}"#,
            ],
            cached(348, Some(304), None),
        ),
        (
            &[
                r#"{"input_tokens":348}"#,
                r#"{"input_tokens":348,"cache_read_input_tokens":304,"output_tokens":1}"#,
            ],
            cached(348, Some(304), None),
        ),
        // A smaller input cannot include them.
        (
            &[
                r#"{"input_tokens":4}"#,
                r#"{"input_tokens":4,"cache_read_input_tokens":90,"output_tokens":1}"#,
            ],
            cached(94, Some(90), None),
        ),
        // The total shows it, or OpenAI's details do.
        (
            &[
                r#"{"input_tokens":100,"cache_read_input_tokens":90,"output_tokens":1,"total_tokens":101}"#,
            ],
            cached(100, Some(90), None),
        ),
        (
            &[
                r#"{"input_tokens":100,"cache_read_input_tokens":90,"input_tokens_details":{"cached_tokens":90},"output_tokens":1}"#,
            ],
            cached(100, Some(90), None),
        ),
        // OpenAI's prompt includes them.
        (
            &[
                r#"{"prompt_tokens":100,"cache_read_input_tokens":90,"cache_creation_input_tokens":5,"completion_tokens":1}"#,
            ],
            cached(100, Some(90), Some(5)),
        ),
        (
            &[
                r#"{"prompt_tokens":100,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36,"completion_tokens":1}"#,
            ],
            cached(100, Some(64), None),
        ),
        (
            &[
                r#"{"prompt_tokens":100,"cached_tokens":10,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":3},"completion_tokens":1}"#,
            ],
            cached(100, Some(10), Some(3)),
        ),
    ] {
        assert_eq!(of_reports(reports), expected, "{reports:?}");
    }
}

#[test]
fn reasoning_is_counted_once() {
    for (report, output) in [
        // Included in the completion, the usual case.
        (
            r#"{"prompt_tokens":9,"completion_tokens":30,"total_tokens":39,"completion_tokens_details":{"reasoning_tokens":20}}"#,
            30,
        ),
        // Not included, as the total shows.
        (
            r#"{"prompt_tokens":9,"completion_tokens":10,"total_tokens":39,"completion_tokens_details":{"reasoning_tokens":20}}"#,
            30,
        ),
        // A total that matches neither is ignored.
        (
            r#"{"prompt_tokens":9,"completion_tokens":10,"total_tokens":88,"completion_tokens_details":{"reasoning_tokens":20}}"#,
            10,
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":10,"completion_tokens_details":{"reasoning_tokens":20}}"#,
            10,
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":30,"total_tokens":1,"output_tokens_details":{"thinking_tokens":20}}"#,
            30,
        ),
    ] {
        let expected = [Some(9), Some(output), None, None, Some(20)];
        assert_eq!(of_reports(&[report]), expected, "{report}");
    }
    let gemini = |usage: &str| {
        let body = format!(r#"{{"candidates":[],"usageMetadata":{usage}}}"#);
        token_counts(&read(ResponseFormat::Json, &body).usage)
    };
    assert_eq!(
        gemini(r#"{"promptTokenCount":9,"thoughtsTokenCount":20,"totalTokenCount":29}"#),
        [Some(9), Some(20), None, None, Some(20)]
    );
    assert_eq!(
        gemini(r#"{"promptTokenCount":9,"totalTokenCount":9}"#),
        [Some(9), None, None, None, None]
    );
}

#[test]
fn usage_in_a_malformed_event_is_discarded() {
    let good = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    for bad in [
        r#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":8}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":8}]"#,
        r#"{"usage":{"prompt_tokens":8 "completion_tokens":8}}"#,
        "usage",
    ] {
        let facts = read(ResponseFormat::Sse, &events(&[good, bad]));
        assert_eq!(token_counts(&facts.usage), tokens(3, 2), "{bad}");
    }
    // But one that is truncated by the end of the stream may be the only one.
    let cut = r#"data: {"usage":{"prompt_tokens":8,"completion_tokens":9"#;
    assert_eq!(
        token_counts(&read(ResponseFormat::Sse, cut).usage),
        [Some(8), None, None, None, None]
    );
}

#[test]
fn tokens_only_in_the_total_are_output() {
    for (report, expected) in [
        (
            r#"{"prompt_tokens":8,"completion_tokens":5,"total_tokens":40}"#,
            tokens(8, 32),
        ),
        (
            r#"{"prompt_tokens":8,"completion_tokens":5,"total_tokens":13}"#,
            tokens(8, 5),
        ),
        (
            r#"{"prompt_tokens":8,"completion_tokens":5,"total_tokens":5}"#,
            tokens(8, 5),
        ),
        (
            r#"{"prompt_tokens":8,"completion_tokens":0,"total_tokens":9}"#,
            tokens(8, 0),
        ),
    ] {
        assert_eq!(of_reports(&[report]), expected, "{report}");
    }
}

#[test]
fn only_known_formats_without_a_total_are_estimable() {
    for (body, is_estimable) in [
        (r#"{"choices":[{"message":{"content":"a"}}]}"#, true),
        (
            r#"{"choices":[{"message":{"content":"a"}}],"usage":{"total_tokens":9}}"#,
            false,
        ),
        (
            r#"{"type":"message","content":[{"text":"a"}],"role":"assistant"}"#,
            true,
        ),
        (r#"{"type":"message","text":"a","status":"failed"}"#, false),
        (r#"{"content":"a","room":5}"#, false),
    ] {
        let facts = read(ResponseFormat::Json, body);
        assert_eq!(facts.is_estimable, is_estimable, "{body}");
        assert_eq!(facts.ending, Ending::Terminal, "{body}");
    }
}
