//! Two servers on one store, a node, an entry: the operations carried out on them, and
//! what they leave behind, read off the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use channel::LiveBundles;
use contract::{Exchange, Facts, Limits, NodeKey, Verdict, Verify, VerifyError, VerifyHost};
use identity::{CertificateSerial, Revoked, Seconds, SpiffeId, Timestamp};
use records::{TokenLimitsRecord, key};
use store::memory::Memory;
use store::{Condition, Store};

use super::gate::{Gate, Gated};
use super::model::{Entry, Model, Node, Operation as Op, Svid};
use crate::attest::{Attestation, Step};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::issue::{X509Request, X509Right};
use crate::metrics::Meters;
use crate::revocation::Order;
use crate::rig::{ADMIN, Rig, csr, serial_of, subject_key};
use crate::state::{self, EntryEdit, EntryOperation, Loading, State, stored};

/// A node proves itself by its name.
struct ByName;

impl Verify for ByName {
    fn kind(&self) -> &'static str {
        "name"
    }

    fn limits(&self) -> Limits {
        Limits {
            evidence_bytes: 64,
            rounds: 1,
        }
    }

    fn verify(
        &self,
        evidence: &[u8],
        _state: &mut Exchange,
        _now: Timestamp,
        _host: &dyn VerifyHost,
    ) -> Result<Verdict, VerifyError> {
        let name = std::str::from_utf8(evidence).unwrap();
        Ok(Verdict::Facts(Facts {
            node_key: NodeKey::new(&[name]).unwrap(),
            selectors: Vec::new(),
            can_reattest: true,
            consume: None,
        }))
    }
}

/// One of the two servers, as far as the operations need it.
#[derive(Clone)]
struct Side {
    state: State,
    attestation: Attestation,
}

pub(super) struct World {
    rig: Arc<Rig>,
    sides: [Side; 2],
    /// How many cases there were: each has a node of its own.
    cases: AtomicUsize,
}

/// What one run is about.
pub(super) struct Case {
    by_proof: bool,
    node: SpiffeId,
    /// The evidence with which it attests again, and with which CSR.
    evidence: String,
    csr: Vec<u8>,
    first: CertificateSerial,
    renewed: Option<CertificateSerial>,
    entry: Arc<identity::Entry>,
}

/// What an operation was answered: the serial of an SVID, if it gave one.
type Answer = Result<Option<CertificateSerial>, Failure>;

impl World {
    pub(super) async fn new() -> Self {
        let memory = Memory::with_limits(7, crate::open::store_limits());
        let gated: Arc<dyn Store> = Arc::new(Gated(Arc::new(memory)));
        let rig = Rig::on_store(gated).await.unwrap();
        let server = &rig.server;
        let loading = Loading {
            trust_domain: server.state.trust_domain().clone(),
            store: Arc::clone(&rig.store),
            live_bundles: LiveBundles::empty(),
            audit: server.audit.clone(),
            clock: rig.clock.clone(),
            entropy: server.entropy.clone(),
            meters: Meters::new(),
            following: server.duties.following.clone(),
        };
        let second = State::load(loading).await.unwrap();
        tokio::spawn(state::follow(second.clone()));
        let side = |state: &State| Side {
            state: state.clone(),
            attestation: rig.attestation_of(
                state.clone(),
                vec![Box::new(ByName), Box::new(join_token::JoinTokenVerifier)],
            ),
        };
        let sides = [side(&server.state), side(&second)];
        Self {
            rig: Arc::new(rig),
            sides,
            cases: AtomicUsize::new(0),
        }
    }

    /// A node with its entry; `by_proof` when it may attest again by itself.
    pub(super) async fn case(&self, by_proof: bool) -> Case {
        let number = self.cases.fetch_add(1, Ordering::Relaxed);
        let side = &self.sides[0];
        let (evidence, csr) = match by_proof {
            true => (format!("n{number}"), csr()),
            false => (self.rig.token().await, csr()),
        };
        let first = attest(side, by_proof, &evidence, &csr).await.unwrap();
        let node = first.spiffe_id.clone();
        let renewed = match by_proof {
            true => None,
            false => {
                let renewed = side.attestation.renew(&node, &self::csr()).await.unwrap();
                Some(serial_of(&renewed))
            }
        };
        let entry = self.rig.entry(&node, &format!("w{number}"));
        let entry = self.rig.create(entry).await;
        Case {
            by_proof,
            node,
            evidence,
            csr,
            first: serial_of(&first),
            renewed,
            entry,
        }
    }

