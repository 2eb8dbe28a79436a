//! How many attestations may wait for a disk or a user database at once, in all
//! and for one uid: a file that never answers costs its owner's share, no more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use contract::ProcessError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Admission to blocking work.
#[derive(Debug)]
pub(super) struct Gate {
    all: Arc<Semaphore>,
    per_uid: usize,
    // Weak: a uid that has nothing running is forgotten.
    uids: Mutex<HashMap<u32, Weak<Semaphore>>>,
}

/// The right to block, given back when dropped.
#[derive(Debug)]
pub(super) struct Admission {
    _one_of_all: OwnedSemaphorePermit,
    _one_of_uid: OwnedSemaphorePermit,
}

impl Gate {
    pub(super) fn new(all: usize, per_uid: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            per_uid,
            uids: Mutex::default(),
        }
    }

    /// Waits for a turn: first among the uid's own calls, then among all.
    pub(super) async fn enter(&self, uid: u32) -> Result<Admission, ProcessError> {
        let closed = |_| ProcessError::Busy;
        let mine = self.of_uid(uid);
        let one_of_uid = mine.acquire_owned().await.map_err(closed)?;
        let all = Arc::clone(&self.all);
        let one_of_all = all.acquire_owned().await.map_err(closed)?;
        Ok(Admission {
            _one_of_all: one_of_all,
            _one_of_uid: one_of_uid,
        })
    }

    fn of_uid(&self, uid: u32) -> Arc<Semaphore> {
        let mut uids = self.uids.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = uids.get(&uid).and_then(Weak::upgrade) {
            return semaphore;
        }
        uids.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.per_uid));
        uids.insert(uid, Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn one_uid_takes_its_share_and_no_more() {
        let gate = Gate::new(3, 2);
        let first = now(gate.enter(1000)).unwrap().unwrap();
        let _second = now(gate.enter(1000)).unwrap().unwrap();
        assert!(now(gate.enter(1000)).is_none(), "a third of one uid");
        let _other = now(gate.enter(1001)).unwrap().unwrap();
        assert!(now(gate.enter(1002)).is_none(), "a fourth of all");
        drop(first);
        assert!(now(gate.enter(1002)).is_some());
    }
}
