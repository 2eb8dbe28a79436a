//! The upstream's roots in the own bundle: put in, shown tainted, taken out; and
//! what an administrator may do with one.

use std::sync::Arc;

use authority::rotation::{Phase, Slot};
use authority::upstream::{Given, Holding, follow, shown};
use identity::Timestamp;
use records::{AuditKind, AuthorityProfile};
use ring::digest::{SHA256, digest};
use x509_parser::extensions::ParsedExtension;

use super::report::{Act, Plan};
use super::rows::Rotor;
use super::{Authorities, above_rows, bundle};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};

/// One root of the authority above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootStatus {
    /// Its subject key identifier, hex; SHA-256 of the certificate when it has none.
    pub(crate) id: String,
    /// When it ends.
    pub(crate) not_after: Timestamp,
    /// Whether it is no longer to be relied on.
    pub(crate) tainted: bool,
    /// Whether the upstream publishes it now; false, too, while that is away.
    pub(crate) published: bool,
    /// How many keys of this server lead to it.
    pub(crate) keys: usize,
    /// Whether the key that signs does.
    pub(crate) signs: bool,
}

impl Authorities {
    /// Makes the own bundle say what rotation and upstream say of X.509; one slot's
    /// key may be left out. What is known of the upstream is committed with it.
    pub(super) async fn edit_x509_bundle(
        &self,
        rotor: &mut Rotor,
        without: Option<Slot>,
    ) -> Result<(), Failure> {
        let keys = rotor.anchored(without);
        let above = &rotor.above;
        let known = follow(&above.known, above.given.as_ref(), &keys, self.holding());
        self.commit_known(&Caller::Server, rotor, known, without)
            .await
    }

    async fn commit_known(
        &self,
        caller: &Caller,
        rotor: &mut Rotor,
        known: Given,
        without: Option<Slot>,
    ) -> Result<(), Failure> {
        let known = above_rows::bounded(known, &rotor.anchored(without));
        let roots = shown(&known, &rotor.anchored(without));
        let also = self.write_known(rotor, &known).await?;
        let before = rotor.above.known.clone();
        let rotor_now = &*rotor;
        let done = self.change_own_bundle(caller, also, |own| {
            for key in &rotor_now.state.keys {
                let Some(row) = rotor_now.row(key.slot).filter(|row| row.chain.len() < 2) else {
                    continue;
                };
                if Some(key.slot) == without {
                    bundle::take_out(own, row);
                } else {
                    // While a key signs, holders could replace nothing for its taint.
                    let signs = matches!(key.phase, Phase::Active { .. });
                    bundle::put_in(own, row, key.tainted && !signs);
                }
            }
            let gone = |der: &Arc<[u8]>| {
                let was = before.x509.iter().any(|root| root.der == *der);
                was && !roots.iter().any(|root| root.der == *der)
            };
            own.x509_authorities.retain(|held| !gone(&held.der));
            for root in &roots {
                let mut held = own.x509_authorities.iter_mut();
                match held.find(|held| held.der == root.der) {
                    Some(held) => held.tainted = root.tainted,
                    None => own.x509_authorities.push(root.clone()),
                }
            }
        });
        if let Err(failure) = done.await {
            // It may have been committed all the same: what is stored counts.
            rotor.is_stale = true;
            return Err(failure);
        }
        rotor.above.known = known;
        Ok(())
    }

    /// The upstream's roots, as they stand here.
    pub(crate) async fn upstream_roots(&self) -> Vec<RootStatus> {
        let rotors = self.0.rotors.lock().await;
        roots_of(&rotors.x509)
    }

