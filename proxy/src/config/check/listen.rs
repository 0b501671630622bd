//! `listen`: each address once, and certificates that are there.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::raw::{File, Tls as RawTls};
use crate::config::{Listen, Tls};
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::Placed;
use crate::settings::values::PlainText;

/// A chain of certificates is far smaller.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// What a PEM file must hold.
#[derive(Clone, Copy)]
enum Holds {
    Certificate,
    PrivateKey,
}

pub(super) fn check(file: &File, diagnostics: &mut Diagnostics) -> Option<Vec<Listen>> {
    let mut listen = Vec::new();
    let mut taken: Vec<SocketAddr> = Vec::new();
    for Placed { value: raw, .. } in &file.listen.value()?.0 {
        let tls = raw.tls.value().map(|tls| self::tls(tls, diagnostics));
        let Some(address) = raw.address.get() else {
            continue;
        };
        if address.port() != 0 && taken.contains(&address) {
            let message = "this address is already used by another listener";
            diagnostics.error(raw.address.place, message);
        }
        taken.push(address);
        match tls {
            None => listen.push(Listen { address, tls: None }),
            Some(Some(tls)) => listen.push(Listen {
                address,
                tls: Some(tls),
            }),
            Some(None) => {}
        }
    }
    Some(listen)
}

fn tls(raw: &RawTls, diagnostics: &mut Diagnostics) -> Option<Tls> {
    let certificate = pem_file(&raw.certificate, Holds::Certificate, diagnostics);
    let key = pem_file(&raw.key, Holds::PrivateKey, diagnostics);
    Some(Tls {
        certificate: certificate?,
        key: key?,
    })
}

/// A file that may be read and holds what it should. No message shows anything of it.
fn pem_file(
    path: &Setting<PlainText>,
    holds: Holds,
    diagnostics: &mut Diagnostics,
) -> Option<PathBuf> {
    let PlainText(text) = path.value()?;
    let bytes = match read(text) {
        Ok(bytes) => bytes,
        Err(error) => {
            diagnostics.error(path.place, format!("the file cannot be read: {error}"));
            return None;
        }
    };
    let (is_held, what) = match holds {
        Holds::Certificate => (
            CertificateDer::from_pem_slice(&bytes).is_ok(),
            "certificate",
        ),
        Holds::PrivateKey => (PrivateKeyDer::from_pem_slice(&bytes).is_ok(), "private key"),
    };
    if !is_held {
        diagnostics.error(path.place, format!("the file holds no {what} in PEM"));
        return None;
    }
    Some(PathBuf::from(text))
}

fn read(path: &str) -> std::io::Result<Vec<u8>> {
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
