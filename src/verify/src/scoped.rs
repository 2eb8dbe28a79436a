//! Scoped tokens: what the bearer may do, in either profile.
//!
//! A `jwt-svid` is a SPIFFE JWT-SVID that also carries `scope` and
//! `authorization_details`; an `at+jwt` is an access token of RFC 9068 that is
//! always bound to its caller. Only the trust domain that the service belongs to
//! grants: a foreign domain signs its own JWT-SVIDs and could write any scope into
//! them, so those prove who calls and never what they may do.

use std::collections::BTreeSet;

use identity::{Seconds, SpiffeId, Timestamp};
use serde_json::{Map, Value};

use crate::access::is_access_token;
use crate::jwt::{self, Parts};
use crate::possession::{self, Confirmation, PossessionFault, Presenter, ProofId};
use crate::{BundleSource, JwtFault, TokenIssuer, verify_access_token, verify_jwt_svid};

/// The most `authorization_details` a token may carry.
pub const MAX_DETAILS: usize = 64;
/// The most permissions a token may carry.
pub const MAX_PERMISSIONS: usize = 256;

/// The form of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProfile {
    /// A SPIFFE JWT-SVID.
    JwtSvid,
    /// An access token, `at+jwt`.
    AccessToken,
}

impl TokenProfile {
    /// `jwt-svid` or `at+jwt`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JwtSvid => "jwt-svid",
            Self::AccessToken => "at+jwt",
        }
    }
}

/// Whose word counts.
#[derive(Clone, Copy)]
pub struct TokenTrust<'a> {
    /// Bundles, for JWT-SVIDs.
    pub bundles: &'a dyn BundleSource,
    /// The issuer of access tokens, and the trust domain whose tokens grant.
    pub issuer: &'a TokenIssuer,
}

/// A token that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopedToken {
    /// Its form.
    pub profile: TokenProfile,
    /// Whom it speaks for (`sub`).
    pub spiffe_id: SpiffeId,
    /// When it ends (`exp`).
    pub expires_at: Timestamp,
    /// Its own id, the key to the record of the decision behind it.
    pub jti: Option<String>,
    /// What it allows (`scope`); empty for a JWT-SVID that carries none or is of
    /// another trust domain.
    pub permissions: BTreeSet<String>,
    /// What it allows in particular (RFC 9396).
    pub authorization_details: Vec<Value>,
    /// What it is bound to, and the presenter has proved to hold.
    pub confirmation: Option<Confirmation>,
    /// The DPoP proof it came with; accept it once, by [`crate::ProofsSeen`].
    pub proof: Option<ProofId>,
    /// Every claim, as signed.
    pub claims: Map<String, Value>,
}

/// Why a scoped token is not accepted. The text never holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// It is no valid token.
    #[error(transparent)]
    Jwt(#[from] JwtFault),
    /// It is not the presenter's.
    #[error(transparent)]
    Possession(#[from] PossessionFault),
}

/// Verifies a token of either profile for one audience, yours, and that whoever
/// presents it holds what it is bound to.
///
/// # Errors
/// The first rule broken.
pub fn verify_scoped_token(
    token: &str,
    presenter: &Presenter<'_>,
    audience: &str,
    trust: &TokenTrust<'_>,
    now: Timestamp,
    leeway: Seconds,
) -> Result<ScopedToken, TokenFault> {
    let header = jwt::decode_object(Parts::split(token)?.header)?;
    let (profile, verified) = if is_access_token(&header) {
        let verified = verify_access_token(token, audience, trust.issuer, now, leeway)?;
        (TokenProfile::AccessToken, verified)
    } else {
        let verified = verify_jwt_svid(token, audience, trust.bundles, now, leeway)?;
        (TokenProfile::JwtSvid, verified)
    };
    let confirmation = possession::confirmation(&verified.claims)?;
    let proof = match confirmation {
        Some(bound) => possession::check(bound, presenter, token, now, leeway)?,
        None if profile == TokenProfile::AccessToken => {
            return Err(PossessionFault::NotBound.into());
        }
        None => None,
    };
    let grants = verified.spiffe_id.is_member_of(&trust.issuer.trust_domain);
    let claims = &verified.claims;
    Ok(ScopedToken {
        profile,
        expires_at: verified.expires_at,
        jti: claims.get("jti").and_then(Value::as_str).map(str::to_owned),
        permissions: if grants {
            scope(claims)?
        } else {
            BTreeSet::new()
        },
        authorization_details: if grants {
            details(claims, audience)?
        } else {
            Vec::new()
        },
        confirmation,
        proof,
        spiffe_id: verified.spiffe_id,
        claims: verified.claims,
    })
}

/// Names separated by single spaces (RFC 6749 section 3.3).
fn scope(claims: &Map<String, Value>) -> Result<BTreeSet<String>, JwtFault> {
    let fault = |what| JwtFault::Claim {
        name: "scope",
        what,
    };
    let text = match claims.get("scope") {
        None => return Ok(BTreeSet::new()),
        Some(Value::String(text)) => text,
        Some(_) => return Err(fault("is not a string")),
    };
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
    let mut names = BTreeSet::new();
    for name in text.split(' ').filter(|_| !text.is_empty()) {
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(fault("is no list of names separated by single spaces"));
        }
        names.insert(name.to_owned());
    }
    if names.len() > MAX_PERMISSIONS {
        return Err(fault("names too many permissions"));
    }
    Ok(names)
}

/// Objects with a `type`; one with `locations` counts only where it names us
/// (RFC 9396 section 2.2).
fn details(claims: &Map<String, Value>, audience: &str) -> Result<Vec<Value>, JwtFault> {
    let fault = |what| JwtFault::Claim {
        name: "authorization_details",
        what,
    };
    let list = match claims.get("authorization_details") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MAX_DETAILS => list,
        Some(Value::Array(_)) => return Err(fault("has too many objects")),
        Some(_) => return Err(fault("is not an array")),
    };
    let mut ours = Vec::new();
    for object in list {
        if object.get("type").and_then(Value::as_str).is_none() {
            return Err(fault("has an object without a type"));
        }
        let here = match object.get("locations") {
            None => true,
            Some(Value::Array(places)) => places.iter().any(|p| p.as_str() == Some(audience)),
            Some(_) => return Err(fault("has an object whose locations are no array")),
        };
        if here {
            ours.push(object.clone());
        }
    }
    Ok(ours)
}