    /// Taints or revokes a root of the upstream, or says what that would do.
    ///
    /// # Errors
    /// There is no such root, or it is refused: why, and what to do.
    pub(crate) async fn act_on_root(
        &self,
        caller: &Caller,
        (act, id): (Act, &str),
        (plan_only, force): (bool, bool),
    ) -> Result<Plan, Failure> {
        self.0.parts.audit.check_clock()?;
        let mut rotors = self.0.rotors.lock().await;
        let rotor = &mut rotors.x509;
        self.read_again(rotor).await?;
        let root = roots_of(rotor).into_iter().find(|root| root.id == id);
        let root = root.ok_or_else(|| {
            Failure::not_found("no root of the upstream authority has that id; see the key states")
        })?;
        let against = self.against(act, &root);
        let (against, steps) = match act {
            Act::Taint => (
                against,
                format!("root {id} is tainted; every agent replaces what leads to it"),
            ),
            Act::Revoke => {
                let waiting = self.not_replaced(&root).filter(|_| !force);
                let against = against.or(waiting);
                (against, format!("root {id} leaves the bundle"))
            }
            Act::Prepare | Act::Activate => {
                return Err(Failure::invalid(
                    "profile: roots of the upstream are made there; here they are tainted and revoked",
                ));
            }
        };
        let plan = Plan {
            id: id.to_owned(),
            steps: vec![steps],
            refused_because: against.clone().into_iter().collect(),
        };
        if plan_only {
            return Ok(plan);
        }
        if let Some(why) = against {
            return Err(Failure::new(Kind::Precondition, why));
        }
        self.record_act(caller, act, &root, force).await?;
        let mut known = rotor.above.known.clone();
        match act {
            Act::Taint => {
                for held in &mut known.x509 {
                    held.tainted |= subject_key_id(&held.der) == id;
                }
            }
            _ => known.x509.retain(|held| subject_key_id(&held.der) != id),
        }
        self.commit_known(caller, rotor, known, None).await?;
        self.show(&rotors);
        self.0.changed.notify_one();
        Ok(plan)
    }

    fn against(&self, act: Act, root: &RootStatus) -> Option<String> {
        if self.holding() == Holding::UpstreamRevokes {
            return Some(
                "the upstream server decides about its roots; do it there, and it reaches this one"
                    .into(),
            );
        }
        if root.signs {
            return Some(
                "the key that signs leads to it; put another upstream CA in place and wait until an \
                 intermediate below that signs"
                    .into(),
            );
        }
        if act == Act::Taint {
            return None;
        }
        if root.published {
            return Some("the upstream publishes it; take it out of the bundle file first".into());
        }
        if !root.tainted {
            return Some(
                "it is not tainted; taint it, so that agents replace what leads to it".into(),
            );
        }
        None
    }

    /// Why taking a root out now would break somebody.
    fn not_replaced(&self, root: &RootStatus) -> Option<String> {
        let longest = self.0.parts.plan.longest(AuthorityProfile::X509);
        let holding = self.0.parts.state.agents_not_replaced(longest);
        (root.keys > 0 && holding > 0)
            .then(|| format!("{holding} agents may hold what leads to it"))
    }

    async fn record_act(
        &self,
        caller: &Caller,
        act: Act,
        root: &RootStatus,
        force: bool,
    ) -> Result<(), Failure> {
        let audit = &self.0.parts.audit;
        let forced = if force { ", forced" } else { "" };
        let detail = format!("upstream root {act:?}{forced}");
        let mut record = audit.record(AuditKind::KeyRotation, caller);
        record.authority_id = &root.id;
        record.not_after = root.not_after.0;
        record.detail = &detail;
        let draft = audit.draft(&record)?;
        audit.append(vec![draft]).await.map(|_| ())
    }
}

fn roots_of(rotor: &Rotor) -> Vec<RootStatus> {
    let keys = rotor.anchored(None);
    let roots = rotor.above.known.x509.iter().map(|root| {
        let below = || keys.iter().filter(|key| key.anchor == root.der);
        let given = rotor.above.given.as_ref();
        RootStatus {
            id: subject_key_id(&root.der),
            not_after: ends(&root.der),
            tainted: root.tainted,
            published: given
                .is_some_and(|given| given.x509.iter().any(|held| held.der == root.der)),
            keys: below().count(),
            signs: below().any(|key| key.signs),
        }
    });
    roots.collect()
}

/// A root's subject key identifier, hex.
pub(super) fn subject_key_id(der: &[u8]) -> String {
    let parsed = x509_parser::parse_x509_certificate(der).ok();
    let id = parsed.and_then(|(_, certificate)| {
        let mut extensions = certificate.extensions().iter();
        extensions.find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(hex::encode(id.0)),
            _ => None,
        })
    });
    id.unwrap_or_else(|| hex::encode(digest(&SHA256, der)))
}

pub(super) fn ends(der: &[u8]) -> Timestamp {
    let parsed = x509_parser::parse_x509_certificate(der).ok();
    let end = parsed.map(|(_, certificate)| certificate.validity().not_after.timestamp());
    Timestamp(end.unwrap_or_default())
}
