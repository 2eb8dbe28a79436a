//! The gate: which roles a caller has at this moment, and whether a method is
//! among what they may call.
//!
//! Nothing is remembered between calls. A ban, an eviction, an entry that loses
//! its admin flag, an SVID that expires on an open connection: each counts from
//! the next call on. A view of the registry that is too old decides nothing.

use api::status;
use api::types::permission_denied_details::Reason;
use identity::{SpiffeId, Timestamp};
use registry::EntryFilter;
use tonic::Status;

use super::origin::{Certified, Origin};
use super::{Admitted, Cost, Roles, table};
use crate::attest::{AgentDenied, Attestation};
use crate::authorities::Authorities;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::failure::{Failure, Kind};
use crate::state::State;

/// Decides on each call.
pub(crate) struct Gate {
    state: State,
    attestation: Attestation,
    authorities: Authorities,
    clock: Clock,
    /// The server's own user: besides root the only one the admin socket serves.
    own_uid: u32,
}

/// A call that was refused.
#[derive(Debug)]
pub(crate) struct Denial {
    /// Who called, as far as it is known.
    pub(crate) caller: Option<Caller>,
    /// What the caller is told.
    pub(crate) status: Status,
}

/// Who calls, with which roles, and what keeps an agent from being one.
struct Standing {
    caller: Caller,
    roles: Roles,
    fault: Option<AgentDenied>,
}

impl Gate {
    /// A gate over the state; `own_uid` is the user the server runs as.
    pub(crate) const fn new(
        state: State,
        attestation: Attestation,
        authorities: Authorities,
        clock: Clock,
        own_uid: u32,
    ) -> Self {
        Self {
            state,
            attestation,
            authorities,
            clock,
            own_uid,
        }
    }

    /// The time by which the gate decides.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets a call through, and says what it may cost, or says why not.
    pub(crate) async fn admit(
        &self,
        method: &str,
        origin: Option<&Origin>,
    ) -> Result<(Admitted, Cost), Denial> {
        let row = table::row(method).ok_or_else(|| Denial {
            caller: None,
            status: Status::unimplemented("no such method"),
        })?;
        let allowed = row.roles;
        let origin = origin.ok_or_else(|| Denial {
            caller: None,
            status: Kind::Denied.status("the caller's origin is unknown"),
        })?;
        let standing = self.standing(origin, allowed).await?;
        if standing.roles.meets(allowed) {
            let admitted = Admitted {
                caller: standing.caller,
                origin: origin.clone(),
            };
            return Ok((admitted, row.cost));
        }
        let status = refusal(allowed, origin, &standing);
        Err(Denial {
            caller: Some(standing.caller),
            status,
        })
    }

    async fn standing(&self, origin: &Origin, allowed: Roles) -> Result<Standing, Denial> {
        let (caller, roles) = match origin {
            Origin::Local { uid, pid } => {
                let known = *uid == self.own_uid || *uid == 0;
                let (uid, pid) = (*uid, *pid);
                let roles = if known { Roles::LOCAL } else { Roles::NONE };
                (Caller::Local { uid, pid }, roles)
            }
            Origin::Address(address) => (Caller::anonymous(*address), Roles::ANONYMOUS),
            _ => match origin.certified() {
                Some(certified) => return self.certified(certified, allowed).await,
                None => (Caller::Anonymous("unknown".into()), Roles::NONE),
            },
        };
        Ok(Standing {
            caller,
            roles,
            fault: None,
        })
    }

