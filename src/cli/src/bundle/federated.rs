//! `bulla bundle set`, `list` and `delete`: the bundles of other trust domains, over
//! SPIRE's API.

use std::path::Path;

use serde_json::{Value, json};

use super::from_file;
use crate::admin::{check_item, connect};
use crate::command::AdminSocket;
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::bundle_v1::bundle_client::BundleClient;
use crate::wire::bundle_v1::{
    BatchDeleteFederatedBundleRequest, BatchSetFederatedBundleRequest, ListFederatedBundlesRequest,
    batch_delete_federated_bundle_request::Mode,
};
use crate::wire::types;

const COLUMNS: &[(&str, &str)] = &[
    ("TRUST DOMAIN", "trust_domain"),
    ("SEQUENCE", "sequence"),
    ("X.509 AUTHORITIES", "x509_authorities"),
    ("JWT KEYS", "jwt_authorities"),
];

/// Sets a federated bundle.
pub(super) async fn set(
    trust_domain: &str,
    file: &Path,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let request = BatchSetFederatedBundleRequest {
        bundle: vec![from_file(trust_domain, file)?],
        output_mask: None,
    };
    let mut client = BundleClient::new(connect(admin).await?);
    let answer = client.batch_set_federated_bundle(request).await?;
    let result = answer.into_inner().results.into_iter().next();
    let result = result.ok_or_else(|| Failure::refused("the server sent no result"))?;
    check_item(result.status.as_ref())?;
    Ok(out.object(&row(&result.bundle.unwrap_or_default()))?)
}

/// Lists federated bundles.
pub(super) async fn list(admin: &AdminSocket, out: &mut Output) -> Result<(), Failure> {
    let mut client = BundleClient::new(connect(admin).await?);
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListFederatedBundlesRequest {
            page_token,
            ..ListFederatedBundlesRequest::default()
        };
        let answer = client.list_federated_bundles(request).await?.into_inner();
        rows.extend(answer.bundles.iter().map(row));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(out.rows(
        &rows,
        COLUMNS,
        "no federated trust domains; set one with `bulla bundle set`",
    )?)
}

/// Deletes a federated bundle.
pub(super) async fn delete(
    trust_domain: String,
    dissociate: bool,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let mode = if dissociate {
        Mode::Dissociate
    } else {
        Mode::Restrict
    };
    let request = BatchDeleteFederatedBundleRequest {
        trust_domains: vec![trust_domain.clone()],
        mode: mode.into(),
    };
    let mut client = BundleClient::new(connect(admin).await?);
    let answer = client.batch_delete_federated_bundle(request).await?;
    let result = answer.into_inner().results.into_iter().next();
    let result = result.ok_or_else(|| Failure::refused("the server sent no result"))?;
    check_item(result.status.as_ref()).map_err(|failure| {
        failure.next("let the entries no longer federate with it: add --dissociate")
    })?;
    Ok(out.object(&json!({ "deleted": trust_domain }))?)
}

fn row(bundle: &types::Bundle) -> Value {
    json!({
        "trust_domain": bundle.trust_domain,
        "sequence": bundle.sequence_number,
        "x509_authorities": bundle.x509_authorities.len(),
        "jwt_authorities": bundle.jwt_authorities.len(),
    })
}
