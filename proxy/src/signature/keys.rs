//! Settings that several schemes share: secrets, and named clients with secrets of their own.

use std::sync::Arc;

use secrecy::SecretString;

use super::demand::ClientKeys;
use super::scheme::SchemeEntry;
use super::secret::HashedSecret;
use crate::settings::declare::settings;
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::{List, Placed, refuse_duplicates};
use crate::settings::secret::is_example;
use crate::settings::values::{SecretText, Slug};

settings! {
    /// A client and its secrets.
    struct Client {
        /// Its name in limits, cache scope and events.
        name: Slug [required] reload,
        /// Secrets; any of them is valid, for rotation.
        secrets: List<SecretText, 1> [required] reload,
    }
}

const SECRET_CHARACTERS_MIN: usize = 16;

pub(super) type Secrets = Setting<List<SecretText, 1>>;
pub(super) type Clients = Setting<List<Client, 1>>;

/// A named client and its secrets: any of them is valid, for rotation.
pub(super) struct NamedClient {
    pub(super) name: Arc<str>,
    pub(super) secrets: Vec<SecretString>,
}

impl NamedClient {
    /// For messages.
    pub(super) fn described(&self) -> String {
        format!("client {:?}", self.name)
    }
}

/// A list of secrets, in the order of the file. Warns about short ones.
pub(super) fn secrets(setting: &Secrets, diagnostics: &mut Diagnostics) -> Vec<SecretString> {
    warn_of_short(setting, diagnostics);
    list(setting.value())
}

/// A shorter secret can be guessed from one signed request. Example secrets have their own warning.
fn warn_of_short(setting: &Secrets, diagnostics: &mut Diagnostics) {
    let secrets = setting.value().map_or(&[][..], |list| &list.0);
    for (position, Placed { place, value }) in secrets.iter().enumerate() {
        let secret = value.expose_secret();
        if !is_example(secret) && secret.chars().count() < SECRET_CHARACTERS_MIN {
            let path = format!("{}[{position}]", setting.path);
            let does = format!(
                "is shorter than {SECRET_CHARACTERS_MIN} characters and can be guessed; generate one, for example \
                 with `openssl rand -base64 24`"
            );
            diagnostics.warn(&path, *place, &does);
        }
    }
}

fn list(list: Option<&List<SecretText, 1>>) -> Vec<SecretString> {
    let secrets = list.map_or(&[][..], |list| &list.0).iter();
    secrets
        .map(|secret| SecretString::from(secret.value.expose_secret()))
        .collect()
}

/// A client called `name`, with hashes of its keys.
pub(super) fn client_keys<'a>(
    name: &Arc<str>,
    keys: impl IntoIterator<Item = &'a (usize, &'a str)>,
) -> ClientKeys {
    let keys = keys.into_iter();
    ClientKeys {
        name: name.clone(),
        keys: keys
            .map(|(position, key)| (*position, HashedSecret::of(key.as_bytes())))
            .collect(),
    }
}

/// The keys `clients` and `secrets` of a scheme that takes either.
pub(super) struct ClientSettings<'s> {
    pub(super) clients: &'s Clients,
    pub(super) secrets: &'s Secrets,
}

impl<'s> ClientSettings<'s> {
    /// The named clients, or one with the name of the route.
    pub(super) fn check(
        &self,
        entry: &SchemeEntry<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Vec<NamedClient>> {
        for secrets in self.lists() {
            warn_of_short(secrets, diagnostics);
        }
        let has_secrets = !self.secrets.is_absent();
        let has_clients = !self.clients.is_absent();
        entry.need(
            has_secrets || has_clients,
            "`clients` or `secrets`",
            diagnostics,
        );
        if has_secrets && has_clients {
            let message = "`secrets` defines a single client; use either `secrets` or `clients`";
            diagnostics.error(self.secrets.place, message);
        }
        let Some(clients) = self.clients.value() else {
            return self.secrets.value().map(|secrets| {
                vec![NamedClient {
                    name: entry.client(),
                    secrets: list(Some(secrets)),
                }]
            });
        };
        let named = clients
            .0
            .iter()
            .filter_map(|at| Some((at.value.name.value()?.0.as_str(), at.value.name.place)));
        refuse_duplicates("client of this scheme", named, diagnostics);
        let client = |at: &Placed<Client>| {
            Some(NamedClient {
                name: Arc::from(at.value.name.value()?.0.as_str()),
                secrets: list(Some(at.value.secrets.value()?)),
            })
        };
        clients.0.iter().map(client).collect()
    }

    /// Every list of secrets.
    pub(super) fn lists(&self) -> impl Iterator<Item = &'s Secrets> {
        let of_clients = self.clients.value().map_or(&[][..], |clients| &clients.0);
        let lists = of_clients.iter().map(|at| &at.value.secrets);
        lists.chain(std::iter::once(self.secrets))
    }

    /// Every secret.
    pub(super) fn all(&self) -> impl Iterator<Item = &'s Placed<SecretText>> {
        let lists = self.lists().filter_map(Setting::value);
        lists.flat_map(|list| &list.0)
    }
}
