//! Asking the server in a workload's name.

use api::token::tokens_client::TokensClient;
use api::token::{MintRequest, MintResponse, mint_request};
use identity::{Entry, Selectors};
use tonic::{Code, Status};
use workload::Issued;

use super::cache::thumbprint;
use super::{Refused, Wanted};
use crate::core::Core;

/// One token, as decided.
pub(super) async fn mint(
    core: &Core,
    entry: &Entry,
    issued: &Issued,
    selectors: &Selectors,
    wanted: &Wanted,
) -> Result<MintResponse, Refused> {
    let away = |why: String| Status::unavailable(format!("no token could be minted: {why}"));
    if !core.has_valid_identity() {
        return Err(away("the agent has no valid SVID of its own".to_owned()).into());
    }
    let request = wire(entry, issued, selectors, wanted, core.now().0);
    let call = |channel| {
        let request = request.clone();
        async move { TokensClient::new(channel).mint(request).await }
    };
    let answer = core.link.call(call).await;
    // Nobody is granted anything while no policy set is active.
    let inactive = |status: &Status| status.code() == Code::FailedPrecondition;
    if let Err(status) = &answer
        && inactive(status)
    {
        let error = api::token::Error {
            code: "access_denied".to_owned(),
            description: status.message().to_owned(),
            retry_after_seconds: 0,
        };
        return Err(Refused::Decided(Box::new(MintResponse {
            error: Some(error),
            ..MintResponse::default()
        })));
    }
    let answer = answer.map_err(|status| match status.code() {
        Code::InvalidArgument => Status::invalid_argument(status.message().to_owned()),
        Code::Unimplemented => away("the server has no scoped tokens; upgrade it".to_owned()),
        code => away(format!("{} ({code})", status.message())),
    })?;
    if answer.error.is_some() {
        return Err(Refused::Decided(Box::new(answer)));
    }
    if answer.token.is_empty() || answer.expires_at <= core.now().0 {
        return Err(away("the answer holds no token that is valid now".to_owned()).into());
    }
    Ok(answer)
}

fn wire(
    entry: &Entry,
    issued: &Issued,
    selectors: &Selectors,
    wanted: &Wanted,
    now: i64,
) -> MintRequest {
    let request = &wanted.request;
    let details = &request.authorization_details;
    let binding = match wanted.key_thumbprint {
        Some(key) => mint_request::Binding::KeyThumbprint(key.to_vec().into()),
        None => mint_request::Binding::CertificateSha256(thumbprint(issued).to_vec().into()),
    };
    MintRequest {
        entry_id: entry.id.to_string(),
        audience: request.audience.clone(),
        permissions: request.permissions.clone(),
        authorization_details: if details.is_empty() {
            String::new()
        } else {
            serde_json::Value::from(details.clone()).to_string()
        },
        ttl_seconds: request.ttl.unwrap_or_default(),
        profile: request.profile.clone().unwrap_or_default(),
        all_or_nothing: request.all_or_nothing,
        svid_not_after: issued.svid.not_after.0,
        selectors: selectors.iter().map(ToString::to_string).collect(),
        attested_at: now,
        binding: Some(binding),
    }
}
