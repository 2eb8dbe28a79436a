//! What each caller has in progress: its calls, and the request bytes that the server
//! holds for them. A caller that asks for much waits for itself, not others for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::owner::{Group, Owner};
use crate::budgets::{Budgets, Meter, Principal, Reading};
use crate::failure::Kind;
use crate::limits;

/// All accounts of a server.
#[derive(Debug)]
pub(crate) struct Accounts {
    open: Mutex<HashMap<Owner, Arc<Account>>>,
    pools: [Arc<Pool>; 3],
}

#[derive(Debug)]
struct Pool {
    calls: Arc<Semaphore>,
    bytes: Held,
    refused_calls: AtomicU64,
    refused_bytes: AtomicU64,
}

#[derive(Debug)]
struct Account {
    calls: Arc<Semaphore>,
    waiting: AtomicUsize,
    bytes: Held,
}

/// A count that does not go beyond its bound.
#[derive(Debug)]
struct Held {
    most: usize,
    now: AtomicUsize,
}

impl Held {
    const fn new(most: usize) -> Self {
        Self {
            most,
            now: AtomicUsize::new(0),
        }
    }

    fn take(&self, count: usize) -> bool {
        let taken = self
            .now
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                now.checked_add(count).filter(|sum| *sum <= self.most)
            });
        taken.is_ok()
    }

    fn give_back(&self, count: usize) {
        self.now.fetch_sub(count, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }
}

/// One call's part in its caller's account; dropping it gives everything back.
#[derive(Debug)]
pub(super) struct Member {
    accounts: Arc<Accounts>,
    owner: Owner,
    account: Arc<Account>,
    pool: Arc<Pool>,
    held: AtomicUsize,
}

/// A call that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct InProgress {
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

impl Accounts {
    /// None open; what they are held to is registered as rows of the budget table.
    pub(crate) fn new(budgets: &Budgets) -> Arc<Self> {
        let accounts = Arc::new(Self {
            open: Mutex::default(),
            pools: Group::ALL.map(|group| {
                let bounds = group.bounds();
                Arc::new(Pool {
                    calls: Arc::new(Semaphore::new(bounds.calls.1)),
                    bytes: Held::new(bounds.bytes.1),
                    refused_calls: AtomicU64::new(0),
                    refused_bytes: AtomicU64::new(0),
                })
            }),
        });
        accounts.register(budgets);
        accounts
    }

