//! The bot of a Feishu (or Lark) group: one card for all changes.
//!
//! Feishu's "Custom bot guide": the signature is the HMAC-SHA256 of an empty message, keyed with timestamp,
//! newline and secret, in base64; errors have status 200 and a `code`; a message has at most 20 KB, and a bot
//! accepts 5 a second and 100 a minute.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use super::kind::{DeclaredSettings, Destination, NotifierKind, RawSettings};
use super::post::PostTarget;
use super::{Channel, ConsoleLinks, NotifyFailure, RETRY_MAX};
use crate::alert::store::{Change, timestamp};
use crate::alert::tier::{Tier, Worse};
use crate::settings::declare::settings;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::url::ServiceUrl;
use crate::settings::values::SecretText;

/// More changes than this are only counted: the size of a message is bounded.
const SHOWN_MAX: usize = 20;
/// The longest text in a card.
const TEXT_CHARACTERS_MAX: usize = 200;
/// The codes of a bot that is rate-limited.
const TOO_MANY_CODES: [i64; 2] = [11232, 9499];
const TOO_MANY_WAIT: Duration = Duration::from_secs(15);

pub const KIND: NotifierKind = NotifierKind {
    key: "feishu",
    left_out: "Left out: no Feishu group is notified.",
    example: "webhook: 'https://open.feishu.cn/open-apis/bot/v2/hook/ID', secret: change-me",
    settings: DeclaredSettings::of::<FeishuBot>(),
    retry_max: RETRY_MAX,
    start: |destination, links, context| {
        let channel = FeishuClient {
            target: PostTarget::new(&destination.url, None),
            secret: destination.secret.clone(),
            links,
        };
        super::start(channel, context)
    },
};

settings! {
    /// The bot of a Feishu group.
    struct FeishuBot {
        /// The address of the bot; without it nobody is notified.
        webhook: ServiceUrl [optional] restart,
        /// The secret that signs messages to the bot.
        secret: SecretText [optional] restart,
    }
}

impl RawSettings for FeishuBot {
    fn check(&self, diagnostics: &mut Diagnostics) -> Option<Vec<Destination>> {
        let secret = self.secret.value().cloned();
        match self.webhook.value() {
            Some(webhook) => Some(vec![Destination {
                secret,
                ..Destination::new(&webhook.0, None)
            }]),
            None if secret.is_some() => {
                let wrong = "`secret` signs messages to `webhook`, which is missing";
                diagnostics.error(self.secret.place, wrong);
                None
            }
            None => Some(Vec::new()),
        }
    }
}

pub struct FeishuClient {
    pub target: PostTarget,
    pub secret: Option<SecretText>,
    pub links: ConsoleLinks,
}

impl Channel for FeishuClient {
    fn send(&mut self, changes: &[Change], now: Duration) -> Result<(), NotifyFailure> {
        let message = self.message(changes, now);
        let body = serde_json::to_vec(&message);
        let body = body.map_err(|error| NotifyFailure::Permanent(error.to_string()))?;
        let response = self.target.post(body)?;
        outcome(&response)
    }
}

impl FeishuClient {
    pub(super) fn message(&self, changes: &[Change], now: Duration) -> Value {
        let mut message = json!({"msg_type": "interactive", "card": card(changes, &self.links)});
        if let Some(secret) = &self.secret {
            let seconds = now.as_secs().to_string();
            message["sign"] = json!(sign(&seconds, secret.expose_secret()));
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
struct BotResponse {
    code: Option<i64>,
    msg: Option<String>,
    #[serde(rename = "StatusCode")]
    status_code: Option<i64>,
}

/// The outcome of a request whose response is a 2xx.
pub(super) fn outcome(response: &[u8]) -> Result<(), NotifyFailure> {
    let Ok(response) = serde_json::from_slice::<BotResponse>(response) else {
        return Err(NotifyFailure::Permanent(
            "its response is not one of Feishu's".to_owned(),
        ));
    };
    let Some(code) = response.code.or(response.status_code) else {
        return Err(NotifyFailure::Permanent(
            "its response has no `code`".to_owned(),
        ));
    };
    if code == 0 {
        return Ok(());
    }
    let message = response.msg.unwrap_or_default();
    let message: String = message.chars().take(TEXT_CHARACTERS_MAX).collect();
    let why = format!("it responds with code {code}: {message}");
    match TOO_MANY_CODES.contains(&code) {
        true => Err(NotifyFailure::Retryable(why, Some(TOO_MANY_WAIT))),
        false => Err(NotifyFailure::Permanent(why)),
    }
}

const fn word(tier: Tier) -> &'static str {
    match tier {
        Tier::None => "Recovered 已恢复",
        Tier::Warning => "Warning 警告",
        Tier::Critical => "Critical 严重",
    }
}

fn card(changes: &[Change], links: &ConsoleLinks) -> Value {
    let mut changes: Vec<&Change> = changes.iter().collect();
    changes.sort_by_key(|change| std::cmp::Reverse(change.state.tier));
    let worst = changes
        .first()
        .map_or(Tier::None, |change| change.state.tier);
    let colour = match worst {
        Tier::None => "green",
        Tier::Warning => "orange",
        Tier::Critical => "red",
    };
    let title = match changes.as_slice() {
        [change] => format!("{}: {}", word(worst), change.state.key),
        all => format!("{}: {n} alerts（{n} 条告警）", word(worst), n = all.len()),
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
        let text = json!({"tag": "plain_text", "content": format!("... and {more} more（另有 {more} 条）")});
        elements.push(json!({"tag": "div", "text": text}));
    }
    elements.push(json!({"tag": "note", "elements": [
        {"tag": "plain_text", "content": cut(&format!("Instance 实例: {}", identities(&changes)))},
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

fn text(change: &Change, links: &ConsoleLinks) -> String {
    let state = &change.state;
    let tier = state.tier;
    let threshold = state.threshold(tier).unwrap_or_else(|| "-".to_owned());
    let is_falling = state
        .rule
        .as_ref()
        .is_some_and(|rule| rule.thresholds.worse == Worse::Down);
    let comparison = match (tier, is_falling) {
        (Tier::None, false) => "≤",
        (Tier::None, true) => "≥",
        (_, false) => "&gt;",
        (_, true) => "&lt;",
    };
    let since = match tier {
        Tier::None => state.raised_at.unwrap_or(state.since),
        _ => state.since,
    };
    format!(
        "**{}** {}\n{} → {}\nValue 当前值: {} (threshold 阈值 {comparison} {threshold})\nSince 开始于: {}\n[Runbook 处理手册]({})",
        escape(&cut(&state.key.to_string())),
        word(tier),
        change.notified.as_str(),
        tier.as_str(),
        escape(&cut(&state.shown_value())),
        timestamp(since).strftime("%Y-%m-%d %H:%M:%S UTC"),
        links.runbook(change),
    )
}

/// The identities of the alerts: usually one, but an alert that was firing keeps its own over a restart.
fn identities(changes: &[&Change]) -> String {
    let all: BTreeSet<String> = changes
        .iter()
        .map(|change| change.state.identity.to_string())
        .collect();
    all.into_iter().collect::<Vec<_>>().join("; ")
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARACTERS_MAX).collect()
}

/// Escapes text for Feishu's Markdown.
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
