//! A TPM 2.0 quote over what enforces: commands written straight to the device.
//!
//! Three commands of the TPM 2.0 Library specification, Part 3: `TPM2_CreatePrimary` (§24.1) makes the
//! same restricted P-256 signing key at every start from the endorsement seed, `TPM2_Quote` (§18.4)
//! signs PCRs 0 to 7 and 32 bytes of ours, `TPM2_FlushContext` (§28.4) lets the key go. Structures are
//! those of Part 2. The quote says that this TPM saw these bytes in this boot; it says who the machine is
//! only to somebody who knows the key, which is part of the quote.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

/// The kernel's access to the TPM, which keeps its users apart.
pub const DEVICE: &str = "/dev/tpmrm0";

/// How long a TPM behind a socket may take for one command.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest response that is read, in bytes.
const RESPONSE_BYTES_MAX: usize = 4_096;

const TAG_PLAIN: u16 = 0x8001;
const TAG_SESSIONS: u16 = 0x8002;
const CREATE_PRIMARY: u32 = 0x0000_0131;
const QUOTE: u32 = 0x0000_0158;
const FLUSH_CONTEXT: u32 = 0x0000_0165;
const ENDORSEMENT: u32 = 0x4000_000b;
const PASSWORD: u32 = 0x4000_0009;
const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
const CURVE_P256: u16 = 0x0003;
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign.
const RESTRICTED_SIGNER: u32 = 0x0005_0072;
/// Warnings after which the same command is sent again (Part 2 §6.6.3).
const YIELDED: u32 = 0x908;
const TESTING: u32 = 0x90a;
const RETRY: u32 = 0x922;
const TRIES_MAX: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);
const GENERATED: u32 = 0xff54_4347;
const ATTEST_QUOTE: u16 = 0x8018;

/// A signed quote, and the key that signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The signed bytes: a `TPMS_ATTEST`.
    pub attest: Vec<u8>,
    /// The ECDSA signature over their SHA-256: r and s, 32 bytes each.
    pub signature: [u8; 64],
    /// The P-256 point of the key: x and y, 32 bytes each.
    pub key: [u8; 64],
}

