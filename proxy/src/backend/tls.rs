//! TLS towards `https` endpoints: the certificate authorities that are trusted, and the certificate that weir
//! presents (mutual TLS).

use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsConnector;

/// The TLS settings of a backend, with the contents of their files: equal settings share their connections'
/// state, and a file that was replaced makes them different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Trusted instead of the system's.
    pub roots: Option<TrustedRoots>,
    pub identity: Option<ClientIdentity>,
}

/// The certificate authorities of a file.
#[derive(Clone)]
pub struct TrustedRoots {
    certificates: Arc<[CertificateDer<'static>]>,
    store: Arc<RootCertStore>,
}

/// A client certificate with its key.
#[derive(Clone)]
pub struct ClientIdentity {
    der: Arc<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    resolver: Arc<SingleCertAndKey>,
}

/// Why a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFlaw {
    #[error("one of its certificates cannot be used as a root")]
    InvalidRoot,
    #[error("the key cannot be used for TLS")]
    InvalidKey,
    #[error("the key does not belong to the certificate")]
    OtherKey,
}

impl TrustedRoots {
    /// # Errors
    /// One of them is no certificate authority.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, TlsFlaw> {
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            let added = store.add(certificate.clone());
            added.map_err(|_| TlsFlaw::InvalidRoot)?;
        }
        Ok(TrustedRoots {
            certificates: certificates.into(),
            store: Arc::new(store),
        })
    }
}

impl ClientIdentity {
    /// The certificate with its chain, and its key.
    ///
    /// # Errors
    /// The key cannot be used, or is that of another certificate.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsFlaw> {
        let provider = ring::default_provider();
        let certified = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider);
        let certified = certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsFlaw::OtherKey,
            _ => TlsFlaw::InvalidKey,
        })?;
        Ok(ClientIdentity {
            der: Arc::new((chain, key)),
            resolver: Arc::new(SingleCertAndKey::from(certified)),
        })
    }
}

impl PartialEq for TrustedRoots {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for TrustedRoots {}

impl PartialEq for ClientIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for ClientIdentity {}

impl fmt::Debug for TrustedRoots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.certificates.len();
        write!(formatter, "TrustedRoots({count})")
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientIdentity(..)")
    }
}

/// Begins TLS on connections to `https` endpoints; cloning shares roots and sessions.
#[derive(Clone)]
pub struct TlsClient {
    /// Offers HTTP/2 and HTTP/1.1.
    pub(super) any: TlsConnector,
    /// Offers HTTP/1.1 alone, which upgrades need.
    pub(super) http1: TlsConnector,
}

impl TlsClient {
    fn new(roots: Arc<RootCertStore>, identity: Option<Arc<dyn ResolvesClientCert>>) -> Self {
        // The dependencies bring two providers, so a process must choose one. An error means that it has been chosen.
        let _ = ring::default_provider().install_default();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let config = match identity {
            Some(identity) => builder.with_client_cert_resolver(identity),
            None => builder.with_no_client_auth(),
        };
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        TlsClient {
            any: offering(&[b"h2", b"http/1.1"]),
            http1: offering(&[b"http/1.1"]),
        }
    }
}

/// A [`TlsClient`] for each distinct setting.
#[derive(Clone)]
pub struct TlsClients {
    system_roots: Arc<RootCertStore>,
    clients: Vec<(Option<TlsSettings>, TlsClient)>,
}

impl TlsClients {
    /// Trusts the system's roots (or those of `SSL_CERT_FILE`) where nothing else is configured. Without any, no
    /// `https` endpoint can be reached, which is logged.
    #[must_use]
    pub fn with_system_roots() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (_, ignored) = roots.add_parsable_certificates(found.certs);
        if roots.is_empty() || ignored > 0 {
            log::warn!(
                "{} root certificates of the system are trusted, {ignored} could not be parsed",
                roots.len()
            );
        }
        TlsClients {
            system_roots: Arc::new(roots),
            clients: Vec::new(),
        }
    }

    /// Those of these settings, which are built if they are new; the others are dropped.
    #[must_use]
    pub fn next<'s>(&self, settings: impl Iterator<Item = Option<&'s TlsSettings>>) -> Self {
        let mut next = TlsClients {
            system_roots: self.system_roots.clone(),
            clients: Vec::new(),
        };
        for settings in settings {
            if next.known(settings).is_none() {
                let client = self.get(settings);
                next.clients.push((settings.cloned(), client));
            }
        }
        next
    }

    /// The one with these settings.
    #[must_use]
    pub fn get(&self, settings: Option<&TlsSettings>) -> TlsClient {
        if let Some(known) = self.known(settings) {
            return known.clone();
        }
        let roots = settings.and_then(|settings| settings.roots.as_ref());
        let roots = roots.map_or(&self.system_roots, |roots| &roots.store);
        let identity = settings.and_then(|settings| settings.identity.as_ref());
        let identity = identity.map(|identity| identity.resolver.clone() as _);
        TlsClient::new(roots.clone(), identity)
    }

    fn known(&self, settings: Option<&TlsSettings>) -> Option<&TlsClient> {
        let mut clients = self.clients.iter();
        let known = clients.find(|(known, _)| known.as_ref() == settings);
        known.map(|(_, client)| client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_shared(one: &TlsClient, other: &TlsClient) -> bool {
        Arc::ptr_eq(one.any.config(), other.any.config())
    }

    #[test]
    fn equal_settings_share_a_client_also_across_generations() {
        let own = TlsSettings {
            roots: Some(TrustedRoots::new(Vec::new()).expect("valid")),
            identity: None,
        };
        // As it is read again from the same file.
        let equal = TlsSettings {
            roots: Some(TrustedRoots::new(Vec::new()).expect("valid")),
            identity: None,
        };
        let first =
            TlsClients::with_system_roots().next([None, Some(&own), Some(&equal)].into_iter());
        assert_eq!(first.clients.len(), 2);
        assert!(is_shared(&first.get(Some(&own)), &first.get(Some(&equal))));
        assert!(!is_shared(&first.get(Some(&own)), &first.get(None)));
        let next = first.next([Some(&equal)].into_iter());
        assert_eq!(next.clients.len(), 1);
        assert!(is_shared(&first.get(Some(&own)), &next.get(Some(&equal))));
    }

    #[test]
    fn upgrades_offer_http1_alone() {
        let client = TlsClients::with_system_roots().get(None);
        assert_eq!(
            client.any.config().alpn_protocols,
            [&b"h2"[..], b"http/1.1"]
        );
        assert_eq!(client.http1.config().alpn_protocols, [b"http/1.1"]);
    }
}
