//! A CA in files. They are read again at each look, so that replacing them is all
//! that an administrator does to renew it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use authority::upstream::{Given, Granted, UpstreamCa, granted};
use authority::{Serial, SubjectKey};
use identity::{Seconds, X509AuthorityCertificate};
use keys::Signer;
use records::AuditKind;

use super::{Look, Parts, files};
use crate::caller::Caller;

/// The files.
#[derive(Clone)]
pub(crate) struct Disk {
    certificate: PathBuf,
    key: PathBuf,
    bundle: Option<PathBuf>,
    parts: Parts,
}

/// A CA that passed every check, with the roots around it.
struct Checked {
    ca: UpstreamCa,
    roots: Vec<Vec<u8>>,
}

impl Disk {
    pub(super) fn new(certificate: &Path, key: &Path, bundle: Option<&Path>, parts: Parts) -> Self {
        Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            bundle: bundle.map(Path::to_owned),
            parts,
        }
    }

    pub(super) async fn look(&self) -> Result<Look, String> {
        let Checked { ca, roots } = self.read_elsewhere().await?;
        let roots = roots.iter().map(|der| X509AuthorityCertificate {
            der: der.as_slice().into(),
            tainted: false,
        });
        Ok(Look {
            given: Given {
                x509: roots.collect(),
                jwt: Vec::new(),
            },
            issuer: Some(Arc::clone(ca.certificate_der())),
            ends: Some(ca.not_after()),
        })
    }

    /// Records the intermediate, then signs it, then checks it as if it had come from
    /// somebody else.
    pub(super) async fn sign(
        &self,
        signer: &Arc<dyn Signer>,
        lifetime: Seconds,
    ) -> Result<Granted, String> {
        let Checked { ca, roots } = self.read_elsewhere().await?;
        let parts = &self.parts;
        let now = parts.clock.now();
        let key = SubjectKey::from_spki(signer.public_key().spki_der()).map_err(text)?;
        let serial = Serial::new(parts.serials, parts.entropy.bytes().map_err(text)?);
        let prepared = ca
            .prepare(&key, lifetime, serial, now, parts.levels)
            .map_err(text)?;
        let id = parts.trust_domain.id();
        let mut record = parts.audit.record(AuditKind::CaX509, &Caller::Server);
        record.for_whom = id.as_str();
        record.serial = serial.as_bytes();
        record.not_after = prepared.not_after().0;
        record.authority_id = ca.id();
        record.detail = "an intermediate under the upstream authority";
        let draft = parts.audit.draft_bound(prepared.binding(), &record);
        let receipts = parts.audit.append(vec![draft.map_err(text)?]).await;
        let receipt = receipts.map_err(text)?.pop();
        let receipt = receipt.ok_or("the decision log gave no receipt")?;
        let recorded = prepared.redeem(receipt).map_err(text)?;
        let chain = ca.sign(recorded).map_err(text)?;
        let chain: Vec<&[u8]> = chain.iter().map(|der| &**der).collect();
        let roots: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
        granted(&chain, &roots, signer, &parts.trust_domain, now).map_err(text)
    }

    async fn read_elsewhere(&self) -> Result<Checked, String> {
        let disk = self.clone();
        let read = tokio::task::spawn_blocking(move || disk.read());
        read.await.map_err(text)?
    }

    /// Reads the files and checks them against one another.
    fn read(&self) -> Result<Checked, String> {
        let certificates =
            files::certificates("upstream.disk.certificate_file", &self.certificate)?;
        let signer = files::signer("upstream.disk.key_file", &self.key)?;
        let roots = match &self.bundle {
            Some(path) => files::certificates("upstream.disk.bundle_file", path)?,
            // A CA that is its own root needs no bundle.
            None => vec![own_root(&certificates).map_err(|why| {
                format!(
                    "upstream.disk.certificate_file {}: {why}",
                    self.certificate.display()
                )
            })?],
        };
        let ca = UpstreamCa::check(
            &slices(&certificates),
            &slices(&roots),
            Arc::new(signer),
            &self.parts.trust_domain,
            self.parts.clock.now(),
        );
        let ca = ca.map_err(|fault| {
            format!(
                "upstream.disk.certificate_file {}: {fault}",
                self.certificate.display()
            )
        })?;
        Ok(Checked { ca, roots })
    }
}

/// The topmost certificate, when it is a root.
fn own_root(certificates: &[Vec<u8>]) -> Result<Vec<u8>, &'static str> {
    let der = certificates.last().ok_or("it holds no certificate")?;
    let parsed = x509_parser::parse_x509_certificate(der).ok();
    let (_, certificate) = parsed.ok_or("its last certificate cannot be read")?;
    if certificate.subject().as_raw() != certificate.issuer().as_raw() {
        return Err(
            "its last certificate is not self-signed; give the root in upstream.disk.bundle_file",
        );
    }
    Ok(der.clone())
}

fn slices(ders: &[Vec<u8>]) -> Vec<&[u8]> {
    ders.iter().map(Vec::as_slice).collect()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
