//! What an administrator may do to signing keys by hand. The state machine says
//! what is allowed; each act is recorded with who did it.

use authority::rotation::Event;
use records::{AuditKind, AuthorityProfile};

use super::report::{Act, Order, Plan};
use super::rows::Rotor;
use super::{Authorities, KeyStatus};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};

impl Authorities {
    /// Makes and publishes a successor now, if there is none yet; returns it.
    ///
    /// # Errors
    /// It cannot be done now.
    pub(crate) async fn prepare(
        &self,
        caller: &Caller,
        profile: AuthorityProfile,
    ) -> Result<KeyStatus, Failure> {
        self.send(caller, profile, |_| Ok(Event::PrepareNow))
            .await?;
        self.in_state(profile, &["published", "prepared"])
            .ok_or_else(|| Failure::unavailable("no successor could be made now; try again"))
    }

    /// Lets a published key sign now, without waiting for anybody.
    ///
    /// # Errors
    /// There is no such key, or it is not published.
    pub(crate) async fn activate(
        &self,
        caller: &Caller,
        profile: AuthorityProfile,
        id: &str,
    ) -> Result<KeyStatus, Failure> {
        self.send(caller, profile, |rotor| {
            Ok(Event::ActivateNow {
                slot: slot(rotor, id)?,
            })
        })
        .await?;
        self.named(profile, id)
    }

    /// No longer relies on a key: holders replace what it signed.
    ///
    /// # Errors
    /// There is no such key.
    pub(crate) async fn taint(
        &self,
        caller: &Caller,
        profile: AuthorityProfile,
        id: &str,
    ) -> Result<(), Failure> {
        self.send(caller, profile, |rotor| {
            let slot = slot(rotor, id)?;
            match rotor.against_taint(slot) {
                Some(why) => Err(Failure::new(Kind::Precondition, why)),
                None => Ok(Event::Taint { slot }),
            }
        })
        .await
    }

    /// Removes a retired or unused key from the bundle now. While somebody depends on
    /// it, only when forced.
    ///
    /// # Errors
    /// There is no such key, it is the active one, or somebody depends on it.
    pub(crate) async fn revoke(
        &self,
        caller: &Caller,
        profile: AuthorityProfile,
        id: &str,
        force: bool,
    ) -> Result<(), Failure> {
        let order = Order {
            act: Act::Revoke,
            profile,
            id,
            force,
        };
        self.carry_out_order(caller, order).await.map(|_| ())
    }

    /// Does what an administrator orders, and says what was done.
    ///
    /// # Errors
    /// There is no such key, or it is refused; the message says why.
    pub(crate) async fn carry_out_order(
        &self,
        caller: &Caller,
        order: Order<'_>,
    ) -> Result<Plan, Failure> {
        // By a wrong clock nothing would be in use any more.
        self.0.parts.audit.check_clock()?;
        let mut rotors = self.0.rotors.lock().await;
        let rotor = rotors.of(order.profile);
        self.read_again(rotor).await?;
        rotor.above.retry_at = None;
        let mut plan = self.plan_in(rotor, order)?;
        if !plan.refused_because.is_empty() {
            let why = plan.refused_because.join("; ");
            return Err(Failure::new(Kind::Precondition, why));
        }
        if order.force {
            self.record_force(caller, order, &plan.id).await?;
        }
        let event = match order.act {
            Act::Prepare => Event::PrepareNow,
            Act::Activate => Event::ActivateNow {
                slot: slot(rotor, &plan.id)?,
            },
            Act::Taint => Event::Taint {
                slot: slot(rotor, &plan.id)?,
            },
            Act::Revoke => Event::Revoke {
                slot: slot(rotor, &plan.id)?,
            },
        };
        let done = self.drive(rotor, caller, event).await;
        if order.act == Act::Prepare {
            let successor = rotor.state.successor();
            plan.id = successor.map(|key| key.id.to_string()).unwrap_or_default();
        }
        let asked_in_vain = order.act == Act::Prepare && plan.id.is_empty();
        let problem = self.0.alarm.state().problem;
        if asked_in_vain && done.is_ok() && !problem.is_empty() {
            return Err(Failure::unavailable(problem));
        }
        self.show(&rotors);
        self.0.changed.notify_one();
        done.map(|()| plan)
    }

    /// An override is on record before it takes effect.
    async fn record_force(
        &self,
        caller: &Caller,
        order: Order<'_>,
        id: &str,
    ) -> Result<(), Failure> {
        let audit = &self.0.parts.audit;
        let detail = format!("{} {:?} forced", order.profile.as_str(), order.act);
        let mut record = audit.record(AuditKind::KeyRotation, caller);
        record.authority_id = id;
        record.detail = &detail;
        let draft = audit.draft(&record)?;
        audit.append(vec![draft]).await.map(|_| ())
    }

    fn in_state(&self, profile: AuthorityProfile, states: &[&str]) -> Option<KeyStatus> {
        let status = self.status();
        let mut keys = status.iter().filter(|key| key.profile == profile);
        keys.find(|key| states.contains(&key.state)).cloned()
    }

    fn named(&self, profile: AuthorityProfile, id: &str) -> Result<KeyStatus, Failure> {
        let status = self.status();
        let mut keys = status.iter().filter(|key| key.profile == profile);
        keys.find(|key| key.id == id)
            .cloned()
            .ok_or_else(no_such_key)
    }
}

fn slot(rotor: &Rotor, id: &str) -> Result<u64, Failure> {
    rotor.slot_named(id).ok_or_else(no_such_key)
}

pub(super) fn no_such_key() -> Failure {
    Failure::new(
        Kind::NotFound,
        "no signing key of this server has that id; see its key states",
    )
}
