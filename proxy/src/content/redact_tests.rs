use super::*;

#[test]
fn every_pattern_compiles() {
    assert_eq!(COMPILED.len(), PASSES.len());
}

#[test]
fn personal_data_and_secrets_are_redacted() {
    for (text, expected) in [
        // Keys and tokens.
        ("use sk-proj-abcDEF123456_7890 now", "use [key] now"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        ("ghp_abcdefghij0123456789ABCDEFGHIJ012345", "[key]"),
        ("xoxb-1234567890-abcdefghij", "[key]"),
        ("LTAI5tAbCdEfGhIjKlMn", "[key]"),
        (
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123 ok",
            "[token] ok",
        ),
        (
            "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b",
            "a [key] b",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIE never ends", "[key]"),
        ("postgres://bob:hunter2@db/x", "postgres://[key]@db/x"),
        ("password: hunter2, please", "password: [key], please"),
        ("my password is hunter2", "my password is [key]"),
        ("我的密码是hunter2。谢谢", "我的密码是[key]。谢谢"),
        ("{\"api_key\": \"hunter2\"}", "{\"api_key\": \"[key]\"}"),
        ("DB_PASSWORD=hunter2", "DB_PASSWORD=[key]"),
        ("my API key is hunter2", "my API key is [key]"),
        ("key: hunter2", "key: [key]"),
        ("https://h/?token=hunter2&x=1", "https://h/?token=[key]&x=1"),
        ("Authorization: Bearer abc.def", "Authorization: [key]"),
        ("curl -H 'bearer abcdefgh'", "curl -H 'bearer [key]'"),
        (
            "id 0123456789abcdef0123456789abcdef01 end",
            "id [token] end",
        ),
        ("密钥sk-abcDEF1234567890xyz。", "密钥[key]。"),
        ("用AKIAIOSFODNN7EXAMPLE登录", "用[key]登录"),
        ("护照E12345678。", "护照[identity]。"),
        // Mail.
        ("write to a.b+c@mail.example.com!", "write to [mail]!"),
        ("邮箱：小明@例子.公司，谢谢", "邮箱：[mail]，谢谢"),
        ("bob＠example.com", "[mail]"),
        // Phones.
        ("电话13812345678谢谢", "电话[phone]谢谢"),
        ("call 138 1234 5678 now", "call [phone] now"),
        ("call 138-1234-5678 now", "call [phone] now"),
        ("+86 138 1234 5678", "[phone]"),
        ("008613812345678", "[phone]"),
        ("１３８１２３４５６７８", "[phone]"),
        ("13812345678 13912345678", "[phone] [phone]"),
        ("+44 20 7946 0958.", "[phone]."),
        ("(555) 123-4567", "[phone]"),
        ("555-123-4567", "[phone]"),
        ("010-12345678", "[phone]"),
        ("138\u{a0}1234\u{a0}5678", "[phone]"),
        ("138\u{3000}1234\u{3000}5678 ok", "[phone] ok"),
        ("138_1234_5678", "[phone]"),
        ("138—1234—5678", "[phone]"),
        ("1 3 8 1 2 3 4 5 6 7 8", "[phone]"),
        ("02112345678", "[phone]"),
        // Identity.
        ("身份证11010519491231002X。", "身份证[identity]。"),
        ("440524188001010014", "[identity]"),
        ("130503670401001", "[identity]"),
        ("123-45-6789", "[identity]"),
        ("passport E12345678", "passport [identity]"),
        ("A123456(7)", "[identity]"),
        ("A123456789", "[identity]"),
        // Cards.
        ("4111 1111 1111 1111", "[card]"),
        ("4111-1111-1111-1111", "[card]"),
        ("4111_1111_1111_1111", "[card]"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "[card]"),
        ("卡号6222021234567890128，", "卡号[card]，"),
        ("378282246310005 and 2024", "[card] and 2024"),
    ] {
        assert_eq!(redacted(text), expected, "{text}");
    }
}

#[test]
fn other_text_is_unchanged() {
    for text in [
        "",
        "The answer is 42.",
        "in 2024 there were 1,234,567 of 12 345 things, 3.14159 each",
        "2026-11-22 08:30:00, 2026.11.22",
        "192.168.100.200:8080",
        "version 1.2.3-4, 10-20, 1 2 3 4 5 6 7",
        "order 12345678 of 123456789",
        "1234 5678 9012 3456",
        "weir_upstream_duration_seconds_bucket_and_more_words",
        "https://example.com/a/path/with/many/parts/in/it",
        "用户说：你好，今天天气怎么样？",
        "a@b, @bob and x @ y",
        "tokens per second are fine; the secret garden",
        "pneumonoultramicroscopicsilicovolcanoconiosis",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn numbers_are_redacted_whole_in_every_notation() {
    for number in ["13812345678", "4111111111111111", "11010519491231002X"] {
        for before in ["", "a", "中", " ", "\"", "=", "("] {
            for after in ["", "中", " ", "\"", ",", ")", "."] {
                let text = format!("{before}{number}{after}");
                let left = redacted(&text);
                assert!(!left.contains(&number[..11]), "{text}: {left}");
            }
        }
    }
}

#[test]
fn hostile_texts_are_redacted_in_linear_time() {
    let long = [
        "1".repeat(20_000),
        "1 ".repeat(10_000),
        "a@".repeat(10_000),
        "a.".repeat(10_000) + "@",
        "-----BEGIN PRIVATE KEY-----".repeat(500),
        "password is ".repeat(2000),
        "：".repeat(10_000),
        "(((((1".repeat(3000),
    ];
    for text in &long {
        // Would not finish if a pass were quadratic.
        assert!(redacted(text).len() <= text.len() * 2);
    }
}

#[test]
fn no_text_causes_a_panic() {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
    const PARTS: [&str; 16] = [
        "0", "1", "86", "19", "4", " ", "  ", "-", ".", "+", "(", ")", "A", "x", "\u{3000}", "１",
    ];
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..20_000 {
        let length = random.random_range(1..40);
        let text: String = (0..length)
            .filter_map(|_| PARTS.choose(&mut random).copied())
            .collect();
        let _ = redacted(&text);
    }
    assert_eq!(redacted("1 - 2345 6"), "1 - 2345 6");
    assert_eq!(redacted("0 1 2 3 4 5"), "0 1 2 3 4 5");
}

#[test]
fn each_of_many_numbers_is_redacted() {
    let phone = "13812345671";
    for separator in [" ", ", ", "/", "-", "_", ".", " - ", "\n2."] {
        for count in 1..30 {
            let text = vec![phone; count].join(separator);
            let left = redacted(&text);
            assert!(!left.contains("1381"), "{text}: {left}");
            assert_eq!(left.matches("[phone]").count(), count, "{text}: {left}");
        }
    }
    for count in 1..12 {
        let text = vec!["4111 1111 1111 1111"; count].join(" ");
        assert_eq!(redacted(&text), vec!["[card]"; count].join(" "));
        let text = vec!["138 1234 5671"; count].join(" ");
        assert_eq!(redacted(&text), vec!["[phone]"; count].join(" "));
    }
    for text in [
        "1.13812345678",
        "1)13812345678",
        "(1)13812345678",
        "13812345678-801",
        "010-12345678-801",
        "+86-13812345678-123",
        "2026-11-22-13812345678",
        "13812345678_2",
        "13812345678.5",
        "call 2125550123 now",
        "88005553535",
    ] {
        let left = redacted(text);
        assert!(left.contains("[phone]"), "{text}: {left}");
        assert!(
            !left.contains("12345678") && !left.contains("55"),
            "{text}: {left}"
        );
    }
}

#[test]
fn mail_addresses_are_redacted_in_every_script() {
    for text in [
        "jose\u{301}@example.com",
        "bob@exa\u{308}mple.com",
        "bob＠example。com",
        "o&m#x@example.com",
    ] {
        assert_eq!(redacted(text), "[mail]", "{text}");
    }
}

#[test]
fn secrets_are_redacted_by_their_names() {
    for text in [
        "My password is: hunter22",
        "my API key is: hunter22",
        "password -> hunter22",
        "{\\\"api_key\\\": \\\"hunter22\\\"}",
        "password = 'my hunter22 phrase'",
        "token：“abc hunter22”",
        "密码是：hunter22",
    ] {
        let left = redacted(text);
        assert!(
            left.contains("[key]") && !left.contains("hunter22"),
            "{text}: {left}"
        );
    }
}
