//! The settings of `feishu`, and their check.

use std::sync::Arc;

use secrecy::SecretString;

use super::{EncryptKey, Feishu, Token, envelope};
use crate::settings::declare::settings;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::List;
use crate::settings::node::FilePosition;
use crate::settings::values::SecretText;
use crate::signature::demand::Coverage;
use crate::signature::error::SchemeError;
use crate::signature::keys::{client_keys, secrets};
use crate::signature::scheme::{Built, RawScheme, SchemeEntry};
use crate::signature::secret::{HashedSecret, non_empty};

settings! {
    /// Event subscriptions of Feishu and Lark.
    struct Settings {
        /// Encrypt keys; any of them is valid, for rotation.
        secrets: List<SecretText, 1> [guard] reload,
        /// feishu, feishu_card, meta: the token of the platform's console.
        verification_token: SecretText [optional] reload,
    }
}

impl RawScheme for Settings {
    fn check(&self, entry: &SchemeEntry<'_>, diagnostics: &mut Diagnostics) -> Option<Built> {
        let is_present = !self.secrets.is_absent() || !self.verification_token.is_absent();
        let what = "`secrets` (encrypt keys) or a `verification_token`";
        entry.need(is_present, what, diagnostics);
        let encrypt_keys = secrets(&self.secrets, diagnostics);
        entry.built(self.build(entry, &encrypt_keys), diagnostics)
    }

    fn written(&self) -> Vec<(&'static str, FilePosition)> {
        crate::settings::declare::Settings::written(self)
    }
}

impl Settings {
    fn build(
        &self,
        entry: &SchemeEntry<'_>,
        encrypt_keys: &[SecretString],
    ) -> Result<Built, SchemeError> {
        let token = self.verification_token.value();
        let token = token.map(SecretText::expose_secret);
        let token = token.filter(|token| !token.is_empty());
        let keys = match encrypt_keys {
            [] if token.is_none() => return Err(SchemeError::NoToken),
            [] => Vec::new(),
            keys => non_empty(keys, super::NAME)?,
        };
        let client = entry.client();
        let proved = match (&keys[..], token) {
            ([], Some(token)) => client_keys(&client, &[(0, token)]),
            (keys, _) => client_keys(&client, keys),
        };
        // Without an encrypt key a token in the body is all there is.
        let (coverage, settings) = match keys.is_empty() {
            true => (Coverage::KeyAlone, "verification token"),
            false => (Coverage::Body, "encrypt keys"),
        };
        let token = token.map(|token| Token {
            hashed: HashedSecret::of(token.as_bytes()),
            text: SecretString::from(token),
        });
        let keys = keys.into_iter().map(|(position, text)| EncryptKey {
            position,
            text: SecretString::from(text),
            decryption: envelope::decryption_key(text),
        });
        let hashed = token.as_ref().map(|token| token.hashed);
        let scheme = Feishu {
            keys: keys.collect(),
            token,
            client,
            tolerance: entry.tolerance,
            replay: entry.replay,
        };
        Ok(Built {
            scheme: Arc::new(scheme),
            coverage,
            settings: settings.to_owned(),
            token: hashed,
            clients: vec![proved],
        })
    }
}
