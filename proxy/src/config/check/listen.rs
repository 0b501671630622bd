//! `listen`: each address once, and certificates that are there.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::pem;
use crate::config::raw::{File, Tls as RawTls};
use crate::config::{Listen, Tls};
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::Placed;

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
    let certificate = pem::certificates(&raw.certificate, diagnostics);
    let key = pem::private_key(&raw.key, diagnostics);
    certificate.and(key.as_ref())?;
    Some(Tls {
        certificate: PathBuf::from(&raw.certificate.value()?.0),
        key: PathBuf::from(&raw.key.value()?.0),
    })
}
