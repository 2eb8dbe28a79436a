//! The steps of the tour that show change: a certificate renewed while we watch,
//! and a new signing key that takes over without anybody noticing.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate};

use super::steps::{LOOK_EVERY, SHORT_TTL, STEP_MAX};
use super::tour::Tour;
use crate::admin;
use crate::failure::Failure;
use crate::fetch::svid_value;
use crate::output::member;
use crate::pem;
use crate::wire::localauthority::local_authority_client::LocalAuthorityClient;
use crate::wire::localauthority::{ActivateX509AuthorityRequest, PrepareX509AuthorityRequest};
use crate::wire::workload::X509svid;
use crate::workload_client::WorkloadClient;

/// A renewal reaches an open stream before the old certificate expires.
///
/// # Errors
/// None came.
pub(super) async fn renewal(tour: &mut Tour<'_>) -> Result<(), Failure> {
    let before = watch(tour, |_| true).await?;
    let old = member(&svid_value(&before)?, "serial");
    let after = watch(tour, |svid| {
        svid_value(svid).is_ok_and(|v| member(&v, "serial") != old)
    })
    .await?;
    let seen = [
        ("lifetime", format!("{SHORT_TTL} s").into()),
        ("before", old.clone()),
        ("after", member(&svid_value(&after)?, "serial")),
    ];
    tour.held("a renewal was pushed while we watched", &seen)
}

/// A new signing key is published first, takes over once it has been known long
/// enough, and signs the next renewal; what the old key signed stays valid.
///
/// # Errors
/// The key was not published, not activated, or did not sign.
pub(super) async fn rotation(tour: &mut Tour<'_>) -> Result<(), Failure> {
    let mut keys = LocalAuthorityClient::new(admin::connect(&tour.admin()).await?);
    let old = signer(&watch(tour, |_| true).await?);
    let prepared = keys
        .prepare_x509_authority(PrepareX509AuthorityRequest {})
        .await?;
    let prepared = prepared.into_inner().prepared_authority;
    let missing = || Failure::refused("the server prepared no key");
    let new = prepared.ok_or_else(missing)?.authority_id;
    let both = watch(tour, |svid| pem::split_der(&svid.bundle).len() == 2).await?;
    if signer(&both) == new {
        return Err(Failure::refused("a key signed before it was published"));
    }
    activate(&mut keys, &new).await?;
    let renewed = watch(tour, |svid| signer(svid) == new).await?;
    let seen = [
        ("signed by", Value::from(old)),
        ("now by", new.into()),
        (
            "bundle holds",
            format!("{} authorities", pem::split_der(&renewed.bundle).len()).into(),
        ),
    ];
    tour.held("a new signing key was published, then took over", &seen)
}

/// Activates a key as soon as the server lets it sign.
async fn activate(
    keys: &mut LocalAuthorityClient<tonic::transport::Channel>,
    id: &str,
) -> Result<(), Failure> {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let trying = async {
        loop {
            look.tick().await;
            let request = ActivateX509AuthorityRequest {
                authority_id: id.to_owned(),
            };
            match keys.activate_x509_authority(request).await {
                Ok(_) => return Ok(()),
                Err(status) if status.code() == tonic::Code::FailedPrecondition => {}
                Err(status) => return Err(Failure::from(status)),
            }
        }
    };
    within(STEP_MAX, trying, "the new key was not let to sign").await
}

/// Waits on a stream until the default SVID is as wanted.
async fn watch(tour: &Tour<'_>, wanted: impl Fn(&X509svid) -> bool) -> Result<X509svid, Failure> {
    let mut client = WorkloadClient::connect(&tour.workload_socket(), STEP_MAX).await?;
    let mut stream = client.x509_stream().await?;
    let watching = async {
        loop {
            let answer = WorkloadClient::next(&mut stream).await?;
            if let Some(svid) = answer.svids.into_iter().next().filter(&wanted) {
                return Ok(svid);
            }
        }
    };
    within(STEP_MAX, watching, "what we waited for was not pushed").await
}

async fn within<T>(
    limit: Duration,
    what: impl Future<Output = Result<T, Failure>>,
    late: &str,
) -> Result<T, Failure> {
    timeout(limit, what)
        .await
        .map_err(|_elapsed| Failure::unreachable(late))?
}

/// The key that signed an SVID: its authority key identifier, in hex.
fn signer(svid: &X509svid) -> String {
    let chain = pem::split_der(&svid.x509_svid);
    let leaf = chain.first().copied().unwrap_or_default();
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        return String::new();
    };
    let of = |extension: &ParsedExtension<'_>| match extension {
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            id.key_identifier.as_ref().map(|k| hex::encode(k.0))
        }
        _ => None,
    };
    certificate
        .extensions()
        .iter()
        .find_map(|e| of(e.parsed_extension()))
        .unwrap_or_default()
}
