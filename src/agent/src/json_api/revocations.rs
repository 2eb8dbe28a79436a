//! `GET /v1/revocations`: what is revoked in the own trust domain, signed, for a
//! relying party that checks by itself. The list is no secret; who may see it is who
//! may see the bundle that verifies it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Call;
use super::conditions::Tagger;
use super::poll::{Found, Look, Source};
use super::problem::{Kind, Problem};
use super::x509::nothing;
use crate::hub::{RevocationNews, Subscription};
use crate::process::Attested;

/// The newest list.
pub(super) struct RevocationList;

impl Source for RevocationList {
    const IS_VIEW: bool = false;

    async fn look(
        &self,
        call: &Call<'_>,
        attested: &Attested,
        view: &mut Subscription,
    ) -> Result<Look, Problem> {
        view.mark_seen();
        let hub = &call.connection.api.core.hub;
        if let Err(status) = hub.visible_bundles(&attested.caller()) {
            return nothing(status);
        }
        Ok(match hub.newest_revocations() {
            Some(news) => Look::Found(found(&news)),
            None => Look::Nothing(
                Kind::Unavailable.because("the agent has not been given a list of revocations yet"),
            ),
        })
    }
}

fn found(news: &RevocationNews) -> Found {
    let mut tagger = Tagger::new("revocations");
    tagger.add(news.list.as_bytes());
    let crls: Value = news.crls.iter().map(|der| STANDARD.encode(der)).collect();
    let revocations = &news.revocations;
    let body = json!({
        "trust_domain": revocations.trust_domain().id().to_string(),
        "sequence": revocations.sequence(),
        "list": *news.list,
        "crls": crls,
        "issued_at": revocations.issued_at().0,
        "renew_at": revocations.next_update().0,
    });
    Found {
        body: super::text(&body),
        etag: tagger.finish(),
        stale_at: None,
    }
}
