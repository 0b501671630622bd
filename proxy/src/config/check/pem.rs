//! PEM files that a configuration names.

use std::io::Read;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::values::PlainText;

/// A chain of certificates is far smaller.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// The certificates of a file, one at least. No message shows anything of it.
pub(super) fn certificates(
    path: &Setting<PlainText>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = read(path, diagnostics)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Some(certificates),
        _ => {
            diagnostics.error(path.place, "the file holds no certificate in PEM");
            None
        }
    }
}

/// The private key of a file.
pub(super) fn private_key(
    path: &Setting<PlainText>,
    diagnostics: &mut Diagnostics,
) -> Option<PrivateKeyDer<'static>> {
    let bytes = read(path, diagnostics)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).ok();
    if key.is_none() {
        diagnostics.error(path.place, "the file holds no private key in PEM");
    }
    key
}

fn read(path: &Setting<PlainText>, diagnostics: &mut Diagnostics) -> Option<Vec<u8>> {
    let PlainText(text) = path.value()?;
    match read_file(text) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            diagnostics.error(path.place, format!("the file cannot be read: {error}"));
            None
        }
    }
}

fn read_file(path: &str) -> std::io::Result<Vec<u8>> {
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(PEM_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
