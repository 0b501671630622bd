//! How the figures of reports become those of a call.

use super::cases::{NO_TOKENS, events, tokens};
use super::*;

/// What the reports come to, as the `usage` of events one after another.
fn of_reports(reports: &[&str]) -> [Option<u64>; 5] {
    let data: Vec<String> = reports
        .iter()
        .map(|report| format!(r#"{{"type":"message_delta","usage":{report}}}"#))
        .collect();
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    figures(&read(ResponseFormat::Sse, &events(&data)).usage)
}

#[test]
fn a_figure_is_a_whole_number_however_it_is_written() {
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
            figures(&read(ResponseFormat::Json, &whole).usage),
            expected,
            "{whole}"
        );
    }
}

#[test]
fn the_last_report_wins_figure_by_figure() {
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
        // No figure is made up, not even where it could be.
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
fn tokens_of_the_cache_are_counted_once() {
    let cached = |input, read, creation| [Some(input), Some(1), read, creation, None];
    for (reports, expected) in [
        // Anthropic counts them beside the input.
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
fn an_input_that_holds_what_came_from_the_cache_is_not_added_to() {
    let cached = |input, read, creation| [Some(input), Some(1), read, creation, None];
    for (reports, expected) in [
        // All of the input first, and then a part of it beside what came from the cache.
        (
            &[
                r#"{"input_tokens":348,"output_tokens":0}"#,
                r#"{"input_tokens":39,"cache_read_input_tokens":304,"output_tokens":1,"prompt_tokens_details":{"cached_tokens":304}}"#,
            ] as &[&str],
            cached(343, Some(304), None),
        ),
        // All of it first, and then only how much of it came from the cache.
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
        // It cannot be within what is less.
        (
            &[
                r#"{"input_tokens":4}"#,
                r#"{"input_tokens":4,"cache_read_input_tokens":90,"output_tokens":1}"#,
            ],
            cached(94, Some(90), None),
        ),
        // The total tells, or whose details they are.
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
        // What OpenAI calls the prompt is all of it, whatever stands beside it.
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
        // Within the completion, as most have it.
        (
            r#"{"prompt_tokens":9,"completion_tokens":30,"total_tokens":39,"completion_tokens_details":{"reasoning_tokens":20}}"#,
            30,
        ),
        // Beside it, as the total shows.
        (
            r#"{"prompt_tokens":9,"completion_tokens":10,"total_tokens":39,"completion_tokens_details":{"reasoning_tokens":20}}"#,
            30,
        ),
        // A total that shows neither changes nothing.
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
        figures(&read(ResponseFormat::Json, &body).usage)
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
fn a_report_of_an_event_that_is_not_json_does_not_count() {
    let good = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    for bad in [
        r#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":8}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":8}]"#,
        r#"{"usage":{"prompt_tokens":8 "completion_tokens":8}}"#,
        "usage",
    ] {
        let said = read(ResponseFormat::Sse, &events(&[good, bad]));
        assert_eq!(figures(&said.usage), tokens(3, 2), "{bad}");
    }
    // But one that the end of the stream cut off may be the only one.
    let cut = r#"data: {"usage":{"prompt_tokens":8,"completion_tokens":9"#;
    assert_eq!(
        figures(&read(ResponseFormat::Sse, cut).usage),
        [Some(8), None, None, None, None]
    );
}

#[test]
fn what_is_in_the_total_alone_was_generated() {
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
fn tokens_are_estimated_only_of_what_is_known_and_gave_no_sum() {
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
        let said = read(ResponseFormat::Json, body);
        assert_eq!(said.is_estimable, is_estimable, "{body}");
        assert_eq!(said.ending, Ending::Terminal, "{body}");
    }
}
