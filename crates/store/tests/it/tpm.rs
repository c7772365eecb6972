//! A quote of a real TPM 2.0 (`swtpm`, Debian), and of one that lies.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cordon_store::tpm::{Tpm, TpmError};

struct Swtpm(Child);

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A software TPM behind a socket; nothing if it is not installed.
fn swtpm(dir: &Path, socket: &Path) -> Option<Swtpm> {
    let started = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"])
        .arg(format!("dir={}", dir.display()))
        .arg("--server")
        .arg(format!("type=unixio,path={}", socket.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let child = match started {
        Ok(child) => Swtpm(child),
        Err(error) => {
            println!("skipped: swtpm cannot be started ({error}); install Debian's package `swtpm`");
            return None;
        }
    };
    let began = Instant::now();
    while !socket.exists() {
        assert!(began.elapsed() < Duration::from_secs(10), "swtpm made no socket");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(child)
}

#[test]
fn a_tpm_quotes_our_digest_with_one_key_and_only_that_digest_holds() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("tpm.sock");
    let Some(_running) = swtpm(dir.path(), &socket) else { return };
    let mut tpm = Tpm::socket(&socket).unwrap();
    let first = tpm.quote(&[7; 32]).unwrap();
    let second = tpm.quote(&[8; 32]).unwrap();
    assert_eq!(first.key, second.key, "the key is made anew from the same seed");
    assert_ne!(first.attest, second.attest);
    assert!(first.verify(&[7; 32]).is_ok());
    assert!(matches!(first.verify(&[8; 32]), Err(TpmError::Unsound(_))));
    for at in 0..first.attest.len() {
        let mut altered = first.clone();
        altered.attest[at] ^= 1;
        assert!(altered.verify(&[7; 32]).is_err(), "byte {at}");
    }
    let mut other = first.clone();
    other.signature = second.signature;
    assert!(other.verify(&[7; 32]).is_err());
}

/// Answers every command with these bytes.
struct Liar(Vec<u8>);

impl Write for Liar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Liar {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(bytes.len());
        bytes[..count].copy_from_slice(&self.0[..count]);
        Ok(count)
    }
}

#[test]
fn a_response_that_is_none_is_an_error_and_never_a_panic() {
    let refused = Tpm::over(Liar(b"\x80\x01\x00\x00\x00\x0a\x00\x00\x01\x01".to_vec())).quote(&[0; 32]);
    assert!(matches!(refused, Err(TpmError::Refused { code: 0x101, .. })), "{refused:?}");
    for length in [0usize, 1, 9, 10, 11, 40, 200] {
        let mut bytes = vec![0xff; length];
        bytes.iter_mut().take(10).for_each(|byte| *byte = 0);
        if length >= 6 {
            bytes[2..6].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        }
        assert!(Tpm::over(Liar(bytes)).quote(&[0; 32]).is_err(), "{length}");
    }
}
