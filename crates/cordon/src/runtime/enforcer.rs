//! What enforces: the program, its policies, its configuration and its kernel, put on record at every
//! start and change, quoted by a TPM where there is one.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::OnceLock;

use cordon_core::{Digest, Hasher};
use cordon_guard::{AdminAct, Enforcer, Quoted};
use cordon_store::tpm::{self, Tpm};

use super::owner::Owner;
use crate::cli::{Failure, machine_findings};
use crate::term;

impl Owner {
    /// Puts on record what enforces from now on.
    pub(super) async fn attest(&self, author: &str) -> Result<(), Failure> {
        let enforcer = Enforcer {
            version: env!("CARGO_PKG_VERSION").into(),
            binary: binary()?,
            bundle: self.guard.policies().set.digest(),
            config: self.config.digest,
            machine: machine_findings().clone(),
        };
        let digest = enforcer.digest();
        let quoted = quote(&digest);
        let act = AdminAct::Enforcer { before: self.known_digest("enforcer"), enforcer, quoted };
        self.guard.administer(act, author).await?;
        self.remember("enforcer", digest);
        Ok(())
    }
}

/// The digest of the running program. The kernel keeps a running program's file from being written.
fn binary() -> io::Result<Digest> {
    static BINARY: OnceLock<Digest> = OnceLock::new();
    if let Some(digest) = BINARY.get() {
        return Ok(*digest);
    }
    let mut file = File::open("/proc/self/exe")?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            came => {
                hasher.update(buffer.get(..came).unwrap_or_default());
            }
        }
    }
    Ok(*BINARY.get_or_init(|| hasher.finish()))
}

/// A TPM's quote over the digest. Where there is none, or it does not work, the record says so.
fn quote(digest: &Digest) -> Quoted {
    let quote = Tpm::device(Path::new(tpm::DEVICE)).and_then(|found| match found {
        Some(mut tpm) => tpm.quote(digest.as_bytes()).map(Some),
        None => Ok(None),
    });
    match quote {
        Ok(Some(quote)) => {
            Quoted::Yes { attest: quote.attest, signature: quote.signature.to_vec(), key: quote.key.to_vec() }
        }
        Ok(None) => Quoted::NoTpm,
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            term::note(format_args!("cordon: no TPM quote: {error}{cause}"));
            Quoted::Failed
        }
    }
}
