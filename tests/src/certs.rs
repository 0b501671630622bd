//! A certificate authority for one test, and leaves of it in files.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

/// A throw-away authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// The PEM files of one leaf.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// What a client sees of it.
    pub leaf: CertificateDer<'static>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// # Panics
    /// When no key can be made.
    #[must_use]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).expect("a root certificate");
        Authority {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(parameters, key),
        }
    }

    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A new leaf for `localhost` and 127.0.0.1, in `tls.crt` and `tls.key` under `directory`. Files
    /// of an earlier leaf are replaced as a careful operator does it: written beside, then renamed,
    /// the key first.
    ///
    /// # Panics
    /// When the files cannot be written.
    #[must_use]
    pub fn issue(&self, directory: &Path) -> Files {
        let (leaf, key) = self.leaf();
        let files = Files {
            certificate: directory.join("tls.crt"),
            key: directory.join("tls.key"),
            leaf: leaf.der().clone(),
        };
        replace(&files.key, &key.serialize_pem());
        replace(&files.certificate, &leaf.pem());
        files
    }

    /// A new leaf, and its key.
    ///
    /// # Panics
    /// When no key can be made.
    #[must_use]
    pub fn leaf(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let leaf = CertificateParams::new(names)
            .expect("two names")
            .signed_by(&key, &self.issuer)
            .expect("a leaf");
        (leaf, key)
    }
}

fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).expect("a file beside");
    std::fs::rename(&beside, path).expect("the file is replaced");
}
