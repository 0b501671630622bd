//! The bot of a Feishu (or Lark) group: one card for everything that changed.
//!
//! Feishu's "Custom bot guide": the signature is the HMAC-SHA256 of nothing, with the time, a newline and
//! the secret as its key, in base64; errors come with status 200 and a `code`; a message has at most
//! 20 KB, and a bot takes 5 a second and 100 a minute.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use super::kind::{Endpoint, Invalid, Kind, Setting, Settings, ValueKind};
use super::post::Target;
use super::{Channel, Failure, Links, RETRY_MAX};
use crate::alert::board::{Change, timestamp};
use crate::alert::tier::{Tier, Worse};

/// Past these many the rest is only counted: a message has a bound.
const SHOWN_MAX: usize = 20;
/// Of one text in a card.
const TEXT_CHARACTERS_MAX: usize = 200;
/// Feishu says so when a bot is too quick.
const TOO_MANY_CODES: [i64; 2] = [11232, 9499];
const TOO_MANY_WAIT: Duration = Duration::from_secs(15);

pub const KIND: Kind = Kind {
    key: "feishu",
    left_out: "Left out: no Feishu group is told.",
    definition: "FeishuBot",
    about: "The bot of a Feishu group.",
    settings: &[
        Setting::optional(
            "webhook",
            ValueKind::Url,
            "The address of the bot; without it nobody is told.",
        ),
        Setting::optional(
            "secret",
            ValueKind::Secret,
            "What messages to it are signed with.",
        ),
    ],
    check,
    retry_max: RETRY_MAX,
    start: |endpoint, links, context| {
        let channel = Feishu {
            target: Target::new(&endpoint.url, None),
            secret: endpoint.secret.clone(),
            links,
        };
        super::start(channel, context)
    },
};

fn check(settings: &Settings) -> Result<Vec<Endpoint>, Invalid> {
    let secret = settings.text("secret").map(str::to_owned);
    match settings.text("webhook") {
        Some(webhook) => Ok(vec![Endpoint {
            secret,
            ..Endpoint::new(webhook, None)
        }]),
        None if secret.is_some() => {
            let why = "`secret` signs messages to `webhook`, which is missing";
            Err(Invalid::key("secret", why))
        }
        None => Ok(Vec::new()),
    }
}

pub struct Feishu {
    pub target: Target,
    pub secret: Option<String>,
    pub links: Links,
}

impl Channel for Feishu {
    fn tell(&mut self, changes: &[Change], now: Duration) -> Result<(), Failure> {
        let message = self.message(changes, now);
        let body = serde_json::to_vec(&message);
        let body = body.map_err(|error| Failure::Refused(error.to_string()))?;
        let answer = self.target.post(body)?;
        judge(&answer)
    }
}

impl Feishu {
    pub(super) fn message(&self, changes: &[Change], now: Duration) -> Value {
        let mut message = json!({"msg_type": "interactive", "card": card(changes, &self.links)});
        if let Some(secret) = &self.secret {
            let seconds = now.as_secs().to_string();
            message["sign"] = json!(sign(&seconds, secret));
            message["timestamp"] = json!(seconds);
        }
        message
    }
}

/// The signature of a message to a bot.
pub(super) fn sign(seconds: &str, secret: &str) -> String {
    let key = format!("{seconds}\n{secret}");
    // HMAC takes a key of any length.
    match Hmac::<Sha256>::new_from_slice(key.as_bytes()) {
        Ok(mac) => STANDARD.encode(mac.finalize().into_bytes()),
        Err(_) => String::new(),
    }
}

#[derive(Deserialize)]
struct Answer {
    code: Option<i64>,
    msg: Option<String>,
    #[serde(rename = "StatusCode")]
    status_code: Option<i64>,
}

/// What a 2xx answer really says.
pub(super) fn judge(answer: &[u8]) -> Result<(), Failure> {
    let Ok(answer) = serde_json::from_slice::<Answer>(answer) else {
        return Err(Failure::Refused(
            "its answer is none of Feishu's".to_owned(),
        ));
    };
    let Some(code) = answer.code.or(answer.status_code) else {
        return Err(Failure::Refused("its answer has no `code`".to_owned()));
    };
    if code == 0 {
        return Ok(());
    }
    let said = answer.msg.unwrap_or_default();
    let said: String = said.chars().take(TEXT_CHARACTERS_MAX).collect();
    let why = format!("it answers code {code}: {said}");
    match TOO_MANY_CODES.contains(&code) {
        true => Err(Failure::NotNow(why, Some(TOO_MANY_WAIT))),
        false => Err(Failure::Refused(why)),
    }
}