/// There is no quote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TpmError {
    /// The device cannot be used.
    #[error("the TPM cannot be used")]
    Io(#[from] io::Error),
    /// The TPM refused a command.
    #[error("the TPM answered {doing} with code {code:#x}")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// The response code (Part 2 §6.6).
        code: u32,
    },
    /// The response does not have the shape that the specification gives it.
    #[error("the TPM's response to {0} is malformed")]
    Malformed(&'static str),
    /// The quote does not hold.
    #[error("the quote does not hold: {0}")]
    Unsound(&'static str),
}

/// A connection to a TPM.
#[derive(Debug)]
pub struct Tpm<T>(T);

impl Tpm<std::fs::File> {
    /// The TPM behind a device file; `None` if there is none.
    pub fn device(path: &Path) -> Result<Option<Self>, TpmError> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Ok(Some(Self(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Tpm<UnixStream> {
    /// The TPM behind a socket that takes commands as they are, such as `swtpm socket --server type=unixio`.
    pub fn socket(path: &Path) -> Result<Self, TpmError> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }
}

impl<T: Read + Write> Tpm<T> {
    /// The TPM at the other end of `stream`, which takes commands as they are.
    pub const fn over(stream: T) -> Self {
        Self(stream)
    }

    /// Quotes PCRs 0 to 7 with `data`, and checks the quote before it is given out.
    pub fn quote(&mut self, data: &[u8; 32]) -> Result<Quote, TpmError> {
        let (handle, key) = self.create_signer()?;
        let signed = self.sign(handle, data);
        let mut flush = Vec::new();
        flush.extend_from_slice(&handle.to_be_bytes());
        let flushed = self.command("TPM2_FlushContext", TAG_PLAIN, FLUSH_CONTEXT, &flush);
        let (attest, signature) = signed?;
        flushed?;
        let quote = Quote { attest, signature, key };
        quote.verify(data)?;
        Ok(quote)
    }

    fn create_signer(&mut self) -> Result<(u32, [u8; 64]), TpmError> {
        let doing = "TPM2_CreatePrimary";
        let mut public = Vec::new();
        for part in [ALG_ECC, ALG_SHA256] {
            public.extend_from_slice(&part.to_be_bytes());
        }
        public.extend_from_slice(&RESTRICTED_SIGNER.to_be_bytes());
        // No policy; no symmetric cipher; ECDSA with SHA-256 on P-256; no KDF; no given point.
        for part in [0, ALG_NULL, ALG_ECDSA, ALG_SHA256, CURVE_P256, ALG_NULL, 0, 0] {
            public.extend_from_slice(&part.to_be_bytes());
        }
        let mut body = handle_and_password(ENDORSEMENT);
        sized(&mut body, &[0; 4]);
        sized(&mut body, &public);
        // Nothing of the outside, no PCRs.
        body.extend_from_slice(&[0; 6]);
        let response = self.command(doing, TAG_SESSIONS, CREATE_PRIMARY, &body)?;
        let mut read = Reader { rest: &response, doing };
        let handle = read.u32()?;
        let _parameter_bytes = read.u32()?;
        let mut public = Reader { rest: read.sized()?, doing };
        public.expect_u16(ALG_ECC)?;
        public.expect_u16(ALG_SHA256)?;
        if public.u32()? != RESTRICTED_SIGNER {
            return Err(TpmError::Malformed(doing));
        }
        let _policy = public.sized()?;
        for part in [ALG_NULL, ALG_ECDSA, ALG_SHA256, CURVE_P256, ALG_NULL] {
            public.expect_u16(part)?;
        }
        Ok((handle, public.pair()?))
    }

    fn sign(&mut self, handle: u32, data: &[u8; 32]) -> Result<(Vec<u8>, [u8; 64]), TpmError> {
        let doing = "TPM2_Quote";
        let mut body = handle_and_password(handle);
        sized(&mut body, data);
        body.extend_from_slice(&ALG_NULL.to_be_bytes());
        // One selection: SHA-256, three bytes of bits, PCRs 0 to 7.
        body.extend_from_slice(&1u32.to_be_bytes());
        body.extend_from_slice(&ALG_SHA256.to_be_bytes());
        body.extend_from_slice(&[3, 0xff, 0, 0]);
        let response = self.command(doing, TAG_SESSIONS, QUOTE, &body)?;
        let mut read = Reader { rest: &response, doing };
        let _parameter_bytes = read.u32()?;
        let attest = read.sized()?.to_vec();
        read.expect_u16(ALG_ECDSA)?;
        read.expect_u16(ALG_SHA256)?;
        Ok((attest, read.pair()?))
    }

    /// Sends one command, again while the TPM asks for that, and gives what follows the response's
    /// header.
    fn command(
        &mut self,
        doing: &'static str,
        tag: u16,
        code: u32,
        body: &[u8],
    ) -> Result<Vec<u8>, TpmError> {
        let bytes = u32::try_from(body.len().saturating_add(10)).map_err(|_| TpmError::Malformed(doing))?;
        let mut message = tag.to_be_bytes().to_vec();
        message.extend_from_slice(&bytes.to_be_bytes());
        message.extend_from_slice(&code.to_be_bytes());
        message.extend_from_slice(body);
        let mut tries = 0u32;
        loop {
            tries = tries.saturating_add(1);
            match self.exchange(doing, &message) {
                Err(TpmError::Refused { code: YIELDED | TESTING | RETRY, .. }) if tries < TRIES_MAX => {
                    std::thread::sleep(PAUSE);
                }
                done => return done,
            }
        }
    }

    fn exchange(&mut self, doing: &'static str, message: &[u8]) -> Result<Vec<u8>, TpmError> {
        // The device takes a command in one write and gives its response in one read.
        self.0.write_all(message)?;
        let mut response = vec![0; RESPONSE_BYTES_MAX];
        let mut have = 0usize;
        loop {
            let free = response.get_mut(have..).unwrap_or_default();
            let came = self.0.read(free)?;
            have = have.saturating_add(came);
            let mut read = Reader { rest: response.get(..have).unwrap_or_default(), doing };
            let header = (|| Some((read.u16().ok()?, read.u32().ok()?, read.u32().ok()?)))();
            match header {
                Some((_, _, code)) if code != 0 => return Err(TpmError::Refused { doing, code }),
                Some((_, bytes, _)) if bytes as usize == have => return Ok(read.rest.to_vec()),
                _ if came == 0 || have == RESPONSE_BYTES_MAX => return Err(TpmError::Malformed(doing)),
                _ => {}
            }
        }
    }
}

impl Quote {
    /// Checks that the key of the quote signed exactly `data` in a quote of a TPM.
    pub fn verify(&self, data: &[u8; 32]) -> Result<(), TpmError> {
        let mut read = Reader { rest: &self.attest, doing: "TPM2_Quote" };
        if read.u32()? != GENERATED || read.u16()? != ATTEST_QUOTE {
            return Err(TpmError::Unsound("these bytes are not a quote"));
        }
        let _signer = read.sized()?;
        if read.sized()? != data {
            return Err(TpmError::Unsound("it is about other data"));
        }
        let mut point = vec![4];
        point.extend_from_slice(&self.key);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(&self.attest, &self.signature)
            .map_err(|_| TpmError::Unsound("its signature is not the key's"))
    }
}

/// A handle, and the authorization by an empty password (Part 1 §19.4).
fn handle_and_password(handle: u32) -> Vec<u8> {
    let mut body = handle.to_be_bytes().to_vec();
    body.extend_from_slice(&9u32.to_be_bytes());
    body.extend_from_slice(&PASSWORD.to_be_bytes());
    body.extend_from_slice(&[0; 5]);
    body
}

/// A `TPM2B`: two bytes of length, then the bytes; all of ours are short.
fn sized(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or_default().to_be_bytes());
    body.extend_from_slice(bytes);
}

/// Reads big-endian structures.
struct Reader<'r> {
    rest: &'r [u8],
    doing: &'static str,
}

impl<'r> Reader<'r> {
    fn take(&mut self, bytes: usize) -> Result<&'r [u8], TpmError> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(TpmError::Malformed(self.doing))?;
        self.rest = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, TpmError> {
        let doing = self.doing;
        let bytes = self.take(2)?.try_into().map_err(|_| TpmError::Malformed(doing))?;
        Ok(u16::from_be_bytes(bytes))
    }

    fn u32(&mut self) -> Result<u32, TpmError> {
        let doing = self.doing;
        let bytes = self.take(4)?.try_into().map_err(|_| TpmError::Malformed(doing))?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn expect_u16(&mut self, expected: u16) -> Result<(), TpmError> {
        if self.u16()? == expected { Ok(()) } else { Err(TpmError::Malformed(self.doing)) }
    }

    fn sized(&mut self) -> Result<&'r [u8], TpmError> {
        let bytes = self.u16()?;
        self.take(usize::from(bytes))
    }

    /// Two numbers of at most 32 bytes, each filled up with zeros in front.
    fn pair(&mut self) -> Result<[u8; 64], TpmError> {
        let mut pair = [0; 64];
        for half in pair.as_chunks_mut::<32>().0 {
            let number = self.sized()?;
            let start = half.len().checked_sub(number.len()).ok_or(TpmError::Malformed(self.doing))?;
            half.iter_mut().skip(start).zip(number).for_each(|(to, from)| *to = *from);
        }
        Ok(pair)
    }
}
