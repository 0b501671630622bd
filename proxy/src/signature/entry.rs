//! One entry of `signature`: its scheme, the keys that all schemes share, and the settings of its scheme.

use serde_json::{Value, json};

use super::Config;
use super::demand::Demand;
use super::scheme::{Descriptor, RawScheme, SchemeEntry, Windows};
use super::schemes::{Listed, SCHEMES, named};
use crate::settings::changes::Comparison;
use crate::settings::declare::{Settings, one_of, settings, unknown};
use crate::settings::decode::{Block, Decode, FromScalar, Invalid, Setting};
use crate::settings::diagnostic::Diagnostics;
use crate::settings::node::{FilePosition, NodeKind, YamlNode};
use crate::settings::schema::Definitions;
use crate::settings::values::TimeSpan;

settings! {
    /// The keys of every scheme.
    struct Common {
        /// The signature scheme.
        scheme: SchemeName [required] reload,
        /// The largest allowed difference between a timestamp and the current time; 300s by default, 8h with feishu.
        tolerance: TimeSpan [optional] reload,
        /// How long a replayed id or signature is rejected; 10m by default, 8h with feishu; 0s: off.
        replay: TimeSpan<0> [optional] reload,
    }
}

/// The name of a scheme.
#[derive(Clone, Copy)]
pub(crate) struct SchemeName(&'static Listed);

impl SchemeName {
    fn words() -> Vec<&'static str> {
        SCHEMES.iter().map(Listed::name).collect()
    }
}

impl FromScalar for SchemeName {
    fn expected() -> String {
        one_of(&SchemeName::words())
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        let listed = named(text).ok_or_else(|| unknown(text, &SchemeName::words()))?;
        Ok(SchemeName(listed))
    }

    fn schema() -> Value {
        json!({"type": "string", "enum": SchemeName::words()})
    }
}

/// An entry as it was read.
pub(crate) struct Signature {
    common: Common,
    /// `None` when the scheme is missing or unknown.
    settings: Option<Box<dyn RawScheme>>,
    /// Keys that other schemes have and this one has not.
    foreign: Vec<(&'static str, FilePosition)>,
}

/// The keys of all schemes.
fn all_keys() -> Vec<&'static str> {
    let mut keys = Common::KEYS.to_vec();
    for listed in &SCHEMES {
        for key in listed.settings().keys {
            if !keys.contains(key) {
                keys.push(key);
            }
        }
    }
    keys
}

