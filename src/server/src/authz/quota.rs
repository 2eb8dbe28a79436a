//! So many in each second, and no more.

use std::sync::{Mutex, PoisonError};

use identity::Timestamp;

/// A quota that is full again each second.
pub(super) struct Quota {
    most: u32,
    second: Mutex<(Timestamp, u32)>,
}

impl Quota {
    pub(super) const fn new(most: u32) -> Self {
        Self {
            most,
            second: Mutex::new((Timestamp(0), 0)),
        }
    }

    /// Whether there is one left in this second; takes it.
    pub(super) fn take(&self, now: Timestamp) -> bool {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.0 != now {
            *second = (now, 0);
        }
        second.1 = second.1.saturating_add(1);
        second.1 <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own() {
        let quota = Quota::new(2);
        let taken: Vec<bool> = [7, 7, 7, 8].map(|at| quota.take(Timestamp(at))).into();
        assert_eq!(taken, [true, true, false, true]);
    }
}
