//! What is revoked, as the newest believed list says: SVIDs held here that it names
//! are replaced or dropped, cached tokens too, and every stream is told.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use identity::{JwtSvid, SpiffeId, Timestamp, TrustDomain};
use tonic::Status;
use verify::{RevocationSource, Revocations};
use workload::{Issued, Revoke};

use super::{Hub, State, subscription};

/// A believed list, as it came.
#[derive(Clone, Debug)]
pub(crate) struct RevocationNews {
    /// What it says.
    pub(crate) revocations: Arc<Revocations>,
    /// The compact JWS.
    pub(crate) list: Arc<str>,
    /// The X.509 revocation lists that came with it, DER.
    pub(crate) crls: Arc<[Bytes]>,
}

impl Hub {
    /// The newest list, if there is any.
    pub(crate) fn newest_revocations(&self) -> Option<RevocationNews> {
        self.lock().revocations.clone()
    }

    /// What an earlier run knew to be revoked cannot be read any more: nothing is found
    /// valid until the server has said it again.
    pub(crate) fn lose_revocations(&self) {
        self.lock().revocations_lost = true;
    }

    /// The server has said all that it has to say, a list or none.
    pub(crate) fn revocations_are_told(&self) {
        self.lock().revocations_lost = false;
    }

    /// Whether it is known what is revoked, so that something may be found valid.
    ///
    /// # Errors
    /// It was known in an earlier run, is lost, and the server has not been heard since.
    pub(crate) fn knows_revocations(&self) -> Result<(), Status> {
        if !self.lock().revocations_lost {
            return Ok(());
        }
        Err(Status::unavailable(
            "the agent has lost the list of what is revoked and has not heard from its server \
             since, so nothing can be found valid; call again",
        ))
    }

    /// Takes a list over that was found to be newer than the one in hand.
    pub(crate) fn revoke(&self, news: RevocationNews) {
        let now = self.clock.now();
        let list = Arc::clone(&news.revocations);
        let mut state = self.lock();
        let revoke = Revoke {
            x509: &|issued| is_void(&list, issued),
            jwt: &|svid| is_void_token(&list, svid),
            barred: list.barred().cloned().collect(),
            crls: Arc::clone(&news.crls),
        };
        let (waiting, effects) = state.cache.revoke(revoke, now);
        if !waiting.is_empty() {
            tracing::warn!(svids = waiting.len(), "revoked SVIDs are replaced");
        }
        state.suspects.extend(waiting);
        state.revocations = Some(news);
        state.revocations_lost = false;
        self.show_own_bundle(&mut state);
        // Who polls for the list itself waits on its caller's view, which may be as
        // it was.
        state.show_all(self.clock.boottime());
        self.settle(&mut state, &effects);
        self.note_replaced(&mut state);
    }

    /// Whether a token is revoked that was issued to an ID at that time.
    pub(crate) fn is_revoked(&self, id: &SpiffeId, jti: &str, issued_at: Timestamp) -> bool {
        let news = self.newest_revocations();
        news.is_some_and(|news| {
            let checked = news.revocations.check_token(id, Some(jti), Some(issued_at));
            checked.is_err()
        })
    }

    /// What callers without identity are answered, where that is allowed.
    pub(super) fn show_own_bundle(&self, state: &mut State) {
        let own = state.cache.own_bundle().filter(|_| self.open_to_all);
        let crls = state.revocations.as_ref().map(|news| &news.crls[..]);
        let crls = crls.unwrap_or_default();
        state.own_only = own.map(|own| subscription::OwnBundle::new(own, crls));
    }
}

impl State {
    /// Whether an SVID is to be relied on.
    pub(super) fn relies_on(&self, issued: &Issued) -> bool {
        let revoked = self.revocations.as_ref();
        self.authorities.vouch_for(&issued.svid.chain)
            && revoked.is_none_or(|news| !is_void(&news.revocations, issued))
    }

    /// Whether a token is to be relied on that just came.
    pub(super) fn relies_on_token(&self, svid: &JwtSvid) -> bool {
        let revoked = self.revocations.as_ref();
        revoked.is_none_or(|news| !is_void_token(&news.revocations, svid))
    }
}

fn is_void(list: &Revocations, issued: &Issued) -> bool {
    if list.is_empty() {
        return false;
    }
    let leaf = issued.svid.chain.first();
    let leaf = leaf.and_then(|der| verify::leaf_identity(der).ok());
    leaf.is_some_and(|leaf| {
        let checked = list.check_certificate(&leaf.spiffe_id, &leaf.serial, leaf.not_before);
        checked.is_err()
    })
}

fn is_void_token(list: &Revocations, svid: &JwtSvid) -> bool {
    if list.is_empty() {
        return false;
    }
    let jti = jti(&svid.token);
    let checked = list.check_token(&svid.spiffe_id, jti.as_deref(), Some(svid.issued_at));
    checked.is_err()
}

/// The `jti` in a token's claims.
fn jti(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("jti")?.as_str()?.to_owned())
}

impl RevocationSource for Hub {
    fn revocations(&self, trust_domain: &TrustDomain) -> Option<Arc<Revocations>> {
        let news = self.newest_revocations()?.revocations;
        (news.trust_domain() == trust_domain).then_some(news)
    }
}