impl Decode for Signature {
    fn decode(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Self> {
        let block = Block::open(node, &all_keys(), diagnostics)?;
        let common = Common::read(&block, diagnostics);
        let own = common.scheme.get().map(|name| name.0.settings());
        let settings = own.map(|own| (own.read)(&block, diagnostics));
        let own_keys = own.map_or(&[][..], |own| own.keys);
        Some(Signature {
            foreign: foreign(&block, own_keys, diagnostics),
            common,
            settings,
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let about = "How a request is authenticated.";
        definitions.mapping("Signature", about, |mapping| {
            Common::describe(mapping);
            for listed in &SCHEMES {
                (listed.settings().describe)(mapping);
            }
        })
    }

    fn compare(old: &YamlNode, new: &YamlNode, comparison: &mut Comparison) {
        Common::compare_keys(old, new, comparison);
        let mut compared: Vec<&'static str> = Vec::new();
        for listed in &SCHEMES {
            let settings = listed.settings();
            // Keys that schemes share are compared once.
            if settings.keys.iter().any(|key| !compared.contains(key)) && is_of(listed, old, new) {
                (settings.compare)(old, new, comparison);
                compared.extend(settings.keys);
            }
        }
    }
}

/// Whether one of two entries is of this scheme.
fn is_of(listed: &Listed, old: &YamlNode, new: &YamlNode) -> bool {
    let is = |node: &YamlNode| {
        let NodeKind::Mapping(entries) = &node.kind else {
            return false;
        };
        let mut entries = entries.iter();
        let scheme = entries.find(|(key, _)| key.text == "scheme");
        matches!(scheme, Some((_, YamlNode { kind: NodeKind::Scalar(name), .. })) if name.text.as_str() == listed.name())
    };
    is(old) || is(new)
}

/// Reads the keys that only other schemes have, so that a
/// secret in them stays hidden.
fn foreign(
    block: &Block<'_>,
    own: &[&str],
    diagnostics: &mut Diagnostics,
) -> Vec<(&'static str, FilePosition)> {
    let mut foreign: Vec<(&'static str, FilePosition)> = Vec::new();
    let is_own = |key: &str| own.contains(&key) || Common::KEYS.contains(&key);
    let mut read: Vec<&'static str> = Vec::new();
    for listed in &SCHEMES {
        let keys = listed.settings().keys;
        let is_new = |key: &&&str| !is_own(key) && block.has(key) && !read.contains(*key);
        if keys.iter().any(|key| is_new(&key)) {
            let written = (listed.settings().read)(block, diagnostics).written();
            foreign.extend(written.into_iter().filter(|(key, _)| is_new(&key)));
            read.extend(keys);
        }
    }
    foreign
}

impl Signature {
    /// The name of the scheme; `None` when it is missing or unknown.
    pub(crate) fn scheme(&self) -> Option<&'static str> {
        Some(self.common.scheme.get()?.0.name())
    }

    /// The default platform label of a route with this entry.
    pub(crate) fn platform(&self) -> Option<&'static str> {
        self.common.scheme.get()?.0.platform()
    }

    /// Checks the entry and builds its scheme. `route` names the client where none is named. `None` when
    /// it is invalid: then errors have been reported.
    pub(crate) fn check(&self, route: &str, diagnostics: &mut Diagnostics) -> Option<Config> {
        let SchemeName(listed) = self.common.scheme.get()?;
        let errors_before = diagnostics.errors();
        self.refuse_foreign(listed, diagnostics);
        let windows = self.windows(listed.descriptor(), diagnostics);
        let entry = SchemeEntry {
            scheme: listed.name(),
            path: &self.common.scheme.path,
            place: self.common.scheme.place,
            route,
            tolerance: windows.tolerance,
            replay: windows.replay,
            errors_before,
        };
        let built = self.settings.as_ref()?.check(&entry, diagnostics)?;
        Some(Config {
            descriptor: listed.descriptor()?,
            scheme: built.scheme,
            demand: Demand {
                scheme: listed.name(),
                tolerance: windows.tolerance,
                replay: windows.replay,
                coverage: built.coverage,
                settings: built.settings,
                token: built.token,
                clients: built.clients,
            },
        })
    }

    fn refuse_foreign(&self, listed: &Listed, diagnostics: &mut Diagnostics) {
        for (key, place) in &self.foreign {
            let message = format!(
                "`{key}` is no key of the scheme `{}`, which takes: {}",
                listed.name(),
                listed.settings().keys.join(", ")
            );
            diagnostics.error(*place, message);
        }
    }

    /// How old a request may be, and how long it is remembered.
    fn windows(&self, scheme: Option<&Descriptor>, diagnostics: &mut Diagnostics) -> Windows {
        let (tolerance, replay) = (&self.common.tolerance, &self.common.replay);
        let defaults = scheme.map_or(Some(Windows::USUAL), |scheme| scheme.windows);
        let Some(defaults) = defaults else {
            let name = self.scheme().unwrap_or_default();
            warn_useless(tolerance, name, diagnostics);
            warn_useless(replay, name, diagnostics);
            return Windows {
                tolerance: std::time::Duration::ZERO,
                replay: std::time::Duration::ZERO,
            };
        };
        let windows = Windows {
            tolerance: tolerance.get().map_or(defaults.tolerance, |time| time.0),
            replay: replay.get().map_or(defaults.replay, |time| time.0),
        };
        // A timestamp may be ahead by the tolerance and is then valid for twice as long. A platform that
        // sends again may do so with its first timestamp: there the tolerance is for that.
        let is_sent_once = scheme.is_some_and(|scheme| scheme.redelivery.is_none());
        if is_sent_once && !windows.replay.is_zero() && windows.replay < windows.tolerance * 2 {
            let (path, place) = match replay.is_written() {
                true => (&replay.path, replay.place),
                false => (&tolerance.path, tolerance.place),
            };
            diagnostics.warn(
                path,
                place,
                "leaves a replay gap: a request stays valid for twice the tolerance, but is remembered for less; make `replay` at least twice the `tolerance`",
            );
        }
        windows
    }
}

fn warn_useless<T>(setting: &Setting<T>, scheme: &str, diagnostics: &mut Diagnostics) {
    if setting.is_written() {
        let does = format!("has no effect: {scheme} has neither a timestamp nor an id");
        diagnostics.warn(&setting.path, setting.place, &does);
    }
}
