//! FetchJWTSVID: from the cache while a token is valid, renewed behind the caller's
//! back when it is no longer young; else from the server, once however many callers
//! ask at the same time.

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

use super::budget::{NewTokens, Payer};
use super::connection::process_changed;
use super::flights::Flights;
use super::wire::frame;
use crate::core::Core;
use crate::hub::no_identity;
use crate::limits;
use crate::process::Caller;

/// What callers ask for together: one entry as it is now, one list of audiences.
type Asked = (EntryId, i64, Vec<String>);

/// Issues and caches JWT-SVIDs.
pub(crate) struct Tokens {
    core: Arc<Core>,
    new_tokens: Arc<NewTokens>,
    flights: Flights<Asked, Arc<JwtSvid>, Status>,
}

/// A token with the entry it was issued by.
pub(crate) type Granted = (Arc<Entry>, Arc<JwtSvid>);

/// A checked request.
pub(crate) struct Wanted {
    audience: Vec<String>,
    spiffe_id: Option<SpiffeId>,
    of: fn(&Entry) -> bool,
    for_others: bool,
}

impl Wanted {
    /// The same for a delegate, who asks in the name of others and is given tokens of
    /// these entries alone.
    pub(crate) fn by_delegate(self, of: fn(&Entry) -> bool) -> Self {
        let for_others = true;
        Self {
            of,
            for_others,
            ..self
        }
    }

    fn payer(&self, caller: &Caller, entry: &Entry) -> Payer {
        if self.for_others {
            Payer::Entry(entry.id.clone())
        } else {
            Payer::User(caller.peer().uid())
        }
    }
}

impl Tokens {
    pub(super) fn new(core: Arc<Core>, new_tokens: Arc<NewTokens>) -> Self {
        Self {
            core,
            new_tokens,
            flights: Flights::default(),
        }
    }

    /// Checks what is asked for, before the caller is attested.
    pub(crate) fn parse(&self, wire: JwtsvidRequest) -> Result<Wanted, Status> {
        let bounds = &self.core.settings.config.limits;
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let lengths = || wire.audience.iter().map(String::len);
        let refused = if wire.audience.is_empty() || lengths().any(|length| length == 0) {
            "audience must be specified: at least one, and none empty".to_owned()
        } else if wire.audience.len() > count(bounds.audiences) {
            let most = bounds.audiences;
            format!("too many audiences; at most {most} may be in one request")
        } else if lengths().any(|length| length > count(bounds.audience_bytes)) {
            let most = bounds.audience_bytes;
            format!("an audience is too long; at most {most} bytes are accepted")
        } else if lengths().sum::<usize>() > limits::AUDIENCES_BYTES {
            let most = limits::AUDIENCES_BYTES;
            format!("the audiences are too long; together at most {most} bytes are accepted")
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
                for_others: false,
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
        if let Some(tokens) = self.held(&entries, &wanted.audience) {
            return Ok(entries.into_iter().zip(tokens).collect());
        }
        let issued = entries.iter().map(|entry| {
            let payer = wanted.payer(caller, entry);
            self.token(payer, entry, &wanted.audience)
        });
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

    /// All tokens, if all are in the cache and none is nearly over. What is no longer
    /// young is renewed meanwhile.
    fn held(&self, entries: &[Arc<Entry>], audience: &[String]) -> Option<Vec<Arc<JwtSvid>>> {
        let now = self.core.now();
        let held = entries.iter().map(|entry| {
            let hit = self.core.hub.jwt(&entry.id, audience)?;
            if let JwtHit::Aging(svid) = &hit {
                let is_good = svid.expires_at.since(now) > limits::TOKEN_NEARLY_OVER;
                return is_good.then_some((entry, hit));
            }
            Some((entry, hit))
        });
        let held: Vec<_> = held.collect::<Option<_>>()?;
        let give = |(entry, hit): (&Arc<Entry>, JwtHit)| match hit {
            JwtHit::Fresh(svid) => svid,
            JwtHit::Aging(svid) => {
                let now = self.core.clock.boottime();
                let ask = || self.issue_and_keep(entry, audience);
                self.flights.ask_behind(asked(entry, audience), now, ask);
                svid
            }
        };
        Some(held.into_iter().map(give).collect())
    }

    /// One token; callers that want the same one wait for it together, and none longer
    /// than the server may take to answer.
    async fn token(
        &self,
        payer: Payer,
        entry: &Arc<Entry>,
        audience: &[String],
    ) -> Result<Arc<JwtSvid>, Status> {
        let aging = match self.core.hub.jwt(&entry.id, audience) {
            Some(JwtHit::Fresh(svid)) => return Ok(svid),
            Some(JwtHit::Aging(svid)) => Some(svid),
            None => None,
        };
        let now = self.core.clock.boottime();
        let pay = || match &aging {
            Some(_) => Ok(()),
            None => {
                let bytes = audience.iter().map(String::len).sum();
                self.new_tokens.pay(payer, bytes, now)
            }
        };
        let ask = || self.issue_and_keep(entry, audience);
        let issued = self
            .flights
            .join(asked(entry, audience), now, pay, ask)
            .await;
        match (issued, aging) {
            // Nearly over, but valid.
            (Err(_), Some(svid)) if svid.expires_at > self.core.now() => Ok(svid),
            (issued, _) => issued,
        }
    }

    fn issue_and_keep(
        &self,
        entry: &Arc<Entry>,
        audience: &[String],
    ) -> impl Future<Output = Result<Arc<JwtSvid>, Status>> + Send + use<> {
        let core = Arc::clone(&self.core);
        let (entry, audience) = (Arc::clone(entry), audience.to_vec());
        async move {
            let svid = Arc::new(issue(&core, &entry, &audience).await?);
            core.hub.store_jwt(&entry, &audience, Arc::clone(&svid));
            Ok(svid)
        }
    }
}

fn asked(entry: &Entry, audience: &[String]) -> Asked {
    (entry.id.clone(), entry.revision, audience.to_vec())
}

async fn issue(core: &Core, entry: &Entry, audience: &[String]) -> Result<JwtSvid, Status> {
    let away = |why: String| Status::unavailable(format!("no JWT-SVID could be issued: {why}"));
    if !core.has_valid_identity() {
        return Err(away("the agent has no valid SVID of its own".to_owned()));
    }
    let request = NewJwtsvidRequest {
        entry_id: entry.id.to_string(),
        audience: audience.to_vec(),
    };
    let call = |channel| {
        let request = request.clone();
        async move { SvidClient::new(channel).new_jwtsvid(request).await }
    };
    let answer = core.link.call(call).await;
    let answer = answer.map_err(|status| match status.code() {
        Code::InvalidArgument => Status::invalid_argument(status.message().to_owned()),
        code => away(format!("{} ({code})", status.message())),
    })?;
    let svid = answer
        .svid
        .ok_or_else(|| away("the answer has none".to_owned()))?;
    metrics::counter!("bulla_agent_jwt_svids_issued_total").increment(1);
    accept(entry, svid, core.now()).map_err(|why| away(why.to_owned()))
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
