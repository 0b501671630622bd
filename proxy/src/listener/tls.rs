//! TLS certificates of the listeners, reloaded when their files change.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::config::Tls;

pub(crate) mod expiry;

/// Provides each handshake with the certificate that was loaded last.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: Tls,
    current: ArcSwap<CertifiedKey>,
    read_at: parking_lot::Mutex<Stamp>,
}

/// The modification times of both files: a difference means a change.
type Stamp = (Option<SystemTime>, Option<SystemTime>);

impl Certificates {
    /// Reads the pair of files.
    ///
    /// # Errors
    /// A file that cannot be read or contains no certificate or key, or a key that does not match.
    pub(crate) fn load(files: &Tls) -> anyhow::Result<Arc<Self>> {
        let stamp = stamp(files);
        Ok(Arc::new(Certificates {
            current: ArcSwap::from_pointee(read(files)?),
            files: files.clone(),
            read_at: parking_lot::Mutex::new(stamp),
        }))
    }

    /// Reloads the files when they have changed. If the new pair is invalid (or half-written), the current one stays in
    /// use, and loading is attempted again.
    pub(crate) fn refresh(&self) {
        let now = stamp(&self.files);
        if *self.read_at.lock() == now {
            return;
        }
        match read(&self.files) {
            Ok(pair) => {
                self.current.store(Arc::new(pair));
                *self.read_at.lock() = now;
                log::info!(
                    "reloaded the certificate {}",
                    self.files.certificate.display()
                );
            }
            Err(error) => {
                log::warn!(
                    "cannot reload the certificate; the current one stays in use: {error:#}"
                );
            }
        }
    }
}

impl Certificates {
    /// When the certificate in use expires, in seconds since the Unix epoch (RFC 5280, section
    /// 4.1.2.5); `None` if it cannot be parsed.
    pub(crate) fn not_after(&self) -> Option<i64> {
        let current = self.current.load();
        let (_, certificate) = X509Certificate::from_der(current.cert.first()?).ok()?;
        Some(certificate.validity().not_after.timestamp())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn stamp(files: &Tls) -> Stamp {
    let changed = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
    };
    (changed(&files.certificate), changed(&files.key))
}

fn read(files: &Tls) -> anyhow::Result<CertifiedKey> {
    let path = files.certificate.display();
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read the certificate {path}"))?;
    anyhow::ensure!(!chain.is_empty(), "no certificate in {path}");
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("cannot read the key {}", files.key.display()))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).with_context(|| {
        format!(
            "the key {} does not match the certificate {path}",
            files.key.display()
        )
    })
}
