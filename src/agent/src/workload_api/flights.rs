//! Callers that want the same thing at once ask the server for it once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;
use tonic::Status;

use crate::limits;

/// Held by the one that asks the server; the others wait for it, and then find what it
/// brought.
type Turn = tokio::sync::Mutex<()>;

/// What is being asked for at this moment.
pub(crate) struct Flights<K> {
    // Weak: what nobody waits for is forgotten.
    turns: Mutex<HashMap<K, Weak<Turn>>>,
}

impl<K> Default for Flights<K> {
    fn default() -> Self {
        Self {
            turns: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash> Flights<K> {
    /// Waits for the turn to ask for `wanted`: at once for the first.
    ///
    /// # Errors
    /// Those before have waited for the server as long as a call may take.
    pub(crate) async fn turn(&self, wanted: K) -> Result<OwnedMutexGuard<()>, Status> {
        let turn = self.join(wanted).lock_owned();
        let late = "others wait for the server for the same; call again";
        let turn = tokio::time::timeout(limits::SERVER_CALL, turn).await;
        turn.map_err(|_elapsed| Status::unavailable(late))
    }

    fn join(&self, wanted: K) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&wanted).and_then(Weak::upgrade) {
            return turn;
        }
        if turns.len() >= limits::FLIGHTS_SWEPT {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        turns.insert(wanted, Arc::downgrade(&turn));
        turn
    }
}
