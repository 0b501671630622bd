//! The notifiers of `alerts`: one key for each kind that `alert::notify` lists.

use crate::alert::notify;
use crate::alert::notify::kind::{NotifierKind, RawSettings};
use crate::settings::changes::Effect;
use crate::settings::declare::KeyFamily;
use crate::settings::decode::{Block, Setting};
use crate::settings::diagnostic::Diagnostics;
use crate::settings::node::FilePosition;
use crate::settings::presence::Presence;
use crate::settings::schema::Mapping;

/// What the file has for each kind.
pub(in crate::config) struct Notifiers(
    pub(in crate::config) Vec<(&'static NotifierKind, Setting<Box<dyn RawSettings>>)>,
);

impl KeyFamily for Notifiers {
    const EFFECT: Effect = Effect::Restart;

    fn keys() -> Vec<&'static str> {
        notify::ALL.iter().map(|kind| kind.key).collect()
    }

    fn decode(block: &Block<'_>, diagnostics: &mut Diagnostics) -> Self {
        let kinds = notify::ALL.iter().map(|kind| {
            let decode = kind.settings.decode;
            let setting = block.setting_by(kind.key, Presence::Optional, decode, diagnostics);
            (*kind, setting)
        });
        Notifiers(kinds.collect())
    }

    fn schema(mapping: &mut Mapping<'_>) {
        for kind in notify::ALL {
            let schema = kind.settings.schema;
            let kind_of_key = (Presence::Optional, Self::EFFECT);
            mapping.key_by(kind.key, kind.left_out, kind_of_key, schema);
        }
    }

    fn written(&self, written: &mut Vec<(&'static str, FilePosition)>) {
        let settings = self.0.iter().filter(|(_, setting)| setting.is_written());
        written.extend(settings.map(|(kind, setting)| (kind.key, setting.place)));
    }
}
