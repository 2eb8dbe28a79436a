//! One call against one service's catalogue entry. No I/O; the time is an argument.

use std::sync::Arc;

use identity::{Seconds, Timestamp};
use policy::{Catalogue, PermissionName, Profile, Service};
use serde_json::Value;

use super::Denied;
use crate::possession::PossessionFault;
use crate::{
    BundleSource, Presenter, Proof, RevocationCheck, RevocationSource, ScopedToken, TokenFault,
    TokenIssuer, TokenProfile, TokenTrust, verify_scoped_token,
};

/// Whose word counts at one moment, cheap to clone: bundles, revocations, issuer and
/// catalogue as they were received last.
#[derive(Clone)]
pub struct Trusted {
    /// Bundles, for JWT-SVIDs.
    pub bundles: Arc<dyn BundleSource + Send + Sync>,
    /// Signed lists of what is revoked; `None::<Arc<Revocations>>` for a service that
    /// has none.
    pub revocations: Arc<dyn RevocationSource + Send + Sync>,
    /// The issuer of access tokens; its trust domain's tokens grant.
    pub issuer: Arc<TokenIssuer>,
    /// The permission catalogue.
    pub catalogue: Catalogue,
}

/// A call as it arrived.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The token; `None` when there is none, or more than one.
    pub token: Option<&'a str>,
    /// The leaf certificate, DER, of the mutual-TLS connection it came over.
    pub certificate: Option<&'a [u8]>,
    /// The `DPoP` header.
    pub proof: Option<&'a str>,
    /// The method; of gRPC `POST`.
    pub method: &'a str,
    /// The path; of gRPC `/package.Service/Method`.
    pub path: &'a str,
    /// Scheme, host and path as the client wrote them, for a DPoP proof.
    pub uri: Option<&'a str>,
}

/// A call that is let through.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowed {
    /// The token that allows it.
    pub token: ScopedToken,
    /// The permission that the endpoint needs.
    pub permission: PermissionName,
    /// The permission's `authorization_details`: limits that the service itself has
    /// to hold the call to, such as an amount.
    pub details: Vec<Value>,
}

/// The gate of one service.
#[derive(Clone)]
pub struct Gate {
    trusted: Trusted,
    audience: Arc<str>,
}

impl Gate {
    /// The gate of the service with this audience. A service that is not in the
    /// catalogue has no endpoints, so everything is denied.
    #[must_use]
    pub fn new(trusted: Trusted, audience: &str) -> Self {
        Self {
            trusted,
            audience: audience.into(),
        }
    }

    /// Whether a call is let through. A DPoP proof in the answer's token must still be
    /// accepted once, by [`crate::ProofsSeen`].
    ///
    /// # Errors
    /// Why it is not, fit for the caller to read.
    pub fn check(
        &self,
        call: &Call<'_>,
        now: Timestamp,
        leeway: Seconds,
    ) -> Result<Allowed, Denied> {
        let token = call.token.ok_or(Denied::NoToken)?;
        let proof = call.proof.zip(call.uri).map(|(jwt, uri)| Proof {
            jwt,
            method: call.method,
            uri,
        });
        let presenter = Presenter {
            certificate: call.certificate,
            proof,
        };
        let trust = TokenTrust {
            bundles: &*self.trusted.bundles,
            issuer: &self.trusted.issuer,
        };
        let token = verify_scoped_token(token, &presenter, &self.audience, &trust, now, leeway)?;
        RevocationCheck::of(&*self.trusted.revocations).scoped(&token, now)?;
        let unmapped = || Denied::Unmapped(self.audience.to_string());
        let service = self.trusted.catalogue.service(&self.audience);
        let service = service.ok_or_else(unmapped)?;
        accepts(service, &token)?;
        let permission = service.endpoint(call.method, call.path);
        let permission = permission.ok_or_else(unmapped)?;
        let details = carries(service, &token, permission, now)?;
        Ok(Allowed {
            permission: permission.clone(),
            details,
            token,
        })
    }
}

/// The profile is one that the service takes, bound if it demands that.
fn accepts(service: &Service, token: &ScopedToken) -> Result<(), Denied> {
    let profile = match token.profile {
        TokenProfile::JwtSvid => Profile::JwtSvid,
        TokenProfile::AccessToken => Profile::AccessToken,
    };
    if !service.profiles.contains(&profile) {
        let names: Vec<&str> = service.profiles.iter().map(|p| p.as_str()).collect();
        return Err(Denied::Profile {
            audience: service.audience.to_string(),
            found: token.profile,
            accepted: names.join(" or "),
        });
    }
    if service.require_pop && token.confirmation.is_none() {
        return Err(TokenFault::from(PossessionFault::NotBound).into());
    }
    Ok(())
}

/// The token carries the permission, the permission still exists, and what the token
/// says of it in particular has the form its owner declared.
fn carries(
    service: &Service,
    token: &ScopedToken,
    name: &PermissionName,
    now: Timestamp,
) -> Result<Vec<Value>, Denied> {
    let missing = || Denied::Missing(name.clone());
    if !token.permissions.contains(name.as_str()) {
        return Err(missing());
    }
    let permission = service.permissions.get(name.as_str()).ok_or_else(missing)?;
    if permission.is_past_sunset(now) {
        return Err(Denied::Sunset(name.clone()));
    }
    if permission.needs_possession() && token.confirmation.is_none() {
        return Err(TokenFault::from(PossessionFault::NotBound).into());
    }
    let mut ours = Vec::new();
    for object in &token.authorization_details {
        let kind = object
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some((owner, schema)) = service.details(kind) else {
            continue;
        };
        if owner == name {
            let wrong = |what| Denied::Details(name.clone(), what);
            schema.check(object).map_err(wrong)?;
            ours.push(object.clone());
        }
    }
    if permission.details_required && ours.is_empty() {
        let what = "the token carries none, and the permission means nothing without";
        return Err(Denied::Details(name.clone(), what.into()));
    }
    Ok(ours)
}
