//! What each operation does when nothing else happens meanwhile, in a few lines: the
//! sequential model that concurrent runs are held to.

/// Who made the SVID that a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Svid {
    /// It had it before.
    First,
    /// It was renewed before, and not used yet.
    Renewed,
    /// One of the two operations.
    By(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) svid: Svid,
    pub(super) next: Option<Svid>,
    pub(super) banned: bool,
    pub(super) version: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hint: String,
    pub(super) revision: i64,
}

/// Everything that the operations touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    /// Whether the node may attest again by itself; else it has a join token.
    pub(super) by_proof: bool,
    pub(super) node: Option<Node>,
    pub(super) entry: Option<Entry>,
    pub(super) limits: Option<u32>,
    pub(super) revoked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Ban,
    Evict,
    /// The node attests again: by its proof, or with its used token and the same key.
    Attest,
    Renew,
    /// The renewed SVID's first use.
    UseRenewed,
    Status,
    Update,
    Delete,
    Apply,
    ApplyDelete,
    Limit,
    /// An X.509-SVID for the entry, asked for by the agent.
    Mint,
    /// The workload's ID, until it is lifted.
    Revoke,
    Lift,
    /// Not an operation of the server: attests again as it was done before findings s4,
    /// deciding on memory and committing on the store's bytes.
    PlantedAttest,
}

use Operation as Op;

/// Those of nodes.
pub(super) const NODES: [Operation; 6] = [
    Op::Ban,
    Op::Evict,
    Op::Attest,
    Op::Renew,
    Op::UseRenewed,
    Op::Status,
];
/// Those of entries.
pub(super) const ENTRIES: [Operation; 5] = [
    Op::Update,
    Op::Delete,
    Op::Apply,
    Op::ApplyDelete,
    Op::Limit,
];

impl Model {
    /// Whether the operation is acknowledged, and what it leaves behind.
    pub(super) fn after(&self, operation: Operation, which: usize) -> (bool, Self) {
        let mut after = self.clone();
        let done = after.change(operation, which);
        (
            done.is_some(),
            if done.is_some() { after } else { self.clone() },
        )
    }

    fn change(&mut self, operation: Operation, which: usize) -> Option<()> {
        match operation {
            Op::Ban => {
                let node = self.node.as_mut()?;
                if !node.banned {
                    (node.banned, node.next) = (true, None);
                }
            }
            Op::Evict => {
                self.node.take()?;
            }
            Op::Attest | Op::PlantedAttest => {
                let banned = self.node.as_ref().map(|node| node.banned);
                let allowed = match banned {
                    Some(banned) => !banned,
                    None => self.by_proof,
                };
                let attested = Node {
                    svid: Svid::By(which),
                    next: None,
                    banned: false,
                    version: String::new(),
                };
                self.node = Some(allowed.then_some(attested)?);
            }
            Op::Renew => {
                let node = self.node.as_mut().filter(|node| !node.banned);
                node.filter(|_| !self.by_proof)?.next = Some(Svid::By(which));
            }
            Op::UseRenewed => {
                let node = self.node.as_mut().filter(|node| !node.banned)?;
                if node.svid != Svid::Renewed {
                    let next = node.next.filter(|next| *next == Svid::Renewed)?;
                    (node.svid, node.next) = (next, None);
                }
            }
            Op::Status => self.node.as_mut()?.version = format!("v{which}"),
            Op::Update => {
                let entry = self.entry.as_mut()?;
                entry.hint = format!("h{which}");
                entry.revision += 1;
            }
            Op::Apply => {
                let entry = self.entry.as_mut().filter(|entry| entry.revision == 0)?;
                entry.hint = format!("a{which}");
                entry.revision += 1;
            }
            Op::Delete => {
                self.entry.take()?;
                self.limits = None;
            }
            Op::ApplyDelete => {
                self.entry.take_if(|entry| entry.revision == 0)?;
                self.limits = None;
            }
            Op::Limit => {
                self.entry.as_ref()?;
                self.limits = Some(60 + u32::try_from(which).ok()?);
            }
            Op::Mint => {
                self.node.as_ref().filter(|node| !node.banned)?;
                self.entry.as_ref().filter(|_| !self.revoked)?;
            }
            Op::Revoke => self.revoked = true,
            Op::Lift => self.revoked.then(|| self.revoked = false)?,
        }
        Some(())
    }
}
