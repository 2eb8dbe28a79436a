//! `GET /v1/bundles`: what the caller may verify others with: the bundle of its own
//! trust domain and of those it federates with.

use std::sync::Arc;

use identity::{Bundle, Timestamp};
use serde_json::{Map, Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Call;
use super::conditions::Tagger;
use super::poll::{Found, Look, Source};
use super::problem::Problem;
use super::x509::{authorities, nothing, tag_bundle};
use crate::hub::Subscription;
use crate::process::Attested;

/// When to ask again for a bundle that does not say, in seconds.
const REFRESH: u32 = 300;

/// The bundles the caller may see.
pub(super) struct Bundles;

impl Source for Bundles {
    const IS_VIEW: bool = false;

    async fn look(
        &self,
        call: &Call<'_>,
        attested: &Attested,
        view: &mut Subscription,
    ) -> Result<Look, Problem> {
        view.mark_seen();
        let core = &call.connection.api.core;
        let mut bundles = match core.hub.visible_bundles(&attested.caller()) {
            Ok(bundles) if bundles.is_empty() => return Ok(Look::Pending),
            Ok(bundles) => bundles,
            Err(status) => return nothing(status),
        };
        bundles.sort_by(|a, b| a.trust_domain.cmp(&b.trust_domain));
        let own = core.settings.trust_domain.id().to_string();
        Ok(Look::Found(found(&own, &bundles, core.now())))
    }
}

fn found(own: &str, bundles: &[Arc<Bundle>], now: Timestamp) -> Found {
    let mut tagger = Tagger::new("bundles");
    let mut members = Map::new();
    for bundle in bundles {
        let jwks = verify::bundle_format::encode_jwt_keys(bundle);
        tag_bundle(&mut tagger, bundle);
        tagger.add(jwks.as_bytes());
        let jwks: Value = serde_json::from_str(&jwks).unwrap_or_default();
        let value = json!({ "x509_authorities": authorities(bundle), "jwt_authorities": jwks });
        members.insert(bundle.trust_domain.id().to_string(), value);
    }
    let hints = bundles.iter().filter_map(|b| b.refresh_hint).map(|s| s.0);
    let refresh = hints.filter(|s| *s > 0).min().unwrap_or(REFRESH);
    let body = json!({
        "trust_domain": own,
        "bundles": members,
        "expires_at": bundles.iter().filter_map(|b| expiry(b)).min(),
        "renew_at": now.0.saturating_add(refresh.into()),
    });
    Found {
        body: super::text(&body),
        etag: tagger.finish(),
        stale_at: None,
    }
}

/// When the first authority of a bundle expires: by then there is a newer bundle.
fn expiry(bundle: &Bundle) -> Option<i64> {
    let x509 = bundle.x509_authorities.iter().filter_map(|authority| {
        let (_, certificate) = X509Certificate::from_der(&authority.der).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    let jwt = bundle.jwt_authorities.iter();
    let jwt = jwt.filter_map(|key| key.expires_at).map(|at| at.0);
    x509.chain(jwt).min()
}