    /// The account of a caller, for one call.
    pub(super) fn open(self: &Arc<Self>, owner: Owner) -> Member {
        let group = owner.group();
        let mut open = self.lock();
        let account = open.entry(owner.clone()).or_insert_with(|| {
            let bounds = group.bounds();
            Arc::new(Account {
                calls: Arc::new(Semaphore::new(bounds.calls.0)),
                waiting: AtomicUsize::new(0),
                bytes: Held::new(bounds.bytes.0),
            })
        });
        let account = Arc::clone(account);
        drop(open);
        Member {
            accounts: Arc::clone(self),
            owner,
            account,
            pool: Arc::clone(self.pool(group)),
            held: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, Arc<Account>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn pool(&self, group: Group) -> &Arc<Pool> {
        let [strangers, certified, local] = &self.pools;
        match group {
            Group::Strangers => strangers,
            Group::Certified => certified,
            Group::Local => local,
        }
    }

    fn register(self: &Arc<Self>, budgets: &Budgets) {
        for (group, one, all) in [
            (
                Group::Strangers,
                Principal::Address,
                Some(Principal::Strangers),
            ),
            (Group::Certified, Principal::Identity, None),
            (Group::Local, Principal::Administrator, None),
        ] {
            let bounds = group.bounds();
            self.meter(budgets, one, "calls", bounds.calls.0, move |accounts| {
                let refused = &accounts.pool(group).refused_calls;
                accounts.largest(
                    group,
                    refused,
                    |a| bounds.calls.0.saturating_sub(a.calls.available_permits()),
                    bounds.calls.0,
                )
            });
            self.meter(
                budgets,
                one,
                "request_bytes",
                bounds.bytes.0,
                move |accounts| {
                    let refused = &accounts.pool(group).refused_bytes;
                    accounts.largest(group, refused, |a| a.bytes.get(), bounds.bytes.0)
                },
            );
            let Some(all) = all else { continue };
            self.meter(budgets, all, "calls", bounds.calls.1, move |accounts| {
                let free = accounts.pool(group).calls.available_permits();
                Reading::of(whole(bounds.calls.1.saturating_sub(free)))
            });
            self.meter(
                budgets,
                all,
                "request_bytes",
                bounds.bytes.1,
                move |accounts| Reading::of(whole(accounts.pool(group).bytes.get())),
            );
        }
    }

    fn meter(
        self: &Arc<Self>,
        budgets: &Budgets,
        principal: Principal,
        resource: &'static str,
        bound: usize,
        read: impl Fn(&Self) -> Reading + Send + Sync + 'static,
    ) {
        let accounts = Arc::downgrade(self);
        budgets.register(Meter {
            principal,
            resource,
            bound: whole(bound),
            read: Box::new(move || {
                accounts
                    .upgrade()
                    .map_or_else(Reading::default, |a| read(&a))
            }),
        });
    }

    fn largest(
        &self,
        group: Group,
        refused: &AtomicU64,
        used: impl Fn(&Account) -> usize,
        bound: usize,
    ) -> Reading {
        let open = self.lock();
        let of_group = open.iter().filter(|(owner, _)| owner.group() == group);
        let counts: Vec<(usize, &Owner)> = of_group.map(|(o, a)| (used(a), o)).collect();
        let mut at_bound: Vec<&Owner> = counts
            .iter()
            .filter(|(count, _)| *count >= bound)
            .map(|(_, owner)| *owner)
            .collect();
        at_bound.sort();
        Reading {
            used: whole(counts.iter().map(|(count, _)| *count).max().unwrap_or(0)),
            at_bound: at_bound
                .into_iter()
                .take(Reading::NAMED)
                .map(ToString::to_string)
                .collect(),
            refused: refused.load(Ordering::Relaxed),
        }
    }
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Member {
    /// Waits for the call's turn among those of its caller.
    ///
    /// # Errors
    /// `ResourceExhausted` with advice when to come again: too many wait already, or
    /// this one has waited too long.
    pub(super) async fn enter(&self) -> Result<InProgress, Status> {
        let most = self.owner.group().bounds().waiting;
        let refused = || {
            self.pool.refused_calls.fetch_add(1, Ordering::Relaxed);
            come_again(format!("{} has too many calls in progress", self.owner))
        };
        if let Ok(own) = Arc::clone(&self.account.calls).try_acquire_owned()
            && let Ok(shared) = Arc::clone(&self.pool.calls).try_acquire_owned()
        {
            return Ok(InProgress {
                _own: own,
                _shared: shared,
            });
        }
        let _waiting = Waiting::begin(&self.account.waiting, most).ok_or_else(refused)?;
        let turn = async {
            let own = Arc::clone(&self.account.calls).acquire_owned().await;
            let shared = Arc::clone(&self.pool.calls).acquire_owned().await;
            own.ok().zip(shared.ok())
        };
        let turn = tokio::time::timeout(limits::CALL_QUEUE_WAIT, turn).await;
        match turn {
            Ok(Some((own, shared))) => Ok(InProgress {
                _own: own,
                _shared: shared,
            }),
            Ok(None) | Err(_) => Err(refused()),
        }
    }

    /// Holds so many request bytes for this call instead of those held before.
    ///
    /// # Errors
    /// `ResourceExhausted` with advice when to come again: the caller, or all of its
    /// sort together, have no more room.
    pub(super) fn hold(&self, bytes: usize) -> Result<(), Status> {
        self.give_back();
        if !self.account.bytes.take(bytes) {
            self.pool.refused_bytes.fetch_add(1, Ordering::Relaxed);
            let why = format!(
                "requests of {} that are not answered are too large",
                self.owner
            );
            return Err(come_again(why));
        }
        if !self.pool.bytes.take(bytes) {
            self.account.bytes.give_back(bytes);
            self.pool.refused_bytes.fetch_add(1, Ordering::Relaxed);
            return Err(come_again("requests that are not answered are too large"));
        }
        self.held.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn give_back(&self) {
        let held = self.held.swap(0, Ordering::Relaxed);
        self.account.bytes.give_back(held);
        self.pool.bytes.give_back(held);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.give_back();
        let mut open = self.accounts.lock();
        // The map and this one: nobody else can take it while the map is locked.
        if Arc::strong_count(&self.account) <= 2 {
            open.remove(&self.owner);
        }
    }
}

/// A call among those that wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A refusal for want of room, with the metadata by which gRPC clients know when to
/// try again.
fn come_again(why: impl Into<String>) -> Status {
    let mut status = Kind::Exhausted.status(format!("{}; try again later", why.into()));
    let pause = tonic::metadata::MetadataValue::from_static(limits::COME_AGAIN_MS);
    status
        .metadata_mut()
        .insert("grpc-retry-pushback-ms", pause);
    status
}

#[cfg(test)]
mod tests {
    use channel::Source;

    use super::*;

    fn owner(n: u8) -> Owner {
        Owner::Address(Source::of([192, 0, 2, n].into()))
    }

    #[tokio::test]
    async fn an_account_is_forgotten_when_its_last_call_ends() {
        let budgets = Budgets::default();
        let accounts = Accounts::new(&budgets);
        let (one, two) = (accounts.open(owner(1)), accounts.open(owner(1)));
        one.hold(100).unwrap();
        two.hold(50).unwrap();
        two.hold(10).unwrap();
        assert_eq!(accounts.pool(Group::Strangers).bytes.get(), 110);
        drop(one);
        assert_eq!(accounts.lock().len(), 1);
        drop(two);
        assert!(accounts.lock().is_empty());
        assert_eq!(accounts.pool(Group::Strangers).bytes.get(), 0);
    }

    #[tokio::test]
    async fn one_address_has_a_share_of_bytes_and_calls_and_others_have_theirs() {
        let budgets = Budgets::default();
        let accounts = Accounts::new(&budgets);
        let most = limits::MAX_REQUEST_BYTES_OF_AN_ADDRESS;
        let (one, two) = (accounts.open(owner(1)), accounts.open(owner(1)));
        one.hold(most).unwrap();
        let refused = two.hold(1).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(refused.metadata().contains_key("grpc-retry-pushback-ms"));
        accounts.open(owner(2)).hold(most).unwrap();
        let mut calls = Vec::new();
        for _ in 0..limits::MAX_CALLS_OF_AN_ADDRESS {
            calls.push(one.enter().await.unwrap());
        }
        let other = accounts.open(owner(2));
        let _entered = other.enter().await.unwrap();
        let rows = budgets.table();
        let row = |resource| {
            let mut rows = rows.iter();
            rows.find(|row| row.principal == Principal::Address && row.resource == resource)
                .unwrap()
        };
        for resource in ["calls", "request_bytes"] {
            assert_eq!(row(resource).reading.at_bound, ["192.0.2.1"], "{resource}");
            assert_eq!(row(resource).reading.used, row(resource).bound);
        }
    }
}