const fn word(tier: Tier) -> &'static str {
    match tier {
        Tier::None => "Recovered 恢复",
        Tier::Warning => "Warning 警告",
        Tier::Critical => "Critical 严重",
    }
}

fn card(changes: &[Change], links: &Links) -> Value {
    let mut changes: Vec<&Change> = changes.iter().collect();
    changes.sort_by_key(|change| std::cmp::Reverse(change.standing.tier));
    let worst = changes
        .first()
        .map_or(Tier::None, |change| change.standing.tier);
    let colour = match worst {
        Tier::None => "green",
        Tier::Warning => "orange",
        Tier::Critical => "red",
    };
    let title = match changes.as_slice() {
        [change] => format!("{}: {}", word(worst), change.standing.key),
        all => format!("{}: {} alerts 条告警", word(worst), all.len()),
    };
    let mut elements = Vec::new();
    for change in changes.iter().take(SHOWN_MAX) {
        let text = json!({"tag": "lark_md", "content": text(change, links)});
        elements.push(json!({"tag": "div", "text": text}));
    }
    if let Some(more) = changes
        .len()
        .checked_sub(SHOWN_MAX)
        .filter(|more| *more > 0)
    {
        let text =
            json!({"tag": "plain_text", "content": format!("... and {more} more 另有 {more} 条")});
        elements.push(json!({"tag": "div", "text": text}));
    }
    elements.push(json!({"tag": "note", "elements": [
        {"tag": "plain_text", "content": cut(&format!("Instance 实例: {}", raised_by(&changes)))},
    ]}));
    let button = json!({"tag": "plain_text", "content": "Console 控制台"});
    elements.push(json!({"tag": "action", "actions": [
        {"tag": "button", "type": "default", "text": button, "url": &*links.console},
    ]}));
    json!({
        "config": {"wide_screen_mode": true},
        "header": {"template": colour, "title": {"tag": "plain_text", "content": cut(&title)}},
        "elements": elements,
    })
}

fn text(change: &Change, links: &Links) -> String {
    let standing = &change.standing;
    let tier = standing.tier;
    let line = standing.threshold(tier).unwrap_or_else(|| "-".to_owned());
    let is_falling = standing
        .rule
        .as_ref()
        .is_some_and(|rule| rule.lines.worse == Worse::Down);
    let way = match (tier, is_falling) {
        (Tier::None, false) => "≤",
        (Tier::None, true) => "≥",
        (_, false) => "&gt;",
        (_, true) => "&lt;",
    };
    let since = match tier {
        Tier::None => standing.raised_at.unwrap_or(standing.since),
        _ => standing.since,
    };
    format!(
        "**{}** {}\n{} → {}\nFigure 当前值: {} (threshold 阈值 {way} {line})\nSince 开始于: {}\n[Runbook 处理手册]({})",
        escape(&cut(&standing.key.to_string())),
        word(tier),
        change.told.as_str(),
        tier.as_str(),
        escape(&cut(&standing.shown_figure())),
        timestamp(since).strftime("%Y-%m-%d %H:%M:%S UTC"),
        links.runbook(change),
    )
}

/// Who raised them: mostly one, but an alert that was in force keeps who it was before a restart.
fn raised_by(changes: &[&Change]) -> String {
    let all: BTreeSet<String> = changes
        .iter()
        .map(|change| change.standing.identity.to_string())
        .collect();
    all.into_iter().collect::<Vec<_>>().join("; ")
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARACTERS_MAX).collect()
}

/// Text that means nothing to Feishu's Markdown.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '*' => escaped.push_str("&#42;"),
            '_' => escaped.push_str("&#95;"),
            '[' => escaped.push_str("&#91;"),
            ']' => escaped.push_str("&#93;"),
            '`' => escaped.push_str("&#96;"),
            '~' => escaped.push_str("&#126;"),
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}
