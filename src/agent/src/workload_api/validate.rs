//! ValidateJWTSVID: a token for one audience, against the bundle of its own
//! trust domain, if the caller may see that bundle.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::workload::{ValidateJwtsvidRequest, ValidateJwtsvidResponse};
use http::Request;
use http::Response;
use hyper::body::Incoming;
use identity::{Bundle, Seconds, TrustDomain};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Value as Json};
use tonic::Status;
use verify::{RevocationCheck, VerifiedJwt};

use super::admission::Admitted;
use super::connection::Connection;
use super::wire::{self, Answer};

/// How far the clocks of issuer and verifier may differ.
pub(crate) const LEEWAY: Seconds = Seconds(5);
/// Claims of foreign trust domains that are handed on: the meaning of others is
/// not ours to vouch for.
const FOREIGN_CLAIMS: [&str; 5] = ["sub", "aud", "exp", "iat", "jti"];

/// Answers one call.
pub(super) async fn answer(
    connection: &Connection,
    request: Request<Incoming>,
    _admitted: Admitted,
) -> Result<Response<Answer>, Status> {
    let wanted: ValidateJwtsvidRequest = connection.message(request).await?;
    if wanted.audience.is_empty() {
        return Err(Status::invalid_argument("audience must be specified"));
    }
    if wanted.svid.is_empty() {
        return Err(Status::invalid_argument("svid must be specified"));
    }
    let attested = connection.attest().await?;
    let hub = &connection.api.core.hub;
    let bundles: BTreeMap<TrustDomain, Arc<Bundle>> = hub
        .visible_bundles(&attested.caller())?
        .into_iter()
        .map(|bundle| (bundle.trust_domain.clone(), bundle))
        .collect();
    hub.knows_revocations()?;
    let now = connection.api.core.now();
    let revocations = RevocationCheck::of(&**hub);
    let verified = verify::verify_jwt_svid_not_revoked(
        &wanted.svid,
        &wanted.audience,
        &bundles,
        revocations,
        now,
        LEEWAY,
    )
    .map_err(|fault| Status::invalid_argument(fault.to_string()))?;
    let is_ours = verified
        .spiffe_id
        .is_member_of(&connection.api.core.settings.trust_domain);
    let response = ValidateJwtsvidResponse {
        spiffe_id: verified.spiffe_id.to_string(),
        claims: Some(structure(claims(verified, is_ours))),
    };
    Ok(wire::respond(Answer::One(Some(wire::frame(&response)))))
}

/// The claims that are handed on; `aud` is always a list.
pub(crate) fn claims(verified: VerifiedJwt, is_ours: bool) -> Map<String, Json> {
    let mut claims = verified.claims;
    if !is_ours {
        claims.retain(|name, _| FOREIGN_CLAIMS.contains(&name.as_str()));
    }
    if let Some(audience) = claims.get_mut("aud")
        && audience.is_string()
    {
        *audience = Json::Array(vec![audience.take()]);
    }
    claims
}

// As deep as the parser let it be, which is 128.
fn structure(map: Map<String, Json>) -> Struct {
    Struct {
        fields: map
            .into_iter()
            .map(|(name, json)| (name, value(json)))
            .collect(),
    }
}

fn value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(b) => Kind::BoolValue(b),
        Json::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or(f64::NAN)),
        Json::String(s) => Kind::StringValue(s),
        Json::Array(list) => Kind::ListValue(ListValue {
            values: list.into_iter().map(value).collect(),
        }),
        Json::Object(map) => Kind::StructValue(structure(map)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use identity::{SpiffeId, Timestamp};
    use serde_json::json;

    use super::*;

    fn verified(claims: &Json) -> VerifiedJwt {
        VerifiedJwt {
            spiffe_id: SpiffeId::parse("spiffe://example.org/a").unwrap(),
            expires_at: Timestamp(9),
            claims: claims.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn the_audience_is_always_a_list_and_times_are_numbers() {
        let json = json!({"sub": "spiffe://example.org/a", "aud": "x", "exp": 9, "extra": {"a": [1, null]}});
        let ours = structure(claims(verified(&json), true));
        let Some(Kind::ListValue(audience)) = &ours.fields["aud"].kind else {
            panic!("aud is no list");
        };
        assert_eq!(audience.values, [value(json!("x"))]);
        assert_eq!(ours.fields["exp"].kind, Some(Kind::NumberValue(9.0)));
        assert!(ours.fields.contains_key("extra"));
        let foreign = claims(verified(&json), false);
        assert_eq!(foreign.len(), 3, "foreign claims are not handed on");
    }
}
