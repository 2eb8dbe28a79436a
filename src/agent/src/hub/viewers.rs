//! Whose views are open: no user has more of them than are free, so that one more
//! user always finds room.

use std::collections::HashMap;

use workload::ViewId;

/// How many streams each user has open on each view.
#[derive(Debug, Default)]
pub(super) struct Viewers {
    by_uid: HashMap<u32, HashMap<ViewId, usize>>,
}

impl Viewers {
    /// Counts a stream of `uid`, unless it would be on one view more than are `free`.
    pub(super) fn enter(&mut self, uid: u32, view: ViewId, free: usize) -> bool {
        let of_uid = self.by_uid.entry(uid).or_default();
        if !of_uid.contains_key(&view) && of_uid.len() >= free.max(1) {
            return false;
        }
        *of_uid.entry(view).or_default() += 1;
        true
    }

    /// A stream closes.
    pub(super) fn leave(&mut self, uid: u32, view: ViewId) {
        let Some(of_uid) = self.by_uid.get_mut(&uid) else {
            return;
        };
        if let Some(streams) = of_uid.get_mut(&view) {
            *streams -= 1;
            if *streams == 0 {
                of_uid.remove(&view);
            }
        }
        if of_uid.is_empty() {
            self.by_uid.remove(&uid);
        }
    }
}
