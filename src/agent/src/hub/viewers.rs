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

#[cfg(test)]
mod tests {
    use identity::{Selector, Selectors, Timestamp};
    use workload::{Cache, Limits};

    use super::*;

    #[test]
    fn a12_a_user_has_no_more_views_than_are_free_and_more_streams_on_those() {
        let mut cache = Cache::new(Limits::default());
        let mut view = |number: u8| {
            let selector = Selector::new("t", &number.to_string()).unwrap();
            let caller = Selectors::new(vec![selector]).unwrap();
            cache.subscribe(&caller, Timestamp(0)).unwrap().0
        };
        let views = [0, 1, 2, 3].map(&mut view);
        let mut viewers = Viewers::default();
        // Six in all: of each that is open, one fewer is free.
        assert!(viewers.enter(1, views[0], 5));
        assert!(viewers.enter(1, views[1], 4));
        assert!(viewers.enter(1, views[2], 3));
        assert!(!viewers.enter(1, views[3], 2));
        assert!(viewers.enter(2, views[3], 2), "another user");
        assert!(viewers.enter(1, views[0], 2), "a view it has");
        for view in [views[0], views[0], views[1], views[2]] {
            viewers.leave(1, view);
        }
        assert!(!viewers.by_uid.contains_key(&1));
    }
}
