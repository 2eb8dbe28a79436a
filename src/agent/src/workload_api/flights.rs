//! Callers that want the same thing at once ask the server for it once.
//!
//! What is under way belongs to nobody: it goes on when the caller that began it has
//! gone, and no caller waits longer for it than [`limits::TOKEN_WAIT`] after it
//! began. A server that hangs holds up the first callers for that long, and nobody
//! who comes later.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tonic::Status;

use crate::limits;

/// What is being asked for at this moment.
pub(crate) struct Flights<K, V, E> {
    all: Arc<Mutex<All<K, V, E>>>,
    patience: Patience,
}

/// How long everything may take.
#[derive(Clone, Copy)]
struct Patience {
    /// How long callers wait, from when what they want was first asked for.
    wait: Duration,
    /// How long the server may take.
    call: Duration,
    /// How long until a refresh that failed is tried again.
    retry: Duration,
}

struct All<K, V, E> {
    by_key: HashMap<K, Flight<V, E>>,
    begun: u64,
}

type Outcome<V, E> = Option<Result<V, E>>;

struct Flight<V, E> {
    number: u64,
    since: Duration,
    outcome: watch::Receiver<Outcome<V, E>>,
}

impl<V, E> Clone for Flight<V, E> {
    fn clone(&self) -> Self {
        Self {
            outcome: self.outcome.clone(),
            ..*self
        }
    }
}

impl<K, V, E> Default for Flights<K, V, E> {
    fn default() -> Self {
        let all = All {
            by_key: HashMap::new(),
            begun: 0,
        };
        Self {
            all: Arc::new(Mutex::new(all)),
            patience: Patience {
                wait: limits::TOKEN_WAIT,
                call: limits::TOKEN_CALL,
                retry: limits::TOKEN_RETRY,
            },
        }
    }
}

/// Makes room for the next of its key when what was asked for is there, or was lost
/// with its task.
struct Landing<K: Eq + Hash, V, E> {
    all: Arc<Mutex<All<K, V, E>>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, V, E> Drop for Landing<K, V, E> {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = all.by_key.get(&self.key);
        if mine.is_some_and(|flight| flight.number == self.number) {
            all.by_key.remove(&self.key);
        }
    }
}

