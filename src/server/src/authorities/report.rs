//! Who depends on each key and what is safe to do with it; and what an act by
//! hand would do, before it is done.

use authority::BACKDATE;
use authority::rotation::{
    self, Dependents, Event, Phase, Reason, against_activating, against_revoking, against_tainting,
    foresee, next_step, waiting_for,
};
use identity::Timestamp;
use records::{AuthorityProfile, AuthorityRecord};

use super::rows::Rotor;
use super::{Authorities, KeyStatus};
use crate::failure::{Failure, Kind};

/// What an administrator may do to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Make a successor.
    Prepare,
    /// Let it sign.
    Activate,
    /// Rely on it no more.
    Taint,
    /// Take it out.
    Revoke,
}

/// One act on one key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) act: Act,
    pub(crate) profile: AuthorityProfile,
    /// The key; empty is the only one it can be.
    pub(crate) id: &'a str,
    /// Whatever depends on it.
    pub(crate) force: bool,
}

/// What an act would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The key; empty when it is still to be made.
    pub(crate) id: String,
    /// In order.
    pub(crate) steps: Vec<String>,
    /// Why it is refused; empty when it is not.
    pub(crate) refused_because: Vec<String>,
}

/// One key with all that is known of it.
#[derive(Debug, Clone)]
pub(crate) struct KeyReport {
    pub(crate) status: KeyStatus,
    pub(crate) created_at: Timestamp,
    pub(crate) since: Timestamp,
    pub(crate) dependents: Dependents,
    pub(crate) next: rotation::Next,
    pub(crate) waits_for: Vec<String>,
    pub(crate) against_activating: Vec<Reason>,
    pub(crate) against_tainting: Vec<Reason>,
    pub(crate) against_revoking: Vec<Reason>,
}

impl Authorities {
    /// Every key by profile, oldest first.
    pub(crate) async fn report(&self) -> Vec<KeyReport> {
        let rotors = self.0.rotors.lock().await;
        let rotors = rotors.all().into_iter();
        rotors.flat_map(|rotor| self.report_of(rotor)).collect()
    }

    fn report_of(&self, rotor: &Rotor) -> Vec<KeyReport> {
        let now = self.0.parts.clock.now();
        let statuses = self.0.status_of(rotor, now);
        let keys = statuses.into_iter().filter_map(|status| {
            let slot = rotor.slot_named(&status.id)?;
            let (key, row) = (rotor.state.key(slot)?, rotor.row(slot)?);
            let (state, policy) = (&rotor.state, &rotor.policy);
            let known = self.dependents(rotor, key, now);
            let waits = waiting_for(state, key, now, policy);
            Some(KeyReport {
                created_at: made_at(row),
                since: since(key, made_at(row)),
                dependents: known,
                next: next_step(state, key, now, policy),
                waits_for: waits.iter().filter_map(|w| wait_text(*w, &known)).collect(),
                against_activating: self.against_activating(rotor, key, now, &known),
                against_tainting: match rotor.against_taint(slot) {
                    Some(_) => vec![Reason::BelowUpstream],
                    None => against_tainting(key, &known),
                },
                against_revoking: against_revoking(key, now, &known),
                status,
            })
        });
        keys.collect()
    }

    /// Why a key should not sign yet; by the uptime where the wall clock ran ahead.
    fn against_activating(
        &self,
        rotor: &Rotor,
        key: &rotation::Key,
        now: Timestamp,
        known: &Dependents,
    ) -> Vec<Reason> {
        let steady = rotor.steady(key, now, self.0.parts.clock.since_boot());
        against_activating(&rotor.state, key, steady, &rotor.policy, known)
    }

    /// Who depends on a key.
    fn dependents(&self, rotor: &Rotor, key: &rotation::Key, now: Timestamp) -> Dependents {
        let signed = self.0.ledger.outstanding(&key.id, now);
        let state = &self.0.parts.state;
        let holding = if key.tainted {
            state.agents_not_replaced(self.0.parts.plan.longest(rotor.profile))
        } else {
            0
        };
        Dependents {
            unexpired: signed.unexpired,
            last_expiry: signed.last_expiry,
            minted: signed.minted,
            counted: signed.counted,
            behind: state.agents_behind_bundle(),
            holding,
        }
    }

