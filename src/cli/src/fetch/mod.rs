//! `bulla fetch …`: what the calling process is entitled to.

mod keep;
mod kept;
mod token;

use std::time::Duration;

use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::command::{FetchArgs, FetchCommand, WriteArgs};
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
            watch: true,
            spiffe_id,
            write,
            agent,
        } if write.write.is_some() => keep::x509(spiffe_id, &write, &agent, out).await,
        FetchCommand::X509 {
            watch: true,
            spiffe_id,
            agent,
            ..
        } => watch_x509(spiffe_id.as_deref(), &agent, out).await,
        FetchCommand::X509 {
            watch: false,
            spiffe_id,
            write,
            agent,
        } => x509(spiffe_id.as_deref(), &write, &agent, out).await,
        FetchCommand::Jwt {
            audience,
            spiffe_id,
            token_only,
            watch,
            write,
            agent,
        } => {
            let asked = token::Asked {
                audience,
                spiffe_id,
            };
            if watch {
                token::keep(&asked, &write, &agent, out).await
            } else {
                token::once(&asked, token_only, &write, &agent, out).await
            }
        }
        FetchCommand::Bundle { agent } => bundle(&agent, out).await,
    }
}

async fn client(agent: &FetchArgs) -> Result<WorkloadClient, Failure> {
    WorkloadClient::connect(&agent.workload_socket, Duration::from_secs(agent.timeout)).await
}

async fn x509(
    spiffe_id: Option<&str>,
    write: &WriteArgs,
    agent: &FetchArgs,
    out: &mut Output,
) -> Result<(), Failure> {
    let answer = client(agent).await?.x509().await?;
    show_x509(&only(&answer, spiffe_id)?, out)?;
    let Some(mut kept) = kept::Kept::open(write, "x509")? else {
        return Ok(());
    };
    kept.write_once(&keep::files(keep::pick(&answer, spiffe_id)?, &answer))
        .await?;
    if !out.is_json() {
        out.line(format!("written to {}", kept.path().display()))?;
    }
    Ok(())
}

/// Of an answer the identity that was asked for, or all of them.
fn only(answer: &X509svidResponse, spiffe_id: Option<&str>) -> Result<X509svidResponse, Failure> {
    let mut answer = answer.clone();
    if spiffe_id.is_some() {
        answer.svids = vec![keep::pick(&answer, spiffe_id)?.clone()];
    }
    Ok(answer)
}

async fn watch_x509(
    spiffe_id: Option<&str>,
    agent: &FetchArgs,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut stream = client(agent).await?.x509_stream().await?;
    loop {
        let answer = only(&WorkloadClient::next(&mut stream).await?, spiffe_id)?;
        if out.is_json() {
            out.record(&json!({ "svids": svid_values(&answer)? }))?;
        } else {
            show_x509(&answer, out)?;
            out.line("")?;
        }
    }
}

fn svid_values(answer: &X509svidResponse) -> Result<Vec<Value>, Failure> {
    answer.svids.iter().map(svid_value).collect()
}

fn show_x509(answer: &X509svidResponse, out: &mut Output) -> Result<(), Failure> {
    let values = svid_values(answer)?;
    if out.is_json() {
        return Ok(out.document(&json!({ "svids": values }))?);
    }
    for value in &values {
        out.object(value)?;
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
