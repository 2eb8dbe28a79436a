//! What each caller may write into the decision log: records of refusals, counted, and
//! records of what it was given, by bytes. Each source has a share, and all together
//! have one, so that nobody fills the log and nobody uses up another's share.
//!
//! What is refused beyond the budget is counted and told in one record for each source.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::caller::Caller;
use crate::limits::{self, Allowance};

/// Who is charged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Whoever has no certificate, by the prefix of the address.
    Address(Arc<str>),
    /// A peer by its SPIFFE ID: a node, an administrator, another server.
    Peer(Arc<str>),
    /// One entry that a peer asks for: a workload's.
    Entry(Arc<str>, Arc<str>),
    /// Everybody who found no place of their own in the table.
    Others,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(prefix) => write!(f, "address {prefix}"),
            Self::Peer(id) => f.write_str(id),
            Self::Entry(peer, entry) => write!(f, "entry {entry} through {peer}"),
            Self::Others => f.write_str("everybody else"),
        }
    }
}

/// What is left of an allowance, in thousandths of its unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    pub(super) left: u64,
    at: Duration,
}

impl Bucket {
    fn full(allowance: Allowance, now: Duration) -> Self {
        Self {
            left: allowance.burst.saturating_mul(1000),
            at: now,
        }
    }

    pub(super) fn refill(&mut self, allowance: Allowance, now: Duration) {
        let passed = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        let most = allowance.burst.saturating_mul(1000);
        self.left = self
            .left
            .saturating_add(passed.saturating_mul(allowance.each_second));
        self.left = self.left.min(most);
        self.at = self.at.max(now);
    }

    pub(super) fn has(&self, amount: u64) -> bool {
        self.left >= amount.saturating_mul(1000)
    }

    fn take(&mut self, amount: u64) {
        self.left = self.left.saturating_sub(amount.saturating_mul(1000));
    }

    fn is_full(&self, allowance: Allowance) -> bool {
        self.left >= allowance.burst.saturating_mul(1000)
    }
}

/// One source's account.
#[derive(Debug)]
pub(super) struct Account {
    refusals: Bucket,
    pub(super) bytes: Bucket,
    /// Refusals that got no record of their own, and since when, by the wall clock.
    unrecorded: u64,
    since_ms: i64,
}

impl Account {
    fn count(&mut self, now_ms: i64) {
        if self.unrecorded == 0 {
            self.since_ms = now_ms;
        }
        self.unrecorded = self.unrecorded.saturating_add(1);
    }
}

/// Refusals that got no record of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unrecorded {
    pub(super) source: Source,
    pub(super) count: u64,
    pub(super) since_ms: i64,
}

/// How many bytes of records a peer, and one of its entries, may cause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    pub(crate) peer: Allowance,
    pub(crate) entry: Allowance,
}

/// Every source's account.
pub(super) struct Budget {
    pub(super) shares: Shares,
    accounts: Mutex<Accounts>,
}

pub(super) struct Accounts {
    pub(super) of: HashMap<Source, Account>,
    strangers: Bucket,
    peers: Bucket,
}

impl Budget {
    pub(super) fn new(shares: Shares, now: Duration) -> Self {
        Self {
            shares,
            accounts: Mutex::new(Accounts {
                of: HashMap::new(),
                strangers: Bucket::full(limits::STRANGER_REFUSALS, now),
                peers: Bucket::full(limits::PEER_REFUSALS, now),
            }),
        }
    }

    pub(super) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        // Every change is one assignment: a panic elsewhere leaves no half state.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a refusal gets a record of its own; if not, it is counted.
    /// Administrators on the socket and the server itself have no bound.
    pub(super) fn may_record(
        &self,
        caller: &Caller,
        entry_id: &str,
        (now, now_ms): (Duration, i64),
    ) -> bool {
        let sources = sources(caller, entry_id);
        let Some(first) = sources.first() else {
            return true;
        };
        let mut accounts = self.accounts();
        let is_stranger = matches!(first, Source::Address(_));
        let (all, allowance) = if is_stranger {
            (&mut accounts.strangers, limits::STRANGER_REFUSALS)
        } else {
            (&mut accounts.peers, limits::PEER_REFUSALS)
        };
        all.refill(allowance, now);
        let mut admitted = all.has(1);
        for source in &sources {
            let account = accounts.account(source, self.shares, now);
            account.refusals.refill(refusals(source), now);
            admitted &= account.refusals.has(1);
        }
        for source in &sources {
            let account = accounts.account(source, self.shares, now);
            if admitted {
                account.refusals.take(1);
            } else if source == first {
                account.count(now_ms);
            }
        }
        if admitted {
            let all = if is_stranger {
                &mut accounts.strangers
            } else {
                &mut accounts.peers
            };
            all.take(1);
        }
        admitted
    }

