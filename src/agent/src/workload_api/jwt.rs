//! FetchJWTSVID: from the cache while a token is young, else from the server,
//! once however many callers ask at the same time.

use std::sync::Arc;

use api::svid::NewJwtsvidRequest;
use api::svid::svid_client::SvidClient;
use api::types;
use api::workload::{Jwtsvid, JwtsvidRequest, JwtsvidResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use identity::{Entry, EntryId, JwtSvid, SpiffeId, Timestamp};
use tonic::{Code, Status};
use workload::JwtHit;

use super::connection::process_changed;
use super::flights::Flights;
use super::wire::frame;
use crate::core::Core;
use crate::hub::no_identity;
use crate::process::Caller;

/// What callers ask for together: one entry, one list of audiences.
type Asked = (EntryId, Vec<String>);
/// Issues and caches JWT-SVIDs.
pub(crate) struct Tokens {
    core: Arc<Core>,
    flights: Flights<Asked>,
}

/// A token with the entry it was issued by.
pub(crate) type Granted = (Arc<Entry>, Arc<JwtSvid>);

/// A checked request.
pub(crate) struct Wanted {
    audience: Vec<String>,
    spiffe_id: Option<SpiffeId>,
    of: fn(&Entry) -> bool,
}

impl Wanted {
    /// The same of these entries alone.
    pub(crate) fn limited_to(self, of: fn(&Entry) -> bool) -> Self {
        Self { of, ..self }
    }
}

impl Tokens {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            flights: Flights::default(),
        }
    }

    /// Checks what is asked for, before the caller is attested.
    pub(crate) fn parse(&self, wire: JwtsvidRequest) -> Result<Wanted, Status> {
        let bounds = &self.core.settings.config.limits;
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let refused = if wire.audience.is_empty() || wire.audience.iter().any(String::is_empty) {
            "audience must be specified: at least one, and none empty"
        } else if wire.audience.len() > count(bounds.audiences) {
            "too many audiences"
        } else if wire
            .audience
            .iter()
            .any(|a| a.len() > count(bounds.audience_bytes))
        {
            "an audience is too long"
        } else {
            let spiffe_id = match wire.spiffe_id.as_str() {
                "" => None,
                text => Some(
                    SpiffeId::parse(text).map_err(|e| Status::invalid_argument(e.to_string()))?,
                ),
            };
            return Ok(Wanted {
                audience: wire.audience,
                spiffe_id,
                of: |_| true,
            });
        };
        Err(Status::invalid_argument(refused))
    }

    /// The framed answer.
    pub(super) async fn answer(
        &self,
        caller: &Arc<Caller>,
        who: &workload::Caller,
        wanted: Wanted,
    ) -> Result<Bytes, Status> {
        let granted = self.grant(caller, who, &wanted).await?;
        Ok(encode(&granted))
    }

    /// One token for each identity of the caller, or for the one it names.
    pub(crate) async fn grant(
        &self,
        caller: &Arc<Caller>,
        who: &workload::Caller,
        wanted: &Wanted,
    ) -> Result<Vec<Granted>, Status> {
        let entries = self.entries(who, wanted)?;
        if let Some(tokens) = self.cached(&entries, &wanted.audience) {
            return Ok(entries.into_iter().zip(tokens).collect());
        }
        let issued = entries
            .iter()
            .map(|entry| self.token(entry, &wanted.audience));
        let tokens = futures_util::future::try_join_all(issued).await?;
        // That took a while: the caller may be another program by now, and the
        // entries another's.
        caller.recheck().map_err(|error| process_changed(&error))?;
        let now = self.entries(who, wanted)?;
        let is_still_theirs = |entry: &Arc<Entry>| {
            now.iter()
                .any(|e| e.id == entry.id && e.spiffe_id == entry.spiffe_id)
        };
        if !entries.iter().all(is_still_theirs) {
            return Err(Status::unavailable(
                "the caller's identities have just changed; call again",
            ));
        }
        Ok(entries.into_iter().zip(tokens).collect())
    }

    fn entries(&self, who: &workload::Caller, wanted: &Wanted) -> Result<Vec<Arc<Entry>>, Status> {
        // Who asks for one identity is given that one, whatever others come first.
        let entries = self.core.hub.matching_among(who, |entry| {
            let is_asked_for = wanted
                .spiffe_id
                .as_ref()
                .is_none_or(|id| entry.spiffe_id == *id);
            is_asked_for && (wanted.of)(entry)
        })?;
        if entries.is_empty() {
            return Err(no_identity());
        }
        Ok(entries)
    }

    /// All tokens, if all are in the cache and young.
    fn cached(&self, entries: &[Arc<Entry>], audience: &[String]) -> Option<Vec<Arc<JwtSvid>>> {
        entries
            .iter()
            .map(|entry| match self.core.hub.jwt(&entry.id, audience) {
                Some(JwtHit::Fresh(svid)) => Some(svid),
                Some(JwtHit::Aging(_)) | None => None,
            })
            .collect()
    }

    /// One token; callers that want the same one wait for it together.
    async fn token(&self, entry: &Arc<Entry>, audience: &[String]) -> Result<Arc<JwtSvid>, Status> {
        let asked = (entry.id.clone(), audience.to_vec());
        let _turn = self.flights.turn(asked).await?;
        let aging = match self.core.hub.jwt(&entry.id, audience) {
            Some(JwtHit::Fresh(svid)) => return Ok(svid),
            Some(JwtHit::Aging(svid)) => Some(svid),
            None => None,
        };
        match (self.issue(entry, audience).await, aging) {
            (Ok(svid), _) => {
                let svid = Arc::new(svid);
                self.core.hub.store_jwt(entry, audience, Arc::clone(&svid));
                Ok(svid)
            }
            // Still good for the other half of its life.
            (Err(_), Some(svid)) => Ok(svid),
            (Err(status), None) => Err(status),
        }
    }

    async fn issue(&self, entry: &Entry, audience: &[String]) -> Result<JwtSvid, Status> {
        let away = |why: String| Status::unavailable(format!("no JWT-SVID could be issued: {why}"));
        if !self.core.has_valid_identity() {
            return Err(away("the agent has no valid SVID of its own".to_owned()));
        }
        let request = NewJwtsvidRequest {
            entry_id: entry.id.to_string(),
            audience: audience.to_vec(),
        };
        let issue = |channel| {
            let request = request.clone();
            async move { SvidClient::new(channel).new_jwtsvid(request).await }
        };
        let answer = self.core.link.call(issue).await;
        let answer = answer.map_err(|status| match status.code() {
            Code::InvalidArgument => Status::invalid_argument(status.message().to_owned()),
            code => away(format!("{} ({code})", status.message())),
        })?;
        let svid = answer
            .svid
            .ok_or_else(|| away("the answer has none".to_owned()))?;
        metrics::counter!("bulla_agent_jwt_svids_issued_total").increment(1);
        accept(entry, svid, self.core.now()).map_err(|why| away(why.to_owned()))
    }
}

