//! The notifiers of `alerts`: one key for each kind of them, with the settings that its descriptor lists.

use serde_json::Value;

use crate::alert::notify;
use crate::alert::notify::kind::{self, Kind, Settings, ValueKind};
use crate::config::url::ServiceUrl;
use crate::settings::changes::Effect;
use crate::settings::declare::Family;
use crate::settings::decode::{Block, Decode as _, Setting};
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::List;
use crate::settings::node::{Node, Place};
use crate::settings::presence::Presence;
use crate::settings::schema::{Definitions, Mapping};
use crate::settings::values::{Secret, Text};

/// What the file has for each kind.
pub(in crate::config) struct Notifiers(
    pub(in crate::config) Vec<(&'static Kind, Setting<Notifier>)>,
);

/// The settings of one of them.
pub(in crate::config) struct Notifier(Vec<(&'static str, Written)>);

enum Written {
    Url(Setting<ServiceUrl>),
    Urls(Setting<List<ServiceUrl, 1>>),
    Text(Setting<Text>),
    Secret(Setting<Secret>),
}

impl Notifier {
    /// The settings that are valid by themselves.
    pub(in crate::config) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        for (key, written) in &self.0 {
            let text = match written {
                Written::Url(url) => url.value().map(|url| url.0.as_str()),
                Written::Text(text) => text.value().map(|text| text.0.as_str()),
                Written::Secret(secret) => secret.value().map(Secret::expose),
                Written::Urls(urls) => {
                    let urls = urls.value().map_or(&[][..], |urls| &urls.0);
                    let urls = urls.iter().map(|at| at.value.0.clone());
                    settings.set_list(key, urls.collect());
                    continue;
                }
            };
            if let Some(text) = text {
                settings.set_text(key, text);
            }
        }
        settings
    }

    /// Where a setting stands, or an item of it.
    pub(in crate::config) fn place(&self, key: &str, item: Option<usize>) -> Option<Place> {
        let (_, written) = self.0.iter().find(|(known, _)| *known == key)?;
        Some(match written {
            Written::Url(url) => url.place,
            Written::Text(text) => text.place,
            Written::Secret(secret) => secret.place,
            Written::Urls(urls) => {
                let items = urls.value().map_or(&[][..], |urls| &urls.0);
                let item = item.and_then(|item| items.get(item));
                item.map_or(urls.place, |at| at.place)
            }
        })
    }
}

impl Family for Notifiers {
    const EFFECT: Effect = Effect::Restart;

    fn keys() -> Vec<&'static str> {
        notify::ALL.iter().map(|kind| kind.key).collect()
    }

    fn decode(block: &Block<'_>, diagnostics: &mut Diagnostics) -> Self {
        let kinds = notify::ALL.iter().map(|kind| {
            let decode =
                |node: &Node, diagnostics: &mut Diagnostics| notifier(kind, node, diagnostics);
            let setting = block.setting_by(kind.key, Presence::Optional, decode, diagnostics);
            (*kind, setting)
        });
        Notifiers(kinds.collect())
    }

    fn schema(mapping: &mut Mapping<'_>) {
        for kind in notify::ALL {
            let schema = |definitions: &mut Definitions| schema(kind, definitions);
            let kind_of_key = (Presence::Optional, Self::EFFECT);
            mapping.key_by(kind.key, kind.left_out, kind_of_key, schema);
        }
    }

    fn written(&self, written: &mut Vec<(&'static str, Place)>) {
        let settings = self.0.iter().filter(|(_, setting)| setting.is_written());
        written.extend(settings.map(|(kind, setting)| (kind.key, setting.place)));
    }
}

fn notifier(kind: &Kind, node: &Node, diagnostics: &mut Diagnostics) -> Option<Notifier> {
    let keys: Vec<&'static str> = kind.settings.iter().map(|setting| setting.key).collect();
    let block = Block::open(node, &keys, diagnostics)?;
    let settings = kind.settings.iter().map(|setting| {
        let (key, presence) = (setting.key, presence(setting));
        let written = match setting.value {
            ValueKind::Url => Written::Url(block.setting(key, presence, diagnostics)),
            ValueKind::Urls => Written::Urls(block.setting(key, presence, diagnostics)),
            ValueKind::Text => Written::Text(block.setting(key, presence, diagnostics)),
            ValueKind::Secret => Written::Secret(block.setting(key, presence, diagnostics)),
        };
        (key, written)
    });
    Some(Notifier(settings.collect()))
}

fn schema(kind: &Kind, definitions: &mut Definitions) -> Value {
    definitions.mapping(kind.definition, kind.about, |mapping| {
        for setting in kind.settings {
            let schema = match setting.value {
                ValueKind::Url => ServiceUrl::schema,
                ValueKind::Urls => List::<ServiceUrl, 1>::schema,
                ValueKind::Text => Text::schema,
                ValueKind::Secret => Secret::schema,
            };
            let kind_of_key = (presence(setting), Notifiers::EFFECT);
            mapping.key_by(setting.key, setting.about, kind_of_key, schema);
        }
    })
}

const fn presence(setting: &kind::Setting) -> Presence {
    match setting.presence {
        kind::Presence::Required => Presence::Required,
        kind::Presence::Optional => Presence::Optional,
    }
}