    /// What an act would do now; nothing is done.
    ///
    /// # Errors
    /// There is no such key, or the name fits several.
    pub(crate) async fn plan(&self, order: Order<'_>) -> Result<Plan, Failure> {
        let mut rotors = self.0.rotors.lock().await;
        self.plan_in(rotors.of(order.profile), order)
    }

    pub(super) fn plan_in(&self, rotor: &Rotor, order: Order<'_>) -> Result<Plan, Failure> {
        let now = self.0.parts.clock.now();
        let (id, event, against) = match order.act {
            Act::Prepare => (String::new(), Event::PrepareNow, Vec::new()),
            act => {
                let key = chosen(rotor, order)?;
                let known = self.dependents(rotor, key, now);
                let slot = key.slot;
                let (event, against) = match act {
                    Act::Activate => (
                        Event::ActivateNow { slot },
                        self.against_activating(rotor, key, now, &known),
                    ),
                    // Tainting what signs is what an emergency asks for; under an
                    // upstream it would do nothing, forced or not.
                    Act::Taint | Act::Prepare => {
                        if let Some(why) = rotor.against_taint(slot) {
                            return Err(Failure::new(Kind::Precondition, why));
                        }
                        (Event::Taint { slot }, Vec::new())
                    }
                    Act::Revoke => (Event::Revoke { slot }, against_revoking(key, now, &known)),
                };
                (key.id.to_string(), event, against)
            }
        };
        let against = if order.force { Vec::new() } else { against };
        let mut refused_because: Vec<String> = against.iter().map(Reason::to_string).collect();
        let steps = match foresee(&rotor.state, event, now, &rotor.policy) {
            Ok(steps) => steps,
            Err(why) => {
                if refused_because.is_empty() {
                    refused_because.push(why.to_owned());
                }
                Vec::new()
            }
        };
        Ok(Plan {
            id,
            steps,
            refused_because,
        })
    }
}

/// The key an order is about: the one it names, or the only one it can be.
fn chosen<'a>(rotor: &'a Rotor, order: Order<'_>) -> Result<&'a rotation::Key, Failure> {
    let keys = &rotor.state.keys;
    if !order.id.is_empty() {
        let named = keys.iter().find(|key| *key.id == *order.id);
        return named.ok_or_else(super::admin::no_such_key);
    }
    let fits = |key: &&rotation::Key| match order.act {
        Act::Prepare => false,
        Act::Activate => matches!(key.phase, Phase::Prepared | Phase::Published { .. }),
        Act::Taint => {
            !key.tainted && matches!(key.phase, Phase::Active { .. } | Phase::Retired { .. })
        }
        Act::Revoke => matches!(key.phase, Phase::Retired { .. }),
    };
    let mut candidates = keys.iter().filter(fits);
    match (candidates.next(), candidates.next()) {
        (Some(key), None) => Ok(key),
        (None, _) => Err(Failure::new(
            Kind::NotFound,
            "there is no key to which that can be done; see its key states",
        )),
        (Some(_), Some(_)) => Err(Failure::invalid(
            "id: there are several keys to which that can be done; name one of them",
        )),
    }
}

/// When a key was made: certificates begin a little earlier.
pub(super) fn made_at(row: &AuthorityRecord) -> Timestamp {
    match row.profile {
        AuthorityProfile::X509 => row.not_before.plus(BACKDATE),
        AuthorityProfile::Jwt | AuthorityProfile::Access => row.not_before,
    }
}

fn since(key: &rotation::Key, created_at: Timestamp) -> Timestamp {
    match key.phase {
        Phase::Prepared => created_at,
        Phase::Published { at, .. } | Phase::Active { at } | Phase::Retired { at, .. } => at,
    }
}

fn wait_text(wait: rotation::Waiting, known: &Dependents) -> Option<String> {
    use rotation::Waiting;
    match wait {
        Waiting::Publication => Some("the commit of a bundle that holds it".to_owned()),
        Waiting::Acknowledgement => Some(format!(
            "{} agents that have not taken in the newest bundle",
            known.behind
        )),
        Waiting::PublicationInterval(_) => Some("the publication interval".to_owned()),
        // Said by the time of the next step.
        Waiting::Schedule(_) => None,
        Waiting::LastExpiry(_) => Some("the expiry of the last thing it signed".to_owned()),
    }
}