impl<K, V, E> Flights<K, V, E>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
    E: Clone + From<Status> + Send + Sync + 'static,
{
    /// Waits for what `ask` brings, or another that asks for the same already. `may`
    /// is asked before a new one begins.
    ///
    /// # Errors
    /// `may` refuses, too much is being asked for, the server did not answer in
    /// time, or it refused.
    pub(crate) async fn join<F>(
        &self,
        key: K,
        now: Duration,
        may: impl FnOnce() -> Result<(), E>,
        ask: impl FnOnce() -> F,
    ) -> Result<V, E>
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let flight = self.find_or_begin(key, now, may, ask)?;
        let passed = now.saturating_sub(flight.since);
        let left = self.patience.wait.saturating_sub(passed);
        let mut outcome = flight.outcome;
        let there = async {
            let there = outcome.wait_for(Option::is_some).await;
            there.ok().and_then(|outcome| outcome.clone())
        };
        let lost = "the request was lost; call again";
        match tokio::time::timeout(left, there).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(Status::unavailable(lost).into()),
            Err(_elapsed) => Err(Status::unavailable(
                "no token is held, and the server does not answer; call again, and see \
                 `bulla healthcheck --only agent` for the agent's connection to it",
            )
            .into()),
        }
    }

    /// Asks unless that is being done already, and lets nobody wait for it. After a
    /// failure the same is not asked for again for a moment.
    pub(crate) fn ask_behind<F>(&self, key: K, now: Duration, ask: impl FnOnce() -> F)
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.by_key.contains_key(&key) || all.by_key.len() >= limits::TOKEN_REQUESTS {
            return;
        }
        self.begin(&mut all, key, now, ask(), self.patience.retry);
    }

    fn find_or_begin<F>(
        &self,
        key: K,
        now: Duration,
        may: impl FnOnce() -> Result<(), E>,
        ask: impl FnOnce() -> F,
    ) -> Result<Flight<V, E>, E>
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.by_key.get(&key);
        // One that is over failed just now: who has nothing tries again.
        if let Some(flight) = known.filter(|flight| flight.outcome.borrow().is_none()) {
            return Ok(flight.clone());
        }
        if all.by_key.len() >= limits::TOKEN_REQUESTS {
            let many = "too many tokens are being asked for on this node; call again";
            return Err(Status::unavailable(many).into());
        }
        may()?;
        Ok(self.begin(&mut all, key, now, ask(), Duration::ZERO))
    }

    fn begin<F>(
        &self,
        all: &mut All<K, V, E>,
        key: K,
        now: Duration,
        ask: F,
        pause: Duration,
    ) -> Flight<V, E>
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        all.begun += 1;
        let (sender, outcome) = watch::channel(None);
        let flight = Flight {
            number: all.begun,
            since: now,
            outcome,
        };
        all.by_key.insert(key.clone(), flight.clone());
        let landing = Landing {
            all: Arc::clone(&self.all),
            key,
            number: flight.number,
        };
        let call = self.patience.call;
        tokio::spawn(async move {
            let outcome = tokio::time::timeout(call, ask).await;
            let outcome = outcome.unwrap_or_else(|_elapsed| {
                Err(Status::unavailable("the server did not answer").into())
            });
            let has_failed = outcome.is_err();
            sender.send_replace(Some(outcome));
            if has_failed && !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            drop(landing);
        });
        flight
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    type Test = Flights<u8, u32, Status>;

    const T0: Duration = Duration::from_secs(9);
    const PATIENCE: Patience = Patience {
        wait: Duration::from_millis(50),
        call: Duration::from_millis(400),
        retry: Duration::from_millis(200),
    };

    fn flights() -> Test {
        Flights {
            patience: PATIENCE,
            ..Flights::default()
        }
    }

    fn may() -> Result<(), Status> {
        Ok(())
    }

    async fn until(mut is_so: impl FnMut() -> bool) {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test]
    async fn a3_nobody_queues_behind_a_request_that_hangs() {
        let flights = flights();
        let begun = AtomicU32::new(0);
        let hang = || {
            begun.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Result<u32, Status>>()
        };
        let four = (0..4).map(|_| flights.join(1, T0, may, hang));
        for outcome in futures_util::future::join_all(four).await {
            assert_eq!(outcome.unwrap_err().code(), tonic::Code::Unavailable);
        }
        // Who comes while it still hangs does not even wait, nor begin another.
        let later = T0 + PATIENCE.wait;
        assert!(flights.join(1, later, may, hang).await.is_err());
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        // Another key does not wait for this one.
        let ready = || std::future::ready(Ok(5));
        assert_eq!(flights.join(2, later, may, ready).await.unwrap(), 5);
        // It is given up at last, and the next caller begins anew.
        until(|| flights.all.lock().unwrap().by_key.is_empty()).await;
        assert_eq!(flights.join(1, later, may, ready).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn what_many_ask_for_is_asked_for_once_and_paid_for_once() {
        let flights = Test::default();
        let (asked, paid) = (&AtomicU32::new(0), &AtomicU32::new(0));
        let pay = || {
            paid.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let ask = || {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok(number)
            }
        };
        let many = (0..8).map(|_| flights.join(1, T0, pay, ask));
        for outcome in futures_util::future::join_all(many).await {
            assert_eq!(outcome.unwrap(), 0);
        }
        let counts = || (asked.load(Ordering::SeqCst), paid.load(Ordering::SeqCst));
        assert_eq!(counts(), (1, 1));
        let refuse = || Err(Status::resource_exhausted("no"));
        let refused = flights.join(2, T0, refuse, ask).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert_eq!(counts(), (1, 1));
    }

    #[tokio::test]
    async fn a_refresh_that_failed_is_not_repeated_at_once_and_stops_nobody() {
        let flights = flights();
        let asked = AtomicU32::new(0);
        let fail = || {
            asked.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Err(Status::unavailable("away")))
        };
        for _ in 0..5 {
            flights.ask_behind(1, T0, fail);
            tokio::task::yield_now().await;
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let ready = || std::future::ready(Ok(5));
        assert_eq!(flights.join(1, T0, may, ready).await.unwrap(), 5);
        until(|| flights.all.lock().unwrap().by_key.is_empty()).await;
        flights.ask_behind(1, T0, fail);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
