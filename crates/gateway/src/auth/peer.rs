//! The workload at the other end of a TLS connection (X.509-SVID §2 to §5).

use cordon_core::{Digest, SpiffeId};
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

/// A workload whose certificate the TLS layer verified against the configured authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    workload: SpiffeId,
    thumbprint: Digest,
}

/// A verified certificate does not name a workload of this trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPeer {
    /// It cannot be read.
    #[error("the client's certificate cannot be read")]
    Unreadable,
    /// A workload's certificate has one URI and no more (X.509-SVID §2).
    #[error("the client's certificate has {0} URIs, expected one")]
    Uris(usize),
    /// The URI is no workload's name.
    #[error(transparent)]
    Name(#[from] cordon_core::InvalidSpiffeId),
    /// It is of another trust domain than the authority is trusted for.
    #[error("the workload `{got}` is not of the trust domain `{want}`")]
    Domain {
        /// The workload.
        got: SpiffeId,
        /// The trust domain.
        want: Box<str>,
    },
}

impl Peer {
    /// The workload that a certificate names. Only for certificates that the TLS layer verified.
    pub fn of(certificate: &CertificateDer<'_>, trust_domain: &str) -> Result<Self, InvalidPeer> {
        let parsed = EndEntityCert::try_from(certificate).map_err(|_| InvalidPeer::Unreadable)?;
        let uris: Vec<&str> = parsed.valid_uri_names().collect();
        let [uri] = uris.as_slice() else { return Err(InvalidPeer::Uris(uris.len())) };
        let workload: SpiffeId = uri.parse()?;
        if workload.trust_domain() != trust_domain {
            return Err(InvalidPeer::Domain { got: workload, want: trust_domain.into() });
        }
        Ok(Self { workload, thumbprint: Digest::of(certificate) })
    }

    /// The workload's name.
    pub fn workload(&self) -> &SpiffeId {
        &self.workload
    }

    /// SHA-256 of the certificate, as tokens are bound to it (RFC 8705 §3.1).
    pub fn thumbprint(&self) -> Digest {
        self.thumbprint
    }
}