/// Checks what was issued against what was asked for.
fn accept(entry: &Entry, wire: types::Jwtsvid, now: Timestamp) -> Result<JwtSvid, &'static str> {
    let id = api::convert::id_from_wire("svid.id", wire.id.as_ref()).or(Err("its id is none"))?;
    if id != entry.spiffe_id {
        return Err("it is for another SPIFFE ID");
    }
    if wire.expires_at <= now.0 || wire.issued_at > wire.expires_at {
        return Err("its times make no sense");
    }
    Ok(JwtSvid {
        spiffe_id: id,
        key_id: key_id(&wire.token).ok_or("its header names no key")?.into(),
        token: wire.token.as_str().into(),
        issued_at: Timestamp(wire.issued_at),
        expires_at: Timestamp(wire.expires_at),
    })
}

/// The `kid` in a token's header.
pub(crate) fn key_id(token: &str) -> Option<String> {
    let (header, _) = token.split_once('.')?;
    let header = URL_SAFE_NO_PAD.decode(header).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    Some(header.get("kid")?.as_str()?.to_owned())
}

fn encode(granted: &[Granted]) -> Bytes {
    let svids = granted.iter().map(|(entry, token)| Jwtsvid {
        spiffe_id: token.spiffe_id.to_string(),
        svid: token.token.to_string(),
        hint: entry.hint.clone(),
    });
    frame(&JwtsvidResponse {
        svids: svids.collect(),
    })
}
