//! Under an upstream authority: what is seen of it is followed into the own bundle,
//! a new intermediate is asked for when one is due, and a loss is told, not suffered.

use std::sync::Arc;

use authority::rotation::{Event, Phase, Policy, Slot};
use authority::upstream::{Anchored, Given, Granted, Holding, is_worth_it, needs_successor};
use identity::{JwtAuthorityKey, Seconds, Timestamp};
use keys::Signer;
use records::{AuthorityProfile, AuthorityRecord};

use super::rows::Rotor;
use super::{Authorities, Rotors};
use crate::failure::Failure;
use crate::limits;
use crate::upstream::Look;

/// What the X.509 rotation knows of the authority above.
#[derive(Default)]
pub(super) struct Above {
    /// What of it stands, or is to stand, in the own bundle.
    pub(super) known: Given,
    /// Whether there are records of that.
    pub(super) is_stored: bool,
    /// What it publishes now; `None` while it is away.
    pub(super) given: Option<Given>,
    /// What signs intermediates, when it is known.
    pub(super) issuer: Option<Arc<[u8]>>,
    /// After it could not sign, it is not asked before that time.
    pub(super) retry_at: Option<Timestamp>,
}

impl Rotor {
    /// The live keys that an upstream certified; one slot may be left out.
    pub(super) fn anchored(&self, without: Option<Slot>) -> Vec<Anchored> {
        let keys = self.state.keys.iter();
        let keys = keys.filter(|key| Some(key.slot) != without);
        let keys = keys.filter_map(|key| {
            let signs = matches!(key.phase, Phase::Active { .. });
            anchored(self.row(key.slot)?, signs)
        });
        keys.collect()
    }

    /// The key that signs, if an upstream certified it.
    fn active_anchored(&self) -> Option<Anchored> {
        let active = self.state.active()?;
        anchored(self.row(active.slot)?, true)
    }

    /// Why a taint of this key would reach nobody.
    pub(super) fn against_taint(&self, slot: Slot) -> Option<&'static str> {
        let used = self
            .state
            .key(slot)
            .is_some_and(|key| matches!(key.phase, Phase::Active { .. } | Phase::Retired { .. }));
        let below = self.row(slot).is_some_and(|row| row.chain.len() > 1);
        (used && below).then_some(
            "under an upstream authority the bundle holds that one's roots, not this key, so that \
             nobody could see its taint; replace the upstream CA and taint its root \
             (`bulla keys taint upstream`)",
        )
    }

    /// Whether the root that a key leads to is tainted.
    pub(super) fn is_below_tainted_root(&self, row: &AuthorityRecord) -> bool {
        let anchor = anchored(row, false).map(|anchored| anchored.anchor);
        let mut roots = self.above.known.x509.iter();
        roots.any(|root| root.tainted && Some(&root.der) == anchor.as_ref())
    }

    /// Whether a key's root is that of the key that signs, so that everybody has it.
    pub(super) fn is_relied_on(&self, slot: Slot) -> bool {
        let active = self.active_anchored();
        let key = self.row(slot).and_then(|row| anchored(row, false));
        matches!((active, key), (Some(active), Some(key)) if active.anchor == key.anchor)
    }

    /// How the rotation goes under an upstream: by the life that the upstream really
    /// gave, and without a wait where the root is known.
    fn policy_below(&self, lifetime: Seconds, propagation: Seconds) -> Policy {
        let given = |key: &authority::rotation::Key| key.not_after.since(key.not_before);
        let lifetime = self.state.active().map_or(lifetime, given).min(lifetime);
        let successor = self.state.successor();
        let known = successor.is_some_and(|key| self.is_relied_on(key.slot));
        let wait = if known { Seconds(0) } else { propagation };
        let mut policy = Policy::for_intermediate(lifetime, wait);
        if self.exchange().is_some() {
            // As soon as everybody has the root, whatever is left of its life.
            policy.activate_before = Seconds(u32::MAX);
        }
        policy
    }

    /// Why the key that signs is to be exchanged, whatever its age.
    fn exchange(&self) -> Option<&'static str> {
        let (given, known) = (self.above.given.as_ref()?, &self.above.known);
        let _signing = self.state.active()?;
        let active = self.active_anchored();
        needs_successor(active.as_ref(), known, given, self.above.issuer.as_ref())
    }
}

/// The row of a key that an upstream certified: its chain ends in the root.
fn anchored(row: &AuthorityRecord, signs: bool) -> Option<Anchored> {
    match row.chain.as_slice() {
        [_, issuer, ..] => Some(Anchored {
            anchor: row.chain.last()?.as_slice().into(),
            issuer: issuer.as_slice().into(),
            signs,
        }),
        _ => None,
    }
}

impl Authorities {
    /// Looks at the authority above, outside of any lock.
    pub(super) async fn look_above(&self) -> Option<Look> {
        let upstream = self.0.upstream.as_ref()?;
        match upstream.look().await {
            Ok(look) => {
                self.0.alarm.looked(Ok(look.ends), self.0.parts.clock.now());
                Some(look)
            }
            Err(problem) => {
                let now = self.0.parts.clock.now();
                self.0.alarm.looked(Err(problem), now);
                None
            }
        }
    }

