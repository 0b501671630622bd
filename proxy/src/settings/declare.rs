//! The two macros that declare raw settings.

use super::changes::{Comparison, Effect};
use super::decode::{Block, Invalid};
use super::diagnostic::Diagnostics;
use super::nearest::nearest;
use super::node::{FilePosition, YamlNode};
use super::presence::Presence;
use super::schema::Mapping;

/// A mapping with known keys, as [`settings!`] declares it.
pub(crate) trait Settings: Sized {
    /// The keys that are declared.
    const KEYS: &'static [&'static str];

    /// All keys, those of a [`KeyFamily`] among them.
    fn keys() -> Vec<&'static str>;

    /// Decodes these keys of a mapping, which may have others, too.
    fn read(block: &Block<'_>, diagnostics: &mut Diagnostics) -> Self;

    /// Adds these keys to a schema.
    fn describe(mapping: &mut Mapping<'_>);

    /// Notes those of these keys in which two mappings differ.
    fn compare_keys(old: &YamlNode, new: &YamlNode, comparison: &mut Comparison);

    /// The keys that are in the file, with the positions of their values.
    fn written(&self) -> Vec<(&'static str, FilePosition)>;
}

/// Keys that are not declared one by one: one for each descriptor of a list.
pub(crate) trait KeyFamily: Sized {
    fn keys() -> Vec<&'static str>;

    fn decode(block: &Block<'_>, diagnostics: &mut Diagnostics) -> Self;

    fn schema(mapping: &mut Mapping<'_>);

    /// Adds the keys that are in the file, with the positions of their values.
    fn written(&self, written: &mut Vec<(&'static str, FilePosition)>);

    /// Whether a value that is written instead of the mapping may be quoted: none of these keys is secret.
    const MAY_BE_QUOTED: bool = false;

    /// When a change of one of them takes effect.
    const EFFECT: Effect;

    /// Notes those of these keys in which two mappings differ.
    fn compare_keys(old: &YamlNode, new: &YamlNode, comparison: &mut Comparison) {
        for key in Self::keys() {
            let kind = (Presence::Optional, Self::EFFECT);
            comparison.key((old, new), key, kind, |old, new, comparison| {
                if !old.is_equal(new) {
                    comparison.changed();
                }
            });
        }
    }
}

/// One word of a closed set.
pub(crate) trait Word {
    /// As it is written in the file.
    fn word(self) -> &'static str;
}

/// `r#for` is the key `for`.
pub(crate) const fn key_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// The expected value where a word of a closed set is required.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [one] => format!("`{one}`"),
        words => format!("one of `{}`", words.join("`, `")),
    }
}

/// `a, b or c`.
pub(crate) fn alternatives(words: &[&str]) -> String {
    match words {
        [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        words => words.concat(),
    }
}

/// The error for a text that is none of these words.
pub(crate) fn unknown(text: &str, words: &[&'static str]) -> Invalid {
    nearest(text, words).map_or(Invalid::Unexpected, Invalid::Near)
}

/// A mapping with known keys. Each key has a description, a type, and in brackets the effect of
/// leaving it out: `required`, `optional`, `guard`, or `default "YAML"`; then whether a change of it takes
/// effect by a `reload` or needs a `restart`. A [`KeyFamily`] may give more keys.
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        struct $name:ident {
            $(
                $(#[doc = $key_about:literal])*
                $key:ident: $type:ty [$($presence:tt)+] $effect:ident
            ),+ $(,)?
            $(..$family:ident: $family_type:ty)?
        }
    ) => {
        $(#[doc = $about])*
        pub(crate) struct $name {
            $(
                $(#[doc = $key_about])*
                pub(crate) $key: $crate::settings::decode::Setting<$type>,
            )+
            $(pub(crate) $family: $family_type,)?
        }

        impl $crate::settings::declare::Settings for $name {
            const KEYS: &'static [&'static str] =
                &[$($crate::settings::declare::key_name(stringify!($key))),+];

            fn keys() -> Vec<&'static str> {
                let keys = Self::KEYS.iter().copied();
                $(let keys = keys.chain(<$family_type as $crate::settings::declare::KeyFamily>::keys());)?
                keys.collect()
            }

            fn read(
                block: &$crate::settings::decode::Block<'_>,
                diagnostics: &mut $crate::settings::diagnostic::Diagnostics,
            ) -> Self {
                $name {
                    $(
                        $key: block.setting(
                            $crate::settings::declare::key_name(stringify!($key)),
                            $crate::settings::declare::presence!($($presence)+),
                            diagnostics,
                        ),
                    )+
                    $($family: $crate::settings::declare::KeyFamily::decode(block, diagnostics),)?
                }
            }

            fn describe(mapping: &mut $crate::settings::schema::Mapping<'_>) {
                $(
                    let value = <$type as $crate::settings::decode::Decode>::schema(
                        mapping.definitions(),
                    );
                    mapping.key(
                        $crate::settings::declare::key_name(stringify!($key)),
                        concat!($($key_about),*),
                        (
                            $crate::settings::declare::presence!($($presence)+),
                            $crate::settings::declare::effect!($effect),
                        ),
                        value,
                    );
                )+
                $(<$family_type as $crate::settings::declare::KeyFamily>::schema(mapping);)?
            }

            fn compare_keys(
                old: &$crate::settings::node::YamlNode,
                new: &$crate::settings::node::YamlNode,
                comparison: &mut $crate::settings::changes::Comparison,
            ) {
                $(
                    comparison.key(
                        (old, new),
                        $crate::settings::declare::key_name(stringify!($key)),
                        (
                            $crate::settings::declare::presence!($($presence)+),
                            $crate::settings::declare::effect!($effect),
                        ),
                        <$type as $crate::settings::decode::Decode>::compare,
                    );
                )+
                $(
                    <$family_type as $crate::settings::declare::KeyFamily>::compare_keys(
                        old, new, comparison,
                    );
                )?
            }

            fn written(&self) -> Vec<(&'static str, $crate::settings::node::FilePosition)> {
                let mut written = Vec::new();
                $(
                    if self.$key.is_written() {
                        let key = $crate::settings::declare::key_name(stringify!($key));
                        written.push((key, self.$key.place));
                    }
                )+
                $($crate::settings::declare::KeyFamily::written(&self.$family, &mut written);)?
                written
            }
        }

        impl $crate::settings::decode::Decode for $name {
            fn decode(
                node: &$crate::settings::node::YamlNode,
                diagnostics: &mut $crate::settings::diagnostic::Diagnostics,
            ) -> Option<Self> {
                use $crate::settings::declare::Settings as _;
                let block = $crate::settings::decode::Block::open(node, &Self::keys(), diagnostics);
                if block.is_none() {
                    diagnostics.spans.show_if(node, Self::may_be_quoted);
                }
                Some(Self::read(&block?, diagnostics))
            }

            fn may_be_quoted(scalar: &$crate::settings::node::Scalar) -> bool {
                true
                    $(&& <$type as $crate::settings::decode::Decode>::may_be_quoted(scalar))+
                    $(&& <$family_type as $crate::settings::declare::KeyFamily>::MAY_BE_QUOTED)?
            }

            fn schema(
                definitions: &mut $crate::settings::schema::Definitions,
            ) -> serde_json::Value {
                let about = concat!($($about),*);
                let describe = <$name as $crate::settings::declare::Settings>::describe;
                definitions.mapping(stringify!($name), about, describe)
            }

            fn compare(
                old: &$crate::settings::node::YamlNode,
                new: &$crate::settings::node::YamlNode,
                comparison: &mut $crate::settings::changes::Comparison,
            ) {
                <$name as $crate::settings::declare::Settings>::compare_keys(old, new, comparison);
            }
        }
    };
}

macro_rules! presence {
    (required) => {
        $crate::settings::presence::Presence::Required
    };
    (optional) => {
        $crate::settings::presence::Presence::Optional
    };
    (guard) => {
        $crate::settings::presence::Presence::Guard
    };
    (default $text:expr) => {
        $crate::settings::presence::Presence::Default($text)
    };
}

macro_rules! effect {
    (reload) => {
        $crate::settings::changes::Effect::Reload
    };
    (restart) => {
        $crate::settings::changes::Effect::Restart
    };
}

/// One word of a closed set.
macro_rules! choice {
    (
        $(#[doc = $about:literal])*
        enum $name:ident {
            $($variant:ident = $word:literal),+ $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($variant),+
        }

        impl $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl $crate::settings::declare::Word for $name {
            fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word),+
                }
            }
        }

        impl $crate::settings::decode::FromScalar for $name {
            fn expected() -> String {
                $crate::settings::declare::one_of(Self::WORDS)
            }

            fn read(text: &str) -> Result<Self, $crate::settings::decode::Invalid> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err($crate::settings::declare::unknown(text, Self::WORDS)),
                }
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({"type": "string", "enum": Self::WORDS})
            }
        }
    };
}

pub(crate) use {choice, effect, presence, settings};
