//! `GET /v1/svid/jwt?audience=…`: JWT-SVIDs for exactly the audiences asked for.

use api::workload::JwtsvidRequest;
use identity::{JwtSvid, Timestamp};
use serde_json::{Value, json};

use super::Call;
use super::conditions::Tagger;
use super::poll::{Found, Look, Source};
use super::problem::{Kind, Problem};
use super::x509::{earliest, nothing};
use crate::hub::Subscription;
use crate::process::Attested;
use crate::workload_api::Wanted;

/// The JWT-SVIDs of the caller for some audiences.
pub(super) struct Tokens(Wanted);

impl Tokens {
    /// What the query asks for.
    pub(super) fn wanted(call: &Call<'_>) -> Result<Self, Problem> {
        call.query.expect(Self::PARAMETERS)?;
        let spiffe_id = call.query.one("spiffe_id")?;
        if spiffe_id.as_deref() == Some("") {
            return Err(Kind::BadRequest.because("spiffe_id is empty; leave it out for all"));
        }
        let request = JwtsvidRequest {
            audience: call.query.all("audience"),
            spiffe_id: spiffe_id.unwrap_or_default(),
        };
        Ok(Self(call.connection.api.tokens.parse(request)?))
    }
}

impl Source for Tokens {
    const IS_VIEW: bool = false;
    const PARAMETERS: &'static [&'static str] = &["audience", "spiffe_id"];

    async fn look(
        &self,
        call: &Call<'_>,
        attested: &Attested,
        view: &mut Subscription,
    ) -> Result<Look, Problem> {
        view.mark_seen();
        let (tokens, caller) = (&call.connection.api.tokens, &call.connection.caller);
        let granted = match tokens.grant(caller, &attested.caller(), &self.0).await {
            Ok(granted) => granted,
            Err(status) => return nothing(status),
        };
        let mut tagger = Tagger::new("jwt");
        let svids: Vec<Value> = granted
            .iter()
            .map(|(entry, svid)| {
                tagger.add(entry.hint.as_bytes());
                tagger.add(svid.token.as_bytes());
                json!({
                    "spiffe_id": svid.spiffe_id.to_string(),
                    "hint": entry.hint,
                    "jwt_svid": &*svid.token,
                    "expires_at": svid.expires_at.0,
                    "renew_at": renewed_at(svid).0,
                })
            })
            .collect();
        let times = granted.iter().map(|(_, s)| (s.expires_at, renewed_at(s)));
        let (expires_at, renew_at) = earliest(times);
        let body = json!({ "svids": svids, "expires_at": expires_at, "renew_at": renew_at });
        Ok(Look::Found(Found {
            body: super::text(&body),
            etag: tagger.finish(),
            stale_at: renew_at.map(Timestamp),
        }))
    }
}

/// From then on the agent asks for a new one: half of its life has passed.
fn renewed_at(svid: &JwtSvid) -> Timestamp {
    let life = svid.expires_at.since(svid.issued_at).0;
    Timestamp(svid.expires_at.0 - i64::from(life / 2))
}
