//! `bulla bundle …`: the trust domain's public authorities.

mod federated;
mod owners;

use std::path::Path;

use identity::{Bundle, TrustDomain, X509AuthorityCertificate};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use crate::admin::connect;
use crate::command::{AdminSocket, BundleCommand};
use crate::failure::Failure;
use crate::output::{Output, utc};
use crate::pem;
use crate::wire::bundle_v1::bundle_client::BundleClient;
use crate::wire::bundle_v1::{AppendBundleRequest, GetBundleRequest};
use crate::wire::types;

/// Runs one `bulla bundle` command.
///
/// # Errors
/// The server is away, or its bundle cannot be read.
pub(crate) async fn run(command: BundleCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        BundleCommand::Show {
            owners: true,
            admin,
            ..
        } => owners::show(&admin, out).await,
        BundleCommand::Show { format, admin, .. } => {
            let bundle = get(&admin).await?;
            match format.as_str() {
                "pem" => Ok(out.line(authorities_pem(&bundle).trim_end())?),
                "spiffe" => Ok(out.line(spiffe_document(&bundle)?)?),
                _ => summary(&bundle, out),
            }
        }
        BundleCommand::Append { file, admin } => append(&file, &admin, out).await,
        BundleCommand::Remove { id, plan, admin } => owners::remove(id, plan, &admin, out).await,
        BundleCommand::Set {
            trust_domain,
            file,
            admin,
        } => federated::set(&trust_domain, &file, &admin, out).await,
        BundleCommand::List { admin } => federated::list(&admin, out).await,
        BundleCommand::Delete {
            trust_domain,
            dissociate,
            admin,
        } => federated::delete(trust_domain, dissociate, &admin, out).await,
    }
}

async fn append(file: &Path, admin: &AdminSocket, out: &mut Output) -> Result<(), Failure> {
    let own = get(admin).await?.trust_domain;
    let added = from_file(&own, file)?;
    let request = AppendBundleRequest {
        x509_authorities: added.x509_authorities,
        jwt_authorities: added.jwt_authorities,
        ..AppendBundleRequest::default()
    };
    let mut client = BundleClient::new(connect(admin).await?);
    let bundle = client.append_bundle(request).await?.into_inner();
    summary(&bundle, out)
}

/// The bundle of a trust domain that a file holds.
fn from_file(trust_domain: &str, file: &Path) -> Result<types::Bundle, Failure> {
    let unusable = |why: String| Failure::usage(format!("{}: {why}", file.display()));
    let trust_domain = TrustDomain::parse(trust_domain)
        .map_err(|error| Failure::usage(format!("{trust_domain:?}: {error}")))?;
    let most = verify::bundle_format::MAX_DOCUMENT_BYTES;
    let size = std::fs::metadata(file).map_err(|error| unusable(error.to_string()))?;
    if size.len() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(unusable(format!("it has more than {most} bytes")));
    }
    let bytes = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let bundle = read(trust_domain, &bytes).map_err(unusable)?;
    Ok(api::convert::bundle_to_wire(&bundle, None))
}

/// Reads PEM certificates or a SPIFFE bundle document.
fn read(trust_domain: TrustDomain, bytes: &[u8]) -> Result<Bundle, String> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        return verify::bundle_format::decode(&trust_domain, bytes)
            .map_err(|error| format!("it is no SPIFFE bundle: {error}"));
    }
    let mut bundle = Bundle::empty(trust_domain);
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let der = certificate.map_err(|error| format!("it is no PEM certificate: {error}"))?;
        bundle.x509_authorities.push(X509AuthorityCertificate {
            der: der.as_ref().into(),
            tainted: false,
        });
    }
    if bundle.x509_authorities.is_empty() {
        return Err("it holds neither PEM certificates nor a SPIFFE bundle".to_owned());
    }
    Ok(bundle)
}

async fn get(admin: &AdminSocket) -> Result<types::Bundle, Failure> {
    let mut client = BundleClient::new(connect(admin).await?);
    Ok(client
        .get_bundle(GetBundleRequest { output_mask: None })
        .await?
        .into_inner())
}

fn authorities_pem(bundle: &types::Bundle) -> String {
    bundle
        .x509_authorities
        .iter()
        .map(|a| pem::encode("CERTIFICATE", &a.asn1))
        .collect()
}

fn spiffe_document(bundle: &types::Bundle) -> Result<String, Failure> {
    let bundle = api::convert::bundle_from_wire(bundle).map_err(|error| {
        Failure::refused(format!("the server's bundle cannot be read: {error}"))
    })?;
    Ok(verify::bundle_format::encode(&bundle))
}

fn summary(bundle: &types::Bundle, out: &mut Output) -> Result<(), Failure> {
    let digest = |der: &[u8]| hex::encode(ring::digest::digest(&ring::digest::SHA256, der));
    let x509: Vec<_> = bundle
        .x509_authorities
        .iter()
        .map(|a| json!({ "sha256": digest(&a.asn1), "tainted": a.tainted }))
        .collect();
    let jwt: Vec<_> = bundle
        .jwt_authorities
        .iter()
        .map(|a| json!({ "key_id": a.key_id, "expires_at": utc(a.expires_at), "tainted": a.tainted }))
        .collect();
    if out.is_json() {
        return Ok(out.document(&json!({
            "trust_domain": bundle.trust_domain,
            "sequence": bundle.sequence_number,
            "refresh_hint": bundle.refresh_hint,
            "x509_authorities": x509,
            "jwt_authorities": jwt,
        }))?);
    }
    out.line(format!("trust domain  {}", bundle.trust_domain))?;
    out.line(format!("sequence      {}", bundle.sequence_number))?;
    out.rows(
        &x509,
        &[
            ("X.509 AUTHORITY SHA-256", "sha256"),
            ("TAINTED", "tainted"),
        ],
        "no X.509 authorities",
    )?;
    let columns = &[
        ("JWT KEY ID", "key_id"),
        ("EXPIRES", "expires_at"),
        ("TAINTED", "tainted"),
    ];
    Ok(out.rows(&jwt, columns, "no JWT authorities")?)
}
