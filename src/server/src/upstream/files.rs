//! Reading an upstream authority's files: certificates and a private key in PEM.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use keys::MemorySigner;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use zeroize::Zeroizing;

use crate::limits;

/// The certificates of a PEM file, in order.
pub(super) fn certificates(key: &str, path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let refuse = |why: &str| format!("{key} {}: {why}", path.display());
    let (pem, _) = read(path).map_err(|why| refuse(&why))?;
    let mut found = Vec::new();
    for section in rustls::pki_types::CertificateDer::pem_slice_iter(&pem) {
        let section = section.ok();
        let der = section.ok_or_else(|| refuse("a section of it is not PEM of a certificate"))?;
        if found.len() == limits::MAX_UPSTREAM_CERTIFICATES {
            return Err(refuse("it holds too many certificates; keep those in use"));
        }
        found.push(der.to_vec());
    }
    if found.is_empty() {
        return Err(refuse("it holds no certificate in PEM"));
    }
    Ok(found)
}

/// The private key of a PEM file that nobody else may read.
pub(super) fn signer(key: &str, path: &Path) -> Result<MemorySigner, String> {
    let refuse = |why: &str| format!("{key} {}: {why}", path.display());
    let (pem, found) = read(path).map_err(|why| refuse(&why))?;
    if found.mode & 0o077 != 0 {
        return Err(refuse(&format!(
            "its mode lets others read it; run: chmod 0600 {}",
            path.display()
        )));
    }
    if found.uid != 0 && found.uid != nix::unistd::geteuid().as_raw() {
        return Err(refuse(&format!(
            "it belongs to uid {}; chown it to the server's user or to root",
            found.uid
        )));
    }
    let section = <(SectionKind, Vec<u8>)>::from_pem_slice(&pem).ok();
    let (kind, der) = section.ok_or_else(|| refuse("it is not a private key in PEM"))?;
    let der = Zeroizing::new(der);
    match kind {
        SectionKind::PrivateKey => MemorySigner::from_pkcs8(&der)
            .ok()
            .ok_or_else(|| refuse("it is no P-256, P-384, RSA 2048 or RSA 4096 key")),
        SectionKind::EcPrivateKey | SectionKind::RsaPrivateKey => Err(refuse(
            "its key is not PKCS#8; run: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW",
        )),
        _ => Err(refuse(
            "it is not an unencrypted private key in PEM; decrypt it onto a memory file system",
        )),
    }
}

struct Found {
    mode: u32,
    uid: u32,
}

/// All of a file of sensible size, and whose it is: looked at after it was opened.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Found), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".into());
    }
    if metadata.len() > limits::MAX_UPSTREAM_FILE_BYTES {
        return Err(format!(
            "it has {} bytes; at most {} are read",
            metadata.len(),
            limits::MAX_UPSTREAM_FILE_BYTES
        ));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let mut limited = file.take(limits::MAX_UPSTREAM_FILE_BYTES);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    let found = Found {
        mode: metadata.mode(),
        uid: metadata.uid(),
    };
    Ok((bytes, found))
}
