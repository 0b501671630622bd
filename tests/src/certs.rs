//! A certificate authority for one test, and its certificates in files.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

/// A temporary certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// The PEM files of a certificate.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The certificate as a client sees it.
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
    /// A key cannot be generated.
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

    /// A new certificate for `localhost` and 127.0.0.1, in `tls.crt` and `tls.key` in `directory`. Existing files are
    /// replaced atomically, by renaming, the key first.
    ///
    /// # Panics
    /// The files cannot be written.
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

    /// A new certificate, and its key.
    ///
    /// # Panics
    /// A key cannot be generated.
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
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text).expect("a temporary file");
    std::fs::rename(&temporary, path).expect("the file is replaced");
}
