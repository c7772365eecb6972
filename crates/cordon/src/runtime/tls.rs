//! TLS for the network listener, from PEM files.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio_rustls::TlsAcceptor;

use crate::cli::Failure;
use crate::config::{Spiffe, Tls};

/// What turns a connection into a TLS one: TLS 1.2 and 1.3, HTTP/1.1. With `spiffe`, clients are asked
/// for a certificate of its authorities; one that does not verify ends the connection.
pub(super) fn acceptor(files: &Tls, spiffe: Option<&Spiffe>) -> Result<TlsAcceptor, Failure> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| failed("certificate", &files.cert, &error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| failed("private key", &files.key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = match spiffe {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(spiffe) => client_verifier(spiffe, &provider)?,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| failed("certificate", &files.cert, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn client_verifier(
    spiffe: &Spiffe,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Failure> {
    let what = "client authorities";
    let authorities: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&spiffe.ca)
        .and_then(Iterator::collect)
        .map_err(|error| failed(what, &spiffe.ca, &error))?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| failed(what, &spiffe.ca, &error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = if spiffe.required { verifier } else { verifier.allow_unauthenticated() };
    verifier.build().map_err(|error| failed(what, &spiffe.ca, &error))
}

fn failed(what: &str, file: &std::path::Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("cannot use the {what} `{}`: {error}", file.display()))
}
