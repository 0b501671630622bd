//! The two declarations that raw settings are made of.

use super::decode::Block;
use super::mistake::Findings;
use super::node::Place;
use super::schema::Mapping;

/// A mapping with known keys, as [`settings!`] declares it.
pub(crate) trait Settings: Sized {
    const KEYS: &'static [&'static str];

    /// Reads these keys of a mapping, which may have others beside them.
    fn read(block: &Block<'_>, findings: &mut Findings) -> Self;

    /// Adds these keys to a schema.
    fn describe(mapping: &mut Mapping<'_>);

    /// The keys that stand in the file, with the places of their values.
    fn written(&self) -> Vec<(&'static str, Place)>;
}

/// One word of a closed set.
pub(crate) trait Word {
    /// As the file writes it.
    fn word(self) -> &'static str;
}

/// `r#for` is the key `for`.
pub(crate) const fn key_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// A mapping with known keys. Each key says what it means, its type, and in brackets what happens
/// when it is left out: `required`, `optional`, `guard`, or `default "YAML"`.
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        struct $name:ident {
            $(
                $(#[doc = $key_about:literal])*
                $key:ident: $type:ty [$($presence:tt)+]
            ),+ $(,)?
        }
    ) => {
        $(#[doc = $about])*
        pub(crate) struct $name {
            $(
                $(#[doc = $key_about])*
                pub(crate) $key: $crate::settings::decode::Setting<$type>,
            )+
        }

        impl $crate::settings::declare::Settings for $name {
            const KEYS: &'static [&'static str] =
                &[$($crate::settings::declare::key_name(stringify!($key))),+];

            fn read(
                block: &$crate::settings::decode::Block<'_>,
                findings: &mut $crate::settings::mistake::Findings,
            ) -> Self {
                $name {
                    $(
                        $key: block.setting(
                            $crate::settings::declare::key_name(stringify!($key)),
                            $crate::settings::declare::presence!($($presence)+),
                            findings,
                        ),
                    )+
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
                        $crate::settings::declare::presence!($($presence)+),
                        value,
                    );
                )+
            }

            fn written(&self) -> Vec<(&'static str, $crate::settings::node::Place)> {
                let mut written = Vec::new();
                $(
                    if self.$key.is_written() {
                        let key = $crate::settings::declare::key_name(stringify!($key));
                        written.push((key, self.$key.place));
                    }
                )+
                written
            }
        }

        impl $crate::settings::decode::Decode for $name {
            fn decode(
                node: &$crate::settings::node::Node,
                findings: &mut $crate::settings::mistake::Findings,
            ) -> Option<Self> {
                use $crate::settings::declare::Settings as _;
                let block = $crate::settings::decode::Block::open(node, Self::KEYS, findings)?;
                Some(Self::read(&block, findings))
            }

            fn schema(
                definitions: &mut $crate::settings::schema::Definitions,
            ) -> serde_json::Value {
                let about = concat!($($about),*);
                let describe = <$name as $crate::settings::declare::Settings>::describe;
                definitions.mapping(stringify!($name), about, describe)
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
    (default $text:literal) => {
        $crate::settings::presence::Presence::Default($text)
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

        impl $crate::settings::decode::Scalar for $name {
            fn expected() -> String {
                match Self::WORDS {
                    [one] => format!("`{one}`"),
                    words => format!("one of `{}`", words.join("`, `")),
                }
            }

            fn read(text: &str) -> Result<Self, $crate::settings::decode::Wrong> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(match $crate::settings::decode::nearest(text, Self::WORDS) {
                        Some(near) => $crate::settings::decode::Wrong::Near(near),
                        None => $crate::settings::decode::Wrong::Unexpected,
                    }),
                }
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({"type": "string", "enum": Self::WORDS})
            }
        }
    };
}

pub(crate) use {choice, presence, settings};