    /// Counts a refusal that gets no record, whatever its caller may still cause.
    pub(super) fn count_unrecorded(&self, caller: &Caller, (now, now_ms): (Duration, i64)) {
        if let Some(source) = sources(caller, "").first() {
            let mut accounts = self.accounts();
            accounts.account(source, self.shares, now).count(now_ms);
        }
    }

    /// Charges a peer for a record of what it asks for; what is in the way, if anything.
    pub(super) fn charge(
        &self,
        caller: &str,
        entry_id: &str,
        bytes: usize,
        now: Duration,
    ) -> Result<(), Source> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let sources = peer_sources(caller, entry_id);
        let mut accounts = self.accounts();
        for source in &sources {
            let account = accounts.account(source, self.shares, now);
            account.bytes.refill(share(source, self.shares), now);
            if !account.bytes.has(bytes) {
                return Err(source.clone());
            }
        }
        for source in &sources {
            accounts.account(source, self.shares, now).bytes.take(bytes);
        }
        Ok(())
    }

    /// Takes what was not recorded one by one, to be told in one record for each source.
    pub(super) fn take_unrecorded(&self) -> Vec<Unrecorded> {
        let mut accounts = self.accounts();
        let counted = accounts
            .of
            .iter_mut()
            .filter(|(_, account)| account.unrecorded > 0);
        let mut taken: Vec<Unrecorded> = counted
            .map(|(source, account)| Unrecorded {
                source: source.clone(),
                count: std::mem::take(&mut account.unrecorded),
                since_ms: account.since_ms,
            })
            .collect();
        taken.sort_by_key(|one| std::cmp::Reverse(one.count));
        if let Some((first, rest)) = taken.split_at_checked(limits::MAX_UNRECORDED_SOURCES)
            && !rest.is_empty()
        {
            let others = Unrecorded {
                source: Source::Others,
                count: rest.iter().map(|one| one.count).sum(),
                since_ms: rest
                    .iter()
                    .map(|one| one.since_ms)
                    .min()
                    .unwrap_or_default(),
            };
            let mut told = first.to_vec();
            told.push(others);
            return told;
        }
        taken
    }
}

impl Accounts {
    /// A source's account. When the table is full those that owe nothing make room; if
    /// none does, the source shares an account with others.
    fn account(&mut self, source: &Source, shares: Shares, now: Duration) -> &mut Account {
        if !self.of.contains_key(source) && self.of.len() >= limits::MAX_BUDGET_ACCOUNTS {
            self.of.retain(|source, account| {
                account.refusals.refill(refusals(source), now);
                account.bytes.refill(share(source, shares), now);
                account.unrecorded > 0
                    || !account.refusals.is_full(refusals(source))
                    || !account.bytes.is_full(share(source, shares))
            });
        }
        let is_full = self.of.len() >= limits::MAX_BUDGET_ACCOUNTS;
        let place = if is_full && !self.of.contains_key(source) {
            Source::Others
        } else {
            source.clone()
        };
        self.of.entry(place).or_insert_with_key(|place| Account {
            refusals: Bucket::full(refusals(place), now),
            bytes: Bucket::full(share(place, shares), now),
            unrecorded: 0,
            since_ms: 0,
        })
    }
}

const fn refusals(source: &Source) -> Allowance {
    match source {
        Source::Address(_) => limits::ADDRESS_REFUSALS,
        Source::Peer(_) | Source::Others => limits::ONE_PEER_REFUSALS,
        Source::Entry(..) => limits::ENTRY_REFUSALS,
    }
}

pub(super) const fn share(source: &Source, shares: Shares) -> Allowance {
    match source {
        Source::Entry(..) => shares.entry,
        _ => shares.peer,
    }
}

/// Whom a record of this caller is charged to, the widest first.
fn sources(caller: &Caller, entry_id: &str) -> Vec<Source> {
    match caller {
        Caller::Anonymous(address) => vec![Source::Address(prefix(address))],
        Caller::Spiffe(id) => peer_sources(id.as_str(), entry_id),
        Caller::Local { .. } | Caller::Server => Vec::new(),
    }
}

fn peer_sources(id: &str, entry_id: &str) -> Vec<Source> {
    let peer: Arc<str> = id.into();
    let entry = (!entry_id.is_empty()).then(|| Source::Entry(Arc::clone(&peer), entry_id.into()));
    std::iter::once(Source::Peer(peer)).chain(entry).collect()
}

/// An IPv4 address, or the network that one IPv6 host usually has to itself.
fn prefix(address: &str) -> Arc<str> {
    let ip = address.parse::<SocketAddr>().map(|socket| socket.ip());
    match ip.map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.to_string().into(),
        Ok(IpAddr::V6(ip)) => {
            let network = u128::from(ip) >> 64 << 64;
            format!("{}/64", std::net::Ipv6Addr::from(network)).into()
        }
        Err(_) => address.into(),
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
