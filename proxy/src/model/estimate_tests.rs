use super::*;

/// Name, text, and its tokens in the vocabularies of GPT-4o, Llama 3, Qwen 3 and DeepSeek V3.
const TEXTS: [(&str, &str, [u64; 4]); 16] = [
    (
        "english",
        "The proxy sits in front of the assistant and counts what each answer has cost. When nobody reports a figure, it looks at the text instead and says so.",
        [32, 32, 32, 32],
    ),
    (
        "markdown",
        "## Steps\n\n1. Open the valve slowly.\n2. Wait **ten minutes**, then read the gauge.\n3. Close it again.\n\n| gauge | bar |\n|-------|-----|\n| left | 2.5 |\n| right | 3.1 |\n",
        [54, 54, 54, 54],
    ),
    (
        "code",
        "fn add(left: u64, right: u64) -> u64 {\n    // Saturates instead of wrapping around.\n    let sum = left.saturating_add(right);\n    if sum == u64::MAX {\n        log::warn!(\"the sum is cut: {left} + {right}\");\n    }\n    sum\n}\n",
        [68, 69, 73, 69],
    ),
    (
        "arguments",
        "{\"city\": \"Rotterdam\", \"days\": 3, \"units\": \"metric\", \"hourly\": false}",
        [25, 25, 25, 25],
    ),
    (
        "chinese",
        "代理位于助手之前，统计每个回答花费的令牌数量。如果没有人报告，它就根据文本估算，并且会注明这是估计值。今天的天气很好，我们一起去公园散步吧。",
        [48, 52, 40, 39],
    ),
    (
        "japanese",
        "プロキシはアシスタントの前に立ち、それぞれの回答にかかったトークンを数えます。誰も報告しない場合は、文章から推定します。",
        [44, 40, 38, 34],
    ),
    (
        "korean",
        "프록시는 어시스턴트 앞에 서서 각 답변에 든 토큰을 셉니다. 아무도 알려 주지 않으면 글에서 추정하고 그 사실을 표시합니다.",
        [43, 44, 47, 50],
    ),
    (
        "russian",
        "Прокси стоит перед помощником и считает, сколько токенов стоил каждый ответ. Если никто не сообщает, он оценивает это по тексту.",
        [33, 36, 39, 35],
    ),
    (
        "arabic",
        "يقف الوكيل أمام المساعد ويحسب عدد الرموز التي كلفتها كل إجابة. وإذا لم يخبره أحد فإنه يقدر ذلك من النص.",
        [33, 40, 38, 40],
    ),
    (
        "german",
        "Der Vermittler steht vor dem Assistenten und zählt, wie viele Token jede Antwort gekostet hat. Meldet niemand etwas, schätzt er es aus dem Text.",
        [35, 40, 40, 40],
    ),
    (
        "greek",
        "Ο διαμεσολαβητής στέκεται μπροστά από τον βοηθό και μετρά πόσο κόστισε κάθε απάντηση.",
        [35, 36, 71, 42],
    ),
    (
        "thai",
        "พร็อกซีอยู่หน้าผู้ช่วยและนับจำนวนโทเค็นที่ใช้ในแต่ละคำตอบ ถ้าไม่มีใครรายงานก็จะประเมินจากข้อความ",
        [39, 42, 46, 37],
    ),
    (
        "hindi",
        "प्रॉक्सी सहायक के सामने खड़ा रहता है और गिनता है कि प्रत्येक उत्तर में कितने टोकन लगे।",
        [27, 43, 79, 45],
    ),
    (
        "numbers",
        "1024 65535 3.14159 2026-11-29 17:35:00 +86 138 0013 8000",
        [33, 33, 55, 33],
    ),
    ("emoji", "Done ✅ see you tomorrow 😊🎉", [8, 11, 9, 9]),
    (
        "mixed",
        "请用 Python 写一个函数 add(a, b)，返回两个数的和，并附上 docstring。",
        [22, 23, 23, 23],
    ),
];

fn counted(pieces: &[&[u8]]) -> TokenEstimator {
    let mut count = TokenEstimator::default();
    for piece in pieces {
        count.add(piece);
    }
    count
}

fn estimate(text: &str) -> u64 {
    counted(&[text.as_bytes()]).tokens()
}

#[test]
fn estimates_are_close_to_real_tokenizers_in_every_script() {
    for (name, text, mut counts) in TEXTS {
        counts.sort_unstable();
        let median = (counts[1] + counts[2]) as f64 / 2.0;
        let ratio = (estimate(text) - END) as f64 / median;
        assert!(
            (0.75..=1.3).contains(&ratio),
            "{name}: {ratio} of {counts:?}"
        );
    }
}

#[test]
fn the_estimate_does_not_depend_on_the_pieces() {
    for (name, text, _) in TEXTS {
        let bytes = text.as_bytes();
        let whole = counted(&[bytes]);
        for at in 0..=bytes.len() {
            let (before, after) = bytes.split_at(at);
            assert_eq!(counted(&[before, b"", after]), whole, "{name} cut at {at}");
        }
        for size in [1, 2, 3, 5, 7] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(counted(&pieces), whole, "{name} in pieces of {size}");
        }
    }
}