    /// Follows what was seen into the bundle. Answers what the X.509 rotation is to be
    /// told beside the time.
    pub(super) async fn follow_above(
        &self,
        rotors: &mut Rotors,
        look: Option<Look>,
    ) -> Result<Event, Failure> {
        if self.0.upstream.is_none() {
            // Roots of an upstream of earlier stay while something leads to them.
            rotors.x509.above.given = Some(Given::default());
            if rotors.x509.above.is_stored {
                self.edit_x509_bundle(&mut rotors.x509, None).await?;
            }
            return Ok(Event::Tick);
        }
        let (given, issuer) = match look {
            Some(look) => (Some(look.given), look.issuer),
            None => (None, rotors.x509.above.issuer.clone()),
        };
        let foreign = given.map(|mut given| {
            let kids = given.jwt.iter().map(|key| key.key_id.as_ref().into());
            self.0.alarm.note_kids(kids.collect());
            // What this server has itself, it knows better.
            given.jwt.retain(|key| !has(&rotors.jwt, &key.key_id));
            given
        });
        rotors.x509.above.given = foreign;
        rotors.x509.above.issuer = issuer;
        self.edit_x509_bundle(&mut rotors.x509, None).await?;
        self.publish_missing(rotors).await;
        Ok(Self::due_event(&rotors.x509))
    }

    /// Under an upstream the policy follows what that gives.
    pub(super) fn set_policy(&self, rotor: &mut Rotor) {
        if rotor.profile == AuthorityProfile::X509 && self.0.upstream.is_some() {
            let plan = &self.0.parts.plan;
            let policy = rotor.policy_below(plan.x509_lifetime, plan.propagation);
            rotor.policy = policy.with_patience(plan.patience, plan.x509_lifetime);
        }
    }

    fn due_event(rotor: &Rotor) -> Event {
        if rotor.state.wanted || rotor.state.successor().is_some() {
            return Event::Tick;
        }
        match rotor.exchange() {
            Some(why) => {
                tracing::info!(why, "a new intermediate is due");
                Event::PrepareNow
            }
            None => Event::Tick,
        }
    }

    /// Has a JWT key published above, where that is to be done; says whether it is.
    pub(super) async fn published_above(&self, row: &AuthorityRecord) -> bool {
        let Some(upstream) = self.0.upstream.as_ref() else {
            return true;
        };
        let published = upstream.publish(&jwt_key(row)).await;
        self.0.alarm.published(&published, self.0.parts.clock.now());
        published.is_ok()
    }

    /// JWT keys that sign or may, and that the upstream does not publish: it may have
    /// lost them, or be a new one.
    async fn publish_missing(&self, rotors: &Rotors) {
        let publishes = self.0.upstream.as_ref().is_some_and(|up| up.publishes());
        let Some(given) = self.0.alarm.given_kids().filter(|_| publishes) else {
            return;
        };
        for key in &rotors.jwt.state.keys {
            let told = matches!(key.phase, Phase::Published { .. } | Phase::Active { .. });
            if !told || key.tainted || given.contains(&*key.id) {
                continue;
            }
            if let Some(row) = rotors.jwt.row(key.slot)
                && !self.published_above(row).await
            {
                return;
            }
        }
    }

    /// Asks for an intermediate, unless it would be no gain or was refused just now.
    /// `None` is "not now"; what is wrong has been told.
    pub(super) async fn ask_above(
        &self,
        rotor: &mut Rotor,
        signer: &Arc<dyn Signer>,
    ) -> Result<Option<Granted>, Failure> {
        let Some(upstream) = self.0.upstream.as_ref() else {
            return Ok(None);
        };
        let now = self.0.parts.clock.now();
        let signing = rotor.state.active().filter(|active| now < active.not_after);
        let signing = signing.map(|active| (active.not_after, active.tainted));
        if signing.is_some() && rotor.above.retry_at.is_some_and(|at| now < at) {
            return Ok(None);
        }
        let lifetime = self.0.parts.plan.lifetime(AuthorityProfile::X509);
        let granted = upstream.sign(signer, lifetime).await;
        self.0.alarm.signed(&granted, now);
        match (granted, signing) {
            (Err(problem), None) => Err(Failure::unavailable(problem)),
            (Err(_), Some((end, _))) => {
                rotor.above.retry_at = Some(now.plus(pause(end, now)));
                Ok(None)
            }
            (Ok(granted), Some((end, tainted)))
                if !tainted && !rotor.state.wanted && !is_worth_it(end, granted.not_after, now) =>
            {
                rotor.above.retry_at = Some(now.plus(pause(end, now)));
                Ok(None)
            }
            (Ok(granted), _) => {
                rotor.above.retry_at = None;
                let roots = &mut rotor.above.known.x509;
                if !roots.iter().any(|root| root.der == granted.anchor) {
                    // Newer than what was last seen; the next edit publishes it.
                    roots.push(identity::X509AuthorityCertificate {
                        der: Arc::clone(&granted.anchor),
                        tainted: false,
                    });
                }
                Ok(Some(granted))
            }
        }
    }

    /// How roots are held under this upstream.
    pub(super) fn holding(&self) -> Holding {
        self.0
            .upstream
            .as_ref()
            .map_or(Holding::UntilRevoked, |upstream| upstream.holding())
    }
}

/// Whether a key id is, or was, one of this server's own.
fn has(rotor: &Rotor, key_id: &str) -> bool {
    rotor.rows.values().any(|(row, _)| row.id == key_id)
}

pub(super) fn jwt_key(row: &AuthorityRecord) -> JwtAuthorityKey {
    JwtAuthorityKey {
        key_id: row.id.as_str().into(),
        spki: row.spki.as_slice().into(),
        expires_at: Some(row.not_after),
        tainted: false,
    }
}

/// How long to leave an upstream alone: the less there is left, the shorter.
fn pause(end: Timestamp, now: Timestamp) -> Seconds {
    let (shortest, longest) = limits::UPSTREAM_PAUSE_SECONDS;
    Seconds((end.since(now).0 / 32).clamp(shortest, longest))
}
