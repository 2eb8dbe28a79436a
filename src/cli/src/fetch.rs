//! `bulla fetch …`: what the calling process is entitled to.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::command::{FetchArgs, FetchCommand};
use crate::failure::Failure;
use crate::output::{Output, utc};
use crate::pem;
use crate::wire::workload::{X509svid, X509svidResponse};
use crate::workload_client::WorkloadClient;

/// Runs one `bulla fetch` command.
///
/// # Errors
/// The agent is away or refuses, or a file cannot be written.
pub(crate) async fn run(command: FetchCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        FetchCommand::X509 {
            write,
            watch,
            agent,
        } => x509(write.as_deref(), watch, &agent, out).await,
        FetchCommand::Jwt {
            audience,
            spiffe_id,
            token_only,
            agent,
        } => jwt(audience, spiffe_id, token_only, &agent, out).await,
        FetchCommand::Bundle { agent } => bundle(&agent, out).await,
    }
}

async fn client(agent: &FetchArgs) -> Result<WorkloadClient, Failure> {
    WorkloadClient::connect(&agent.workload_socket, Duration::from_secs(agent.timeout)).await
}

async fn x509(
    write: Option<&Path>,
    watch: bool,
    agent: &FetchArgs,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut client = client(agent).await?;
    if !watch {
        let answer = client.x509().await?;
        return show_x509(&answer, write, out);
    }
    let mut stream = client.x509_stream().await?;
    loop {
        let answer = WorkloadClient::next(&mut stream).await?;
        if out.is_json() {
            let svids: Vec<Value> = answer
                .svids
                .iter()
                .map(svid_value)
                .collect::<Result<_, _>>()?;
            out.record(&json!({ "svids": svids }))?;
        } else {
            show_x509(&answer, None, out)?;
            out.line("")?;
        }
        if let Some(folder) = write {
            write_files(folder, &answer)?;
        }
    }
}

fn show_x509(
    answer: &X509svidResponse,
    write: Option<&Path>,
    out: &mut Output,
) -> Result<(), Failure> {
    let values: Vec<Value> = answer
        .svids
        .iter()
        .map(svid_value)
        .collect::<Result<_, _>>()?;
    if out.is_json() {
        out.document(&json!({ "svids": values }))?;
    } else {
        for value in &values {
            out.object(value)?;
        }
    }
    if let Some(folder) = write {
        write_files(folder, answer)?;
        if !out.is_json() {
            out.line(format!("written to {}", folder.display()))?;
        }
    }
    Ok(())
}

/// What an X.509-SVID says, without its key.
///
/// # Errors
/// The agent sent something that is no certificate.
pub(crate) fn svid_value(svid: &X509svid) -> Result<Value, Failure> {
    let chain = pem::split_der(&svid.x509_svid);
    let leaf = chain.first().copied().unwrap_or_default();
    let (_, certificate) = X509Certificate::from_der(leaf)
        .map_err(|error| Failure::refused(format!("the agent sent no certificate: {error}")))?;
    Ok(json!({
        "spiffe_id": svid.spiffe_id,
        "serial": hex::encode(certificate.raw_serial()),
        "not_before": utc(certificate.validity().not_before.timestamp()),
        "not_after": utc(certificate.validity().not_after.timestamp()),
        "hint": svid.hint,
        "certificates": chain.len(),
        "authorities": pem::split_der(&svid.bundle).len(),
    }))
}

/// Writes chain, key and bundle of the default identity, each by atomic rename,
/// the key readable by its owner alone.
fn write_files(folder: &Path, answer: &X509svidResponse) -> Result<(), Failure> {
    let svid = answer
        .svids
        .first()
        .ok_or_else(|| Failure::refused("the agent sent no SVID"))?;
    fs::create_dir_all(folder)?;
    let certificates = |der: &[u8]| -> String {
        pem::split_der(der)
            .iter()
            .map(|one| pem::encode("CERTIFICATE", one))
            .collect()
    };
    write_file(
        folder,
        "svid-key.pem",
        &pem::encode("PRIVATE KEY", &svid.x509_svid_key),
        0o600,
    )?;
    write_file(folder, "svid.pem", &certificates(&svid.x509_svid), 0o644)?;
    write_file(folder, "bundle.pem", &certificates(&svid.bundle), 0o644)
}

fn write_file(folder: &Path, name: &str, text: &str, mode: u32) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::refused(format!(
            "cannot write {name} in {}: {error}",
            folder.display()
        ))
    };
    let new = folder.join(format!(".{name}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    fs::rename(&new, folder.join(name)).map_err(failed)
}

async fn jwt(
    audience: Vec<String>,
    spiffe_id: Option<String>,
    token_only: bool,
    agent: &FetchArgs,
    out: &mut Output,
) -> Result<(), Failure> {
    let answer = client(agent).await?.jwt(audience, spiffe_id).await?;
    if token_only {
        let first = answer
            .svids
            .first()
            .ok_or_else(|| Failure::refused("the agent sent no SVID"))?;
        return Ok(out.line(&first.svid)?);
    }
    let values: Vec<Value> = answer
        .svids
        .iter()
        .map(|svid| json!({ "spiffe_id": svid.spiffe_id, "hint": svid.hint, "token": svid.svid }))
        .collect();
    if out.is_json() {
        return Ok(out.document(&json!({ "svids": values }))?);
    }
    for value in &values {
        out.object(value)?;
    }
    Ok(())
}

async fn bundle(agent: &FetchArgs, out: &mut Output) -> Result<(), Failure> {
    let mut client = client(agent).await?;
    let x509 = client.x509_bundles().await?;
    let jwt = client.jwt_bundles().await?;
    let rows: Vec<Value> = x509
        .bundles
        .iter()
        .map(|(domain, der)| {
            let keys: Value = jwt
                .bundles
                .get(domain)
                .and_then(|jwks| serde_json::from_slice(jwks).ok())
                .unwrap_or_default();
            let certificates = pem::split_der(der);
            json!({
                "trust_domain": domain,
                "x509_authorities": certificates.len(),
                "sha256": certificates.iter().map(|c| pem::sha256_hex(c)).collect::<Vec<_>>(),
                "jwt_authorities": keys.get("keys").and_then(Value::as_array).map_or(0, Vec::len),
                "jwks": keys,
            })
        })
        .collect();
    let columns = &[
        ("TRUST DOMAIN", "trust_domain"),
        ("X.509", "x509_authorities"),
        ("JWT", "jwt_authorities"),
        ("SHA-256", "sha256"),
    ];
    Ok(out.rows(&rows, columns, "no bundles")?)
}
