//! A TLS proxy in front of servers.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;

use super::Backend;
use crate::certs::Authority;

/// What a TLS proxy forwards to, by the protocol that it negotiates.
#[derive(Clone, Copy, Debug)]
pub struct TlsTargets {
    pub http1: Option<SocketAddr>,
    pub http2: Option<SocketAddr>,
}

impl Backend {
    /// Terminates TLS with a certificate of `authority`, and forwards to `address`. It knows no ALPN.
    ///
    /// # Panics
    /// The certificate cannot be created.
    pub async fn behind_tls(authority: &Authority, address: SocketAddr) -> Self {
        Self::terminating(tls_config(authority, None), move |_| Some(address)).await
    }

    /// As [`Backend::behind_tls`], with the protocols of its targets; HTTP/2 is preferred.
    ///
    /// # Panics
    /// The certificate cannot be created.
    pub async fn behind_alpn(authority: &Authority, targets: TlsTargets) -> Self {
        let mut config = tls_config(authority, None);
        let offered = [("h2", targets.http2), ("http/1.1", targets.http1)];
        let offered = offered.into_iter().filter(|(_, target)| target.is_some());
        config.alpn_protocols = offered.map(|(name, _)| name.into()).collect();
        Self::terminating(config, move |protocol| match protocol {
            Some(b"h2") => targets.http2,
            _ => targets.http1,
        })
        .await
    }

    /// As [`Backend::behind_tls`], for clients with a certificate of `clients` only.
    ///
    /// # Panics
    /// The certificate cannot be created.
    pub async fn behind_mutual_tls(
        authority: &Authority,
        clients: &Authority,
        address: SocketAddr,
    ) -> Self {
        Self::terminating(tls_config(authority, Some(clients)), move |_| Some(address)).await
    }

    async fn terminating(
        config: rustls::ServerConfig,
        target: impl Fn(Option<&[u8]>) -> Option<SocketAddr> + Clone + Send + Sync + 'static,
    ) -> Self {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        Backend::raw(move |stream| {
            let (acceptor, target) = (acceptor.clone(), target.clone());
            async move {
                let Ok(mut client) = acceptor.accept(stream).await else {
                    return;
                };
                let Some(address) = target(client.get_ref().1.alpn_protocol()) else {
                    return;
                };
                if let Ok(mut service) = TcpStream::connect(address).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
                }
            }
        })
        .await
    }
}

fn tls_config(authority: &Authority, clients: Option<&Authority>) -> rustls::ServerConfig {
    let (leaf, key) = authority.leaf();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = rustls::RootCertStore::empty();
            let root = clients.certificate().clone();
            roots.add(root).expect("the authority's certificate");
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    builder
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("a certificate")
}