    /// Carries out two operations by a schedule. On `apart` they run on two servers.
    pub(super) async fn run(
        &self,
        case: &Arc<Case>,
        operations: [Op; 2],
        apart: bool,
        schedule: &[usize],
    ) -> ([Answer; 2], Arc<Gate>) {
        let gate = Gate::new(schedule);
        // Which key used a token up is known to the server where it did.
        let asks_again = operations[1] == Op::Attest && !case.by_proof;
        let task = |which: usize| {
            let side = if asks_again { 1 - which } else { which };
            let side = self.sides[if apart { side } else { 0 }].clone();
            let (rig, case, gate) = (Arc::clone(&self.rig), Arc::clone(case), Arc::clone(&gate));
            let operation = operations[which];
            tokio::spawn(async move {
                let doing = carry_out(&rig, &side, &case, operation, which);
                gate.run(which, doing).await
            })
        };
        let (one, other) = tokio::join!(task(0), task(1));
        ([one.unwrap(), other.unwrap()], gate)
    }

    /// What is stored, in the terms of the model. Memory of both servers must agree.
    pub(super) async fn observe(&self, case: &Case, answers: &[Answer; 2]) -> Model {
        let td = self.sides[0].state.trust_domain();
        let get = async |key: Vec<u8>| self.rig.store.get(&key).await.unwrap();
        let who = |serial: &CertificateSerial| {
            let by = |n: usize| answers[n].as_ref().ok().and_then(Option::as_ref) == Some(serial);
            match serial {
                serial if *serial == case.first => Svid::First,
                serial if Some(serial) == case.renewed.as_ref() => Svid::Renewed,
                _ if by(0) => Svid::By(0),
                _ if by(1) => Svid::By(1),
                _ => panic!("an SVID that no acknowledged operation made"),
            }
        };
        let node = get(key::node(td, &case.node)).await;
        let node = node.map(|bytes| records::decode_node(&bytes).unwrap());
        let entry = get(key::entry(td, &case.entry.id)).await;
        let entry = entry.map(|bytes| records::decode_entry(&bytes, td).unwrap());
        let limits = get(key::token_limits(td, &case.entry.id)).await;
        let limits = limits.map(|bytes| records::decode_token_limits(&bytes).unwrap());
        let revoked = get(key::revocation(td, &workload(case))).await;
        let revoked = revoked.map(|bytes| records::decode_revocation(&bytes, td).unwrap());
        for side in &self.sides {
            drop(side.state.hold_sets().await.unwrap());
            let registry = side.state.registry();
            assert_eq!(registry.node(&case.node).map(|n| (**n).clone()), node);
            assert_eq!(registry.entry(&case.entry.id).map(|e| (**e).clone()), entry);
        }
        Model {
            by_proof: case.by_proof,
            node: node.map(|node| Node {
                svid: who(&node.serial),
                next: node.next.as_ref().map(|(serial, _)| who(serial)),
                banned: node.banned,
                version: node.agent_version,
            }),
            entry: entry.map(|entry| Entry {
                hint: entry.hint.to_string(),
                revision: entry.revision,
            }),
            limits: limits.and_then(|limits| limits.max_ttl).map(|ttl| ttl.0),
            revoked: revoked.is_some_and(|revoked| revoked.is_until_lifted()),
        }
    }
}

fn workload(case: &Case) -> Revoked {
    Revoked::Id(case.entry.spiffe_id.clone())
}

async fn attest(
    side: &Side,
    by_proof: bool,
    evidence: &str,
    csr: &[u8],
) -> Result<identity::X509Svid, Failure> {
    let caller = Caller::Anonymous("192.0.2.1:4000".into());
    let kind = if by_proof { "name" } else { "join_token" };
    let mut session = side.attestation.begin(&caller, kind, csr).await?;
    match session.advance(evidence.as_bytes()).await? {
        Step::Done(attested) => Ok(attested.svid),
        Step::Challenge(_) => panic!("no challenge is needed"),
    }
}

