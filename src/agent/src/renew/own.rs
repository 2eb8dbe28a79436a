//! The agent's own SVID: renewed at half of its life, give or take a tenth, or
//! when the server orders it; always with a new key.

use std::sync::Arc;
use std::time::Duration;

use api::agent::agent_client::AgentClient;
use api::agent::{AgentX509svidParams, RenewAgentRequest};
use identity::{PrivateKeyDer, Seconds, Timestamp, X509Svid};

use crate::backoff::Backoff;
use crate::core::Core;
use crate::disk::OwnIdentity;
use crate::enrol::{EnrolError, adopt, certification_request, own_svid, pending_key};
use crate::health::Part;
use crate::limits;

/// Renews whenever it is time, for as long as the agent runs.
pub(crate) async fn keep_own_young(core: Arc<Core>) {
    let mut spread = core.entropy.fraction();
    let mut life = Life::default();
    loop {
        if !wait_until_due(&core, &mut life, spread).await {
            continue;
        }
        let mut backoff = Backoff::up_to(longest_pause(&core));
        while let Err(error) = renew(&core).await {
            let why = format!("the agent's SVID was not renewed: {error}");
            core.duties
                .own_svid
                .failed(core.clock.boottime(), why.as_str());
            core.problem(Part::Renewal, why);
            if !core.has_valid_identity() {
                break;
            }
            tokio::time::sleep(backoff.next(core.entropy.fraction())).await;
        }
        core.duties.own_svid.expect(core.clock.boottime());
        spread = core.entropy.fraction();
    }
}

/// Sleeps a while; says whether it is time to renew. Wakes at least every half
/// minute, because a suspended machine's timers stand still.
async fn wait_until_due(core: &Core, life: &mut Life, spread: f64) -> bool {
    // Listening before looking: an SVID that comes in between is not missed.
    let mut renewed = std::pin::pin!(core.renewed.notified());
    renewed.as_mut().enable();
    let now = core.now();
    let own = core.own().filter(|own| own.svid.not_after > now);
    let Some(own) = own else {
        // Too late to renew; whoever follows the server enrols again.
        core.duties.own_svid.rest();
        tokio::select! {
            () = renewed => {}
            () = tokio::time::sleep(limits::LONGEST_SLEEP) => {}
        }
        return false;
    };
    let mut due = life.renew_at(&own.svid, now, spread);
    if !core.own_stands() {
        // The server signed with a tainted key once more: its successor is on its way.
        due = due.min(now.plus(limits::SUSPECT_RETRY));
    }
    if due > now {
        core.duties.own_svid.done(core.clock.boottime());
    }
    let wait = Duration::from_secs(due.since(now).0.into()).min(limits::LONGEST_SLEEP);
    tokio::select! {
        () = core.rekey.notified() => true,
        () = renewed => false,
        () = tokio::time::sleep(wait) => core.now() >= due,
    }
}

/// From when the life of the SVID that is held counts: from when it came, not
/// from its start, which the server sets a minute back. A life shorter than that
/// minute would otherwise be half over at once, and renewed without end.
#[derive(Default)]
struct Life {
    held: Option<Held>,
}

#[derive(Clone, Copy)]
struct Held {
    not_before: Timestamp,
    not_after: Timestamp,
    from: Timestamp,
}

impl Life {
    /// Half of the lifetime, give or take a tenth of it; `spread` in `0.0..1.0`.
    /// When an SVID of an earlier run came is not known: its own start stands in.
    fn renew_at(&mut self, svid: &X509Svid, now: Timestamp, spread: f64) -> Timestamp {
        let (not_before, not_after) = (svid.not_before, svid.not_after);
        let same = |h: &Held| h.not_before == not_before && h.not_after == not_after;
        let from = match self.held {
            Some(held) if same(&held) => held.from,
            Some(_) => not_before.max(now),
            None => not_before,
        };
        self.held = Some(Held {
            not_before,
            not_after,
            from,
        });
        let life = f64::from(not_after.since(from).0);
        let after = Duration::from_secs_f64(life * 0.2f64.mul_add(spread, 0.4));
        from.plus(Seconds(u32::try_from(after.as_secs()).unwrap_or(u32::MAX)))
    }
}

/// A tenth of what is left, so that there is time for some ten attempts.
fn longest_pause(core: &Core) -> Duration {
    let left = core
        .own()
        .map_or(Seconds(0), |own| own.svid.not_after.since(core.now()));
    Duration::from_secs((left.0 / 10).into()).min(limits::RETRY_CEILING)
}

async fn renew(core: &Core) -> Result<(), EnrolError> {
    let bundle = core.hub.own_bundle().ok_or(EnrolError::NoAnchor)?;
    let own = core
        .own()
        .ok_or(EnrolError::NoToken("this agent has no SVID to renew"))?;
    if own.reattestable {
        // Whoever can prove the node again does: what proved it may have expired since.
        crate::sync::enrol(core, "this agent's SVID is half-way through its life").await?;
        core.works(Part::Renewal);
        return Ok(());
    }
    let (pkcs8, signer) = pending_key(&core.folder, &core.entropy)?;
    let csr = certification_request(&signer).map_err(|e| EnrolError::Key(e.to_string()))?;
    let request = RenewAgentRequest {
        params: Some(AgentX509svidParams { csr: csr.into() }),
    };
    let renew = |channel| {
        let request = request.clone();
        async move { AgentClient::new(channel).renew_agent(request).await }
    };
    let answer = core.link.call(renew).await.map_err(EnrolError::Refused)?;
    let chain = answer
        .svid
        .ok_or(EnrolError::Answer("it has no SVID"))?
        .cert_chain;
    let svid = own_svid(&chain, &signer, &bundle, core.now())?;
    if svid.spiffe_id != own.svid.spiffe_id {
        return Err(EnrolError::Answer("its SVID is another agent's"));
    }
    let renewed = OwnIdentity {
        svid,
        key: PrivateKeyDer::new(&pkcs8),
        reattestable: own.reattestable,
    };
    adopt(&renewed, &core.folder)?;
    core.become_known_as(renewed)
        .await
        .map_err(|e| EnrolError::Key(e.to_string()))?;
    core.works(Part::Renewal);
    Ok(())
}

#[cfg(test)]
mod tests {
    use identity::SpiffeId;

    use super::*;

    fn svid(not_before: i64, not_after: i64) -> X509Svid {
        X509Svid {
            spiffe_id: SpiffeId::parse("spiffe://a/spire/agent/x/y").unwrap(),
            chain: Vec::new(),
            not_before: Timestamp(not_before),
            not_after: Timestamp(not_after),
        }
    }

    #[test]
    fn half_life_is_the_middle_and_jitter_stays_within_a_fifth() {
        let at = |spread| Life::default().renew_at(&svid(1000, 2000), Timestamp(1010), spread);
        assert_eq!(at(0.0), Timestamp(1400));
        assert_eq!(at(0.5), Timestamp(1500));
        assert!(at(0.999) <= Timestamp(1600));
    }

    #[test]
    fn a_life_shorter_than_its_backdating_is_not_renewed_without_end() {
        let mut life = Life::default();
        life.renew_at(&svid(900, 990), Timestamp(960), 0.5);
        // Renewed at 1000 for 20 s: it says that it began at 940.
        let renewed = svid(940, 1020);
        assert_eq!(
            life.renew_at(&renewed, Timestamp(1000), 0.5),
            Timestamp(1010)
        );
        // Asked again later, it stays due at the same time.
        assert_eq!(
            life.renew_at(&renewed, Timestamp(1007), 0.5),
            Timestamp(1010)
        );
    }
}
