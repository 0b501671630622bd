//! A TLS proxy in front of a server.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::Backend;
use crate::certs::Authority;

impl Backend {
    /// Terminates TLS with a certificate of `authority`, and forwards to `address`.
    ///
    /// # Panics
    /// The certificate cannot be created.
    pub async fn behind_tls(authority: &Authority, address: SocketAddr) -> Self {
        let (leaf, key) = authority.leaf();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .expect("a certificate");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        Backend::raw(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let (Ok(mut client), Ok(mut service)) = (
                    acceptor.accept(stream).await,
                    TcpStream::connect(address).await,
                ) else {
                    return;
                };
                let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
            }
        })
        .await
    }
}
