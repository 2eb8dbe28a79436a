//! Encoded secrets, shared by all streams of a view for as long as one of them
//! holds them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use workload::{Versioned as _, X509View};

use super::secrets::Secrets;

/// The secrets of every view that a stream holds now, by the view's version.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<HashMap<u64, Weak<Secrets>>>);

impl Shelf {
    /// The secrets of a view, encoded if no stream holds them yet.
    pub(super) fn secrets(&self, view: &X509View) -> Arc<Secrets> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = shelf.get(&view.version()).and_then(Weak::upgrade) {
            return held;
        }
        shelf.retain(|_, held| held.strong_count() > 0);
        let secrets = Arc::new(Secrets::of(view));
        shelf.insert(view.version(), Arc::downgrade(&secrets));
        secrets
    }
}
