//! Redaction: removes keys, tokens, mail addresses, and phone, identity and card numbers from a text. Expect false
//! positives: it removes too much rather than too little.
//!
//! Pure. Each match is replaced by its kind: `[key]`, `[token]`, `[mail]`, `[phone]`, `[identity]` or `[card]`.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex, Replacer};

mod number;

/// The replacement of a match.
type Replace = fn(&Captures<'_>) -> String;

/// One pass over the text.
struct Pass {
    pattern: Regex,
    replace: Replace,
}

impl Replacer for &Pass {
    fn replace_append(&mut self, captures: &Captures<'_>, out: &mut String) {
        out.push_str(&(self.replace)(captures));
    }
}

/// In the order in which they run: explicitly named secrets come before text that only looks like one. Word
/// boundaries are ASCII: in Chinese, nothing separates a word from a key.
const PASSES: [(&str, Replace); 10] = [
    // PEM, RFC 7468; also a truncated one.
    (
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
        |_| "[key]".to_owned(),
    ),
    // JSON web tokens, RFC 7519.
    (
        r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
        |_| "[token]".to_owned(),
    ),
    // A user and password in a URL, RFC 3986, section 3.2.1.
    (r"://[^/\s@]+@", |_| "://[key]@".to_owned()),
    // Key prefixes of providers: OpenAI, Anthropic, Stripe; AWS; GitHub; Slack; Google;
    // Hugging Face; GitLab; Standard Webhooks; Alibaba Cloud, Tencent Cloud; npm; SendGrid.
    (
        r"(?x)
          (?-u:\b)(?:sk|pk|rk)[-_][A-Za-z0-9_-]{12,} | (?-u:\b)(?:AKIA|ASIA)[0-9A-Z]{16}
        | (?-u:\b)gh[pousr]_[A-Za-z0-9]{16,} | (?-u:\b)github_pat_\w{16,} | (?-u:\b)xox[a-z]-[A-Za-z0-9-]{10,}
        | (?-u:\b)AIza[0-9A-Za-z_-]{30,} | (?-u:\b)hf_[A-Za-z0-9]{16,} | (?-u:\b)glpat-[\w-]{16,}
        | (?-u:\b)wh(?:sec|pk|sk)_[A-Za-z0-9+/=]{12,} | (?-u:\b)LTAI[A-Za-z0-9]{12,} | (?-u:\b)AKID[A-Za-z0-9]{16,}
        | (?-u:\b)ya29\.[\w-]{16,} | (?-u:\b)npm_[A-Za-z0-9]{20,} | (?-u:\b)SG\.[\w-]{16,}\.[\w-]{16,}",
        |_| "[key]".to_owned(),
    ),
    // A value after the name of a secret.
    (
        r#"(?xi)
          ( (?-u:\b)[\w-]*(?:api[_\x20-]?key|access[_\x20-]?key|private[_\x20-]?key|secret|passwd|password|passphrase|pwd|token|credential)[\w-]*
          | (?-u:\b)authorization | (?-u:\b)cookie | (?-u:\b)pass | (?-u:\b)key | 密码 | 口令 | 密钥 | 令牌 )
          ( \\* ["']? \s* (?: (?: \s(?:is|are) | 是 | 为 )? \s* (?: [:=：＝] | [-=]> ) | \s(?:is|are)\s | 是 | 为 ) \s* )
          (?: (\\* ["“]) [^"”\\\n]{3,} | (\\* ') [^'\\\n]{3,}
            | (?: (?:bearer|basic|token) \s+ )? [^\s"',;&，。；！]{3,} )"#,
        |found| {
            let quote = found.get(3).or_else(|| found.get(4));
            let quote = quote.map_or("", |quote| quote.as_str());
            format!("{}{}{quote}[key]", &found[1], &found[2])
        },
    ),
    (
        r"(?i)(?-u:\b)(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}",
        |found| format!("{} [key]", &found[1]),
    ),
    // Longer than any word, with both letters and digits.
    (r"[A-Za-z0-9_-]{32,}={0,2}", |found| mixed(&found[0])),
    (r"[A-Za-z0-9+/]{40,}={0,2}", |found| mixed(&found[0])),
    (
        r"[\p{L}\p{M}\p{N}._%+'!#$&*^{|}~-]+[@＠][\p{L}\p{M}\p{N}-]+(?:[.．。][\p{L}\p{M}\p{N}-]+)+",
        |_| "[mail]".to_owned(),
    ),
    // Runs of digits with separators, and with a letter before or after them.
    (
        r"(?x) (?-u:\b)[A-Z]{1,2}[0-9０-９]{6,9} (?: [(（][0-9A]?[)）] )?
        | [+＋(（]{0,2} [0-9０-９] [0-9０-９\x20\u{a0}\u{2000}-\u{200a}\u{202f}\u{3000}()（）.·_/\-－\u{2010}-\u{2015}]{4,} [0-9０-９] [Xx]?",
        |found| number::redacted(&found[0]),
    ),
];

static COMPILED: LazyLock<Vec<Pass>> = LazyLock::new(|| {
    let compile = |(pattern, replace): &(&str, Replace)| {
        // A test compiles each of them.
        let pattern = Regex::new(pattern).ok()?;
        Some(Pass {
            pattern,
            replace: *replace,
        })
    };
    PASSES.iter().filter_map(compile).collect()
});

/// The redacted text.
#[must_use]
pub fn redacted(text: &str) -> Cow<'_, str> {
    let mut left = Cow::Borrowed(text);
    for pass in COMPILED.iter() {
        if let Cow::Owned(changed) = pass.pattern.replace_all(&left, pass) {
            left = Cow::Owned(changed);
        }
    }
    left
}

/// A long run of letters and digits is a token; one of letters or digits alone is not.
fn mixed(run: &str) -> String {
    let has_digit = run.bytes().any(|byte| byte.is_ascii_digit());
    let has_letter = run.bytes().any(|byte| byte.is_ascii_alphabetic());
    match has_digit && has_letter {
        true => "[token]".to_owned(),
        false => run.to_owned(),
    }
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
