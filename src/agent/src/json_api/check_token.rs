//! `POST /v1/check` of a token: either profile, who presents it, and the call it
//! came with. A call is checked against the permission catalogue: an endpoint that it
//! does not map is denied.

use std::sync::Arc;

use identity::{SpiffeId, Timestamp};
use serde_json::{Map, Value, json};
use verify::enforce::{Call, Denied, Gate, Trusted};
use verify::{
    Presenter, Proof, RevocationCheck, ScopedToken, TokenIssuer, TokenProfile, TokenTrust,
    VerifiedJwt, verify_scoped_token,
};

use super::check::{Bundles, Presented, certificate};
use super::problem::{Kind, Problem};
use crate::core::Core;
use crate::hub::Hub;
use crate::workload_api::{LEEWAY, claims};

/// The verdict on a token that a service of this user was shown.
pub(super) fn token(
    core: &Core,
    presented: &Presented,
    bundles: &Bundles,
    revocations: RevocationCheck<'_>,
    (uid, now): (u32, Timestamp),
) -> Result<Value, Problem> {
    let peer = match presented.chain.as_slice() {
        [] => None,
        chain => Some(certificate(chain, bundles, revocations, now)?.1),
    };
    let issuer = issuer(core);
    let (token, allowed) = match &presented.call {
        Some((method, path)) => {
            let allowed = call(core, presented, bundles, issuer, (method, path), now)?;
            let more = json!({
                "permission": allowed.permission.as_str(),
                "details": allowed.details,
            });
            (allowed.token, Some(more))
        }
        None => {
            let token = bare(presented, bundles, &issuer, now)?;
            let not_revoked = revocations.scoped(&token, now);
            not_revoked.map_err(|fault| Kind::NotValid.because(fault.to_string()))?;
            (token, None)
        }
    };
    is_peers(&token, peer.as_ref())?;
    if let Some(proof) = token.proof {
        let fresh = core.take_proof(uid, proof);
        fresh.map_err(|replayed| Kind::NotValid.because(replayed.to_string()))?;
    }
    Ok(verdict(core, token, allowed))
}

/// Who issues access tokens here: its keys came with the own bundle, its name with
/// the policy set.
fn issuer(core: &Core) -> TokenIssuer {
    let keys = core.hub.own_bundle().map(|own| own.access_keys.clone());
    TokenIssuer {
        issuer: core
            .policies
            .get()
            .map_or_else(String::new, |held| held.issuer.clone()),
        trust_domain: core.settings.trust_domain.clone(),
        keys: keys.unwrap_or_default(),
    }
}

fn bare(
    presented: &Presented,
    bundles: &Bundles,
    issuer: &TokenIssuer,
    now: Timestamp,
) -> Result<ScopedToken, Problem> {
    let proof = presented.dpop.as_ref().map(|dpop| Proof {
        jwt: &dpop.proof,
        method: dpop.method.as_deref().unwrap_or_default(),
        uri: &dpop.uri,
    });
    let presenter = Presenter {
        certificate: presented.chain.first().map(Vec::as_slice),
        proof,
    };
    let trust = TokenTrust { bundles, issuer };
    let (token, audience) = (&presented.token, &presented.audience);
    let verified = verify_scoped_token(token, &presenter, audience, &trust, now, LEEWAY);
    verified.map_err(|fault| Kind::NotValid.because(fault.to_string()))
}

fn call(
    core: &Core,
    presented: &Presented,
    bundles: &Bundles,
    issuer: TokenIssuer,
    (method, path): (&str, &str),
    now: Timestamp,
) -> Result<verify::enforce::Allowed, Problem> {
    let held = core.policies.get();
    let catalogue = held.and_then(|held| held.catalogue.clone());
    let catalogue = catalogue.ok_or_else(|| {
        Kind::NotAllowed.because("no catalogue is known here, so no permission covers any call")
    })?;
    let trusted = Trusted {
        bundles: Arc::new(bundles.clone()),
        revocations: Arc::<Hub>::clone(&core.hub),
        issuer: Arc::new(issuer),
        catalogue,
    };
    let call = Call {
        token: Some(&presented.token),
        certificate: presented.chain.first().map(Vec::as_slice),
        proof: presented.dpop.as_ref().map(|dpop| dpop.proof.as_str()),
        method,
        path,
        uri: presented.dpop.as_ref().map(|dpop| dpop.uri.as_str()),
    };
    let checked = Gate::new(trusted, &presented.audience).check(&call, now, LEEWAY);
    checked.map_err(|denied| refusal(&denied))
}

/// 422 for a token that is not valid, 403 for one that does not allow the call.
fn refusal(denied: &Denied) -> Problem {
    let kind = match denied {
        Denied::Token(_) | Denied::Revoked(_) | Denied::NoToken => Kind::NotValid,
        _ => Kind::NotAllowed,
    };
    let mut problem = kind.because(denied.to_string());
    if let Denied::Missing(permission) = denied {
        let needed = ("permission".to_owned(), Value::from(permission.as_str()));
        problem.more = Map::from_iter([needed]);
    }
    problem
}

/// Who holds the certificate that a token is bound to is whom the token speaks for.
fn is_peers(token: &ScopedToken, peer: Option<&SpiffeId>) -> Result<(), Problem> {
    let bound = matches!(
        token.confirmation,
        Some(verify::Confirmation::Certificate(_))
    );
    match peer {
        Some(peer) if bound && *peer != token.spiffe_id => {
            let why = "the token speaks for another SPIFFE ID than the certificate it is bound to";
            Err(Kind::NotValid.because(why))
        }
        _ => Ok(()),
    }
}

fn verdict(core: &Core, token: ScopedToken, allowed: Option<Value>) -> Value {
    let is_ours = token.spiffe_id.is_member_of(&core.settings.trust_domain);
    let mut body = json!({
        "kind": token.profile.as_str(),
        "spiffe_id": token.spiffe_id.to_string(),
        "trust_domain": token.spiffe_id.trust_domain_str(),
        "expires_at": token.expires_at.0,
    });
    let scoped = token.profile == TokenProfile::AccessToken || !token.permissions.is_empty();
    let more = body.as_object_mut().filter(|_| scoped);
    if let Some(more) = more {
        more.insert(
            "permissions".into(),
            token.permissions.iter().cloned().collect(),
        );
        let details = Value::from(token.authorization_details.clone());
        more.insert("authorization_details".into(), details);
        more.insert("bound".into(), token.confirmation.is_some().into());
    }
    if let (Some(body), Some(Value::Object(allowed))) = (body.as_object_mut(), allowed) {
        body.insert("allowed".into(), true.into());
        body.extend(allowed);
    }
    let verified = VerifiedJwt {
        spiffe_id: token.spiffe_id,
        expires_at: token.expires_at,
        claims: token.claims,
    };
    let claims = Value::from(claims(verified, is_ours));
    if let Some(body) = body.as_object_mut() {
        body.insert("claims".into(), claims);
    }
    body
}
