//! An answer that was lost on its way: a node that used its token up and never saw its
//! SVID may ask again, for a while, with the very key it proved to hold the first time.
//!
//! The token still works once: what is repeated is the answer, to the same holder of
//! the same private key, for the same node. Kept in memory alone; after a restart the
//! node needs a new token.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::limits;

/// Who used which one-time thing up, lately.
#[derive(Default)]
pub(super) struct Answered {
    keys: HashMap<[u8; 32], [u8; 20]>,
    /// In the order of use, with the uptime at that moment.
    order: VecDeque<(Duration, [u8; 32])>,
}

impl Answered {
    /// Notes that the holder of `key_id` used `one_time` up.
    pub(super) fn note(&mut self, one_time: [u8; 32], key_id: [u8; 20], now: Duration) {
        self.forget(now);
        if self.order.len() >= limits::MAX_ANSWERED
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        if self.keys.insert(one_time, key_id).is_none() {
            self.order.push_back((now, one_time));
        }
    }

    /// Whether it was the holder of this key that used it up, not long ago.
    pub(super) fn is_same(
        &mut self,
        one_time: &[u8; 32],
        key_id: &[u8; 20],
        now: Duration,
    ) -> bool {
        self.forget(now);
        self.keys.get(one_time) == Some(key_id)
    }

    fn forget(&mut self, now: Duration) {
        while let Some((at, one_time)) = self.order.front().copied() {
            if now.saturating_sub(at) < limits::ANSWER_AGAIN {
                return;
            }
            self.order.pop_front();
            self.keys.remove(&one_time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_the_key_for_a_while() {
        let mut answered = Answered::default();
        let start = Duration::from_secs(100);
        answered.note([1; 32], [7; 20], start);
        assert!(answered.is_same(&[1; 32], &[7; 20], start));
        assert!(!answered.is_same(&[1; 32], &[8; 20], start));
        assert!(!answered.is_same(&[2; 32], &[7; 20], start));
        let later = start + limits::ANSWER_AGAIN;
        assert!(!answered.is_same(&[1; 32], &[7; 20], later));
        assert!(answered.keys.is_empty() && answered.order.is_empty());
    }

    #[test]
    fn it_holds_a_bounded_number() {
        let mut answered = Answered::default();
        for n in 0..(limits::MAX_ANSWERED + 10) {
            let mut one_time = [0; 32];
            one_time[..8].copy_from_slice(&n.to_be_bytes());
            answered.note(one_time, [1; 20], Duration::from_secs(1));
        }
        assert_eq!(answered.keys.len(), limits::MAX_ANSWERED);
        assert_eq!(answered.order.len(), limits::MAX_ANSWERED);
    }
}