#[test]
fn short_texts_have_plausible_estimates() {
    for (text, expected) in [
        // Including the end token.
        ("", 0),
        (" ", 0),
        ("pong", 2),
        ("Hello!", 3),
        ("cache probe ready", 4),
        ("The capital of France is Paris.", 9),
        ("1, 2, 3", 7),
        ("你好", 2),
        ("\u{1f600}", 3),
        ("{}", 2),
    ] {
        let tokens = estimate(text);
        assert!(
            tokens.abs_diff(expected) <= 1.max(expected / 2),
            "{text:?}: {tokens}"
        );
        assert_eq!(tokens == 0, expected == 0, "{text:?}: {tokens}");
    }
}

#[test]
fn repeated_marks_and_spaces_are_cheap() {
    let rule = format!("above\n{}\nbelow", "-".repeat(400));
    assert!(estimate(&rule) < 30, "{}", estimate(&rule));
    let indented = format!("if:\n{}return", " ".repeat(400));
    assert!(estimate(&indented) < 10, "{}", estimate(&indented));
}

#[test]
fn invalid_utf_8_has_a_cost() {
    for (bytes, least) in [
        (b"\xff\xff".as_slice(), 2),
        (b"a\xe4\xbd", 1),
        (b"\xe4\xbd\xe4\xbd\xa0", 2),
        (b"\xc4\xe3\xba\xc3", 1),
        (b"\xf0\x9f\x98a", 1),
        (b"\xc0\x80\xed\xa0\x80\xf8", 3),
    ] {
        let whole = counted(&[bytes]);
        assert!(whole.tokens() >= least, "{bytes:?}: {}", whole.tokens());
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(counted(&single), whole, "{bytes:?}");
    }
}

#[test]
fn parts_cost_tokens_besides_their_text() {
    let mut request = TokenEstimator::default();
    assert!(request.is_empty());
    for _ in 0..3 {
        request.begin(TextPart::Message);
        request.add(b"ping");
    }
    assert!(
        (15..=17).contains(&request.tokens()),
        "{}",
        request.tokens()
    );

    let mut call = TokenEstimator::default();
    call.begin(TextPart::Call);
    assert_eq!(call.tokens(), 7 + END);
    let (name, arguments) = (b"get_weather".as_slice(), br#"{"city": "Bergen"}"#);
    call.add(name);
    call.begin(TextPart::Text);
    call.add(arguments);
    assert!((15..=22).contains(&call.tokens()), "{}", call.tokens());

    // Neither a word nor a truncated character continues in the next text.
    let mut apart = TokenEstimator::default();
    apart.add(b"inter\xe4");
    apart.begin(TextPart::Text);
    apart.add(b"\xbd\xa0national");
    assert!(apart.tokens() > estimate("international"));
}

#[test]
fn usage_is_estimated_where_a_model_has_processed_the_request() {
    use Ending::{Failed, Open, Terminal, Unknown};
    let estimated = |operation, ending, request: &str, response: &str| {
        let [request, response] = [request, response].map(|text| counted(&[text.as_bytes()]));
        let usage = usage(operation, ending, &request, &response);
        assert_eq!(usage.origin, Origin::Estimated);
        (usage.input_tokens, usage.output_tokens)
    };
    let (request, response) = ("ping", "The pong.");
    for (operation, ending) in [
        (Operation::Chat, Terminal),
        (Operation::Messages, Open),
        (Operation::GenerateContent, Failed),
        (Operation::OllamaGenerate, Unknown),
    ] {
        let both = (Some(2), Some(4));
        assert_eq!(estimated(operation, ending, request, response), both);
        assert_eq!(estimated(operation, ending, "", response), (None, Some(4)));
        assert_eq!(estimated(operation, ending, request, ""), (None, None));
    }
    for operation in [Operation::Embeddings, Operation::Rerank] {
        let input = (Some(2), None);
        assert_eq!(estimated(operation, Terminal, request, response), input);
        assert_eq!(estimated(operation, Terminal, request, ""), input);
        for ending in [Failed, Open, Unknown] {
            assert_eq!(estimated(operation, ending, request, ""), (None, None));
        }
    }
    for operation in [
        Operation::Transcription,
        Operation::Images,
        Operation::CountTokens,
    ] {
        let none = (None, None);
        assert_eq!(estimated(operation, Terminal, request, response), none);
    }
}

#[test]
fn long_texts_are_sampled() {
    let sentences = [
        "The ferry leaves at seven, unless the wind turns before then. ",
        "船は七時に出ます。風が変わらなければ。",
        "{\"place\": [3, 14, 159], \"is_open\": false}\n",
    ];
    for sentence in sentences {
        let one = tokens_of(sentence.as_bytes(), 1);
        let text = sentence.repeat(200_000 / sentence.len());
        let whole = tokens_of(text.as_bytes(), text.len());
        let exact = one as f64 * (text.len() / sentence.len()) as f64;
        let ratio = whole as f64 / exact;
        assert!((0.9..1.1).contains(&ratio), "{sentence}: {ratio}");
        for cut in [1, 97, 1024, 65_537] {
            assert_eq!(
                tokens_of(text.as_bytes(), cut),
                whole,
                "{sentence} cut at {cut}"
            );
        }
    }
}

fn tokens_of(text: &[u8], cut: usize) -> u64 {
    let mut count = TokenEstimator::default();
    text.chunks(cut).for_each(|piece| count.add(piece));
    count.tokens()
}