async fn carry_out(rig: &Rig, side: &Side, case: &Case, operation: Op, which: usize) -> Answer {
    let Side { state, attestation } = side;
    let serial = |svid: identity::X509Svid| Some(serial_of(&svid));
    let done = |()| None;
    match operation {
        Op::Ban => attestation.ban(&ADMIN, &case.node).await.map(done),
        Op::Evict => attestation.evict(&ADMIN, &case.node).await.map(done),
        Op::Attest => {
            let attested = attest(side, case.by_proof, &case.evidence, &case.csr);
            attested.await.map(serial)
        }
        Op::Renew => attestation.renew(&case.node, &csr()).await.map(serial),
        Op::UseRenewed => {
            let serial = case.renewed.as_ref().unwrap_or(&case.first);
            let admitted = attestation.admit(&case.node, serial, Timestamp(i64::MAX));
            let admitted = admitted.await.map_err(Failure::denied);
            admitted.map(done)
        }
        Op::Status => {
            let version = format!("v{which}");
            attestation
                .post_status(&case.node, &version)
                .await
                .map(done)
        }
        Op::PlantedAttest => planted_attest(side, case, which).await,
        _ => on_entry(rig, state, case, operation, which).await,
    }
}

async fn on_entry(rig: &Rig, state: &State, case: &Case, operation: Op, which: usize) -> Answer {
    match operation {
        Op::Update => {
            let edit: EntryEdit = Box::new(move |mut fields| {
                fields.hint = format!("h{which}");
                Ok(fields)
            });
            let edits = vec![(case.entry.id.clone(), edit)];
            let mut updated = state.update_entries(&ADMIN, edits).await;
            updated.remove(0).map(|_| None).map_err(Failure::from)
        }
        Op::Delete => {
            let ids = vec![case.entry.id.clone()];
            state
                .delete_entries(&ADMIN, ids)
                .await
                .remove(0)
                .map(|()| None)
        }
        Op::Apply => {
            let mut fields = (*case.entry).clone().into_fields();
            fields.hint = format!("a{which}");
            let update = EntryOperation::Update { fields, seen: 0 };
            let applied = state.apply_entries(&ADMIN, vec![update.into()]).await;
            applied.map(|_| None)
        }
        Op::ApplyDelete => {
            let id = case.entry.id.clone();
            let delete = EntryOperation::Delete { id, seen: 0 };
            let applied = state.apply_entries(&ADMIN, vec![delete.into()]).await;
            applied.map(|_| None)
        }
        Op::Limit => {
            let limits = TokenLimitsRecord {
                entry: case.entry.id.clone(),
                audiences: Vec::new(),
                max_ttl: Some(Seconds(60 + u32::try_from(which).unwrap())),
            };
            state.set_token_limits(&ADMIN, &limits).await.map(|()| None)
        }
        Op::Mint => mint(rig, case).await,
        Op::Revoke => {
            let order = Order {
                what: workload(case),
                reason: "stolen".into(),
                until_lifted: true,
                force: false,
            };
            let revoked = rig.server.revocations.revoke(&ADMIN, &order).await;
            revoked.map(|_| None)
        }
        Op::Lift => {
            let what = workload(case);
            let lifted = rig.server.revocations.lift(&ADMIN, &what, "found");
            lifted.await.map(|_| None)
        }
        other => panic!("{other:?} is no operation on an entry"),
    }
}

async fn mint(rig: &Rig, case: &Case) -> Answer {
    let request = X509Request {
        right: X509Right::Entry {
            agent: case.node.clone(),
            entry: case.entry.id.clone(),
        },
        key: subject_key(),
    };
    let caller = Caller::Spiffe(case.node.clone());
    let mut minted = rig.server.issuer.issue_x509(&caller, vec![request]).await;
    minted.remove(0).map(|_| None).map_err(Failure::from)
}

/// As it was done before finding s4: whether the node is banned is read off memory, its
/// row is read for the condition alone.
async fn planted_attest(side: &Side, case: &Case, which: usize) -> Answer {
    let state = &side.state;
    let there = state.registry().node(&case.node).cloned();
    let refused = || Failure::new(Kind::Denied, "banned or gone");
    let there = there.filter(|node| !node.banned).ok_or_else(refused)?;
    let mut node = identity::Node::clone(&there);
    let serial = CertificateSerial::new(&[1, u8::try_from(which).unwrap()]);
    node.serial = serial.clone();
    node.next = None;
    node.agent_version = String::new();
    let td = state.trust_domain();
    let (key, put) = stored::put_node(td, &node).unwrap();
    let row = side
        .state
        .store()
        .get(&key)
        .await
        .unwrap()
        .ok_or_else(refused)?;
    let conditions = vec![Condition::Equals(key, row)];
    state.commit(conditions, vec![put]).await?;
    Ok(Some(serial))
}