    async fn certified(
        &self,
        certified: Certified<'_>,
        allowed: Roles,
    ) -> Result<Standing, Denial> {
        let id = certified.spiffe_id;
        let now = self.clock.now();
        let mut standing = Standing {
            caller: Caller::Spiffe(id.clone()),
            roles: Roles::NONE,
            fault: None,
        };
        let ours = id.is_member_of(self.state.trust_domain());
        let revoked = self.state.revoked();
        let revoked = revoked.check_certificate(id, certified.serial, certified.not_before);
        if let Err(why) = revoked {
            // Decided on each call, and not by the handshake, so that it can be said why.
            standing.fault = Some(AgentDenied::Revoked(why.to_string()));
        } else if certified.not_after <= now {
            // The handshake was before that: an open connection outlives it.
            standing.fault = (ours && id.is_agent()).then_some(AgentDenied::Expired);
        } else if allowed == Roles::ANYONE || !ours {
            standing.roles = Roles::WORKLOAD;
        } else if !self.signed_here(&certified) {
            // A downstream server could have signed it, with whatever name.
            standing.roles = Roles::WORKLOAD;
            standing.fault = id.is_agent().then_some(AgentDenied::NotAttested);
        } else if id.is_agent() {
            let Certified {
                serial, not_after, ..
            } = certified;
            match self.attestation.admit(id, serial, not_after).await {
                Ok(()) => standing.roles = Roles::AGENT,
                Err(AgentDenied::Undecided(failure)) => {
                    return Err(failed(standing.caller, &failure));
                }
                Err(denied) => standing.fault = Some(denied),
            }
        } else {
            match self.workload(id, now) {
                Ok(roles) => standing.roles = roles,
                Err(failure) => return Err(failed(standing.caller, &failure)),
            }
        }
        Ok(standing)
    }

    /// Whether a key of this server signed the certificate. An agent whose key was
    /// revoked while its connection was open may still renew on it, until that
    /// connection ends: only the certificate on record for its node is admitted.
    fn signed_here(&self, certified: &Certified<'_>) -> bool {
        certified.peer.is_none_or(|peer| {
            let signer = peer.signed_by(|chain| self.authorities.signer_of(chain.first()?));
            let is_agent = certified.spiffe_id.is_agent();
            signer.is_some_and(|id| is_agent || self.authorities.is_live(id))
        })
    }

    /// The roles that entries give to a workload's ID.
    fn workload(&self, id: &SpiffeId, now: Timestamp) -> Result<Roles, Failure> {
        self.state.check_fresh()?;
        let filter = EntryFilter {
            spiffe_id: Some(id.clone()),
            ..EntryFilter::default()
        };
        let entries = self
            .state
            .registry()
            .list_entries(&filter, None, usize::MAX)
            .items;
        let mut roles = Roles::WORKLOAD;
        for entry in entries.iter().filter(|entry| !entry.is_expired(now)) {
            if entry.admin {
                roles = roles.or(Roles::ADMIN);
            }
            if entry.downstream {
                roles = roles.or(Roles::DOWNSTREAM);
            }
        }
        Ok(roles)
    }
}

fn failed(caller: Caller, failure: &Failure) -> Denial {
    Denial {
        caller: Some(caller),
        status: failure.kind().status(failure.message()),
    }
}

/// What a refused caller is told. Agents act on the details, so they are sent
/// only where an agent is expected (`reason` in `PermissionDeniedDetails`).
fn refusal(allowed: Roles, origin: &Origin, standing: &Standing) -> Status {
    let for_agents = allowed.meets(Roles::AGENT);
    match &standing.fault {
        Some(fault) if for_agents || *fault == AgentDenied::Expired => {
            status::denied(reason(fault), fault.to_string())
        }
        Some(AgentDenied::Revoked(why)) => Kind::Denied.status(why.clone()),
        None if for_agents && origin.certified().is_some() => {
            let fault = AgentDenied::NotAttested;
            status::denied(reason(&fault), "the caller is not an attested agent")
        }
        _ if allowed == Roles::LOCAL && !matches!(origin, Origin::Local { .. }) => {
            // Not offered on the network at all.
            Status::unimplemented("this method is served on the admin socket alone")
        }
        _ => Kind::Denied.status(format!(
            "only {allowed} callers may call this method; this one is {}",
            standing.roles
        )),
    }
}

/// What a stock agent is to do about it.
pub(crate) const fn reason(denied: &AgentDenied) -> Reason {
    match denied {
        AgentDenied::Banned => Reason::AgentBanned,
        AgentDenied::NotAttested => Reason::AgentNotAttested,
        AgentDenied::NotActive => Reason::AgentNotActive,
        AgentDenied::Expired => Reason::AgentExpired,
        AgentDenied::Revoked(_) => Reason::AgentMustReattest,
        AgentDenied::Undecided(_) => Reason::Unknown,
    }
}
