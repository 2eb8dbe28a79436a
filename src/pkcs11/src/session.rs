//! Sessions with the token: as many as configured, lent to one operation each.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use cryptoki::session::Session;

use crate::limits;

/// Idle sessions, and how many are lent.
#[derive(Default)]
struct Held {
    idle: Vec<Session>,
    lent: usize,
    /// Counts how often all sessions were thrown away.
    generation: u64,
}

pub(crate) struct Pool {
    held: Mutex<Held>,
    returned: Condvar,
    most: usize,
}

/// The right to use one session; it goes back when dropped, unless it is spoilt.
pub(crate) struct Lent<'a> {
    pool: &'a Pool,
    session: Option<Session>,
    pub(crate) generation: u64,
}

impl Pool {
    pub(crate) fn new(most: u16) -> Self {
        Self {
            held: Mutex::default(),
            returned: Condvar::new(),
            most: usize::from(most.clamp(1, limits::MAX_SESSIONS)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends a place; `None` when all stay in use for too long.
    pub(crate) fn lend(&self) -> Option<Lent<'_>> {
        let all_lent = |held: &mut Held| held.lent >= self.most;
        let waited = self
            .returned
            .wait_timeout_while(self.lock(), limits::SESSION_WAIT, all_lent);
        let (mut held, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() && held.lent >= self.most {
            return None;
        }
        held.lent += 1;
        Some(Lent {
            pool: self,
            session: held.idle.pop(),
            generation: held.generation,
        })
    }

    /// Throws all idle sessions away; those that are lent do not come back. Gives what
    /// to call sessions from now on.
    pub(crate) fn renew(&self) -> u64 {
        let mut held = self.lock();
        held.generation += 1;
        let old = std::mem::take(&mut held.idle);
        let generation = held.generation;
        // Closing calls the token, which may take its time.
        drop(held);
        drop(old);
        generation
    }

    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }
}

impl Lent<'_> {
    /// The session, opened if there was none idle.
    pub(crate) fn session<E>(
        &mut self,
        open: impl FnOnce() -> Result<Session, E>,
    ) -> Result<&Session, E> {
        let session = match self.session.take() {
            Some(session) => session,
            None => open()?,
        };
        Ok(self.session.insert(session))
    }

    /// Keeps the session from being used again.
    pub(crate) fn spoil(&mut self) {
        self.session = None;
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let session = self.session.take();
        let mut held = self.pool.lock();
        held.lent -= 1;
        let current = held.generation == self.generation;
        let stale = if current {
            held.idle.extend(session);
            None
        } else {
            session
        };
        drop(held);
        drop(stale);
        self.pool.returned.notify_one();
    }
}
