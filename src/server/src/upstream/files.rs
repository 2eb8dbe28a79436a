//! Reading an upstream authority's files: certificates and a private key in PEM.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use keys::MemorySigner;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use zeroize::Zeroizing;

use crate::limits;
use crate::secrets;

/// The certificates of a PEM file, in order.
pub(super) fn certificates(key: &str, path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let refuse = |why: &str| format!("{key} {}: {why}", path.display());
    let pem = read(path).map_err(|why| refuse(&why))?;
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
pub(super) fn signer(key: &'static str, path: &Path) -> Result<MemorySigner, String> {
    let refuse = |why: &str| format!("{key} {}: {why}", path.display());
    let pem = secrets::read_key(key, path, limits::MAX_UPSTREAM_FILE_BYTES);
    let pem = pem.map_err(|error| error.to_string())?;
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

/// All of a file of sensible size. Nothing in it is secret.
fn read(path: &Path) -> Result<Vec<u8>, String> {
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
    let mut bytes = Vec::new();
    let mut limited = file.take(limits::MAX_UPSTREAM_FILE_BYTES);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}
