//! Which bundle every open stream has been sent: the server activates a new
//! signing key only once the bundle that holds it has reached all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Counts open streams by the sequence of the bundle they were sent last.
#[derive(Debug)]
pub(crate) struct Deliveries {
    counts: Mutex<Counts>,
    lowest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Counts {
    streams: BTreeMap<u64, usize>,
    /// The sequence the agent holds: what counts when no stream is open.
    held: u64,
}

/// One open stream's mark. It no longer counts once dropped.
#[derive(Debug)]
pub(crate) struct Delivered {
    deliveries: Arc<Deliveries>,
    sequence: u64,
}

impl Deliveries {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            counts: Mutex::default(),
            lowest: watch::Sender::new(0),
        })
    }

    /// Follows the lowest sequence that every stream has been sent.
    pub(crate) fn lowest(&self) -> watch::Receiver<u64> {
        self.lowest.subscribe()
    }

    /// The agent now holds a bundle of this sequence.
    pub(crate) fn hold(&self, sequence: u64) {
        self.change(|counts| counts.held = sequence);
    }

    /// A stream was sent its first answer, with the bundle of this sequence.
    pub(crate) fn begin(self: &Arc<Self>, sequence: u64) -> Delivered {
        self.change(|counts| *counts.streams.entry(sequence).or_default() += 1);
        Delivered {
            deliveries: Arc::clone(self),
            sequence,
        }
    }

    /// How many streams are open.
    pub(crate) fn open(&self) -> usize {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.streams.values().sum()
    }

    fn change(&self, edit: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut counts);
        let first = counts
            .streams
            .first_key_value()
            .map(|(sequence, _)| *sequence);
        let lowest = first.map_or(counts.held, |first| first.min(counts.held));
        self.lowest.send_if_modified(|shown| {
            let changed = *shown != lowest;
            *shown = lowest;
            changed
        });
    }
}

impl Counts {
    fn leave(&mut self, sequence: u64) {
        if let Some(count) = self.streams.get_mut(&sequence) {
            *count -= 1;
            if *count == 0 {
                self.streams.remove(&sequence);
            }
        }
    }
}

impl Delivered {
    /// The stream was sent the bundle of this sequence.
    pub(crate) fn advance(&mut self, sequence: u64) {
        if sequence != self.sequence {
            self.deliveries.change(|counts| {
                counts.leave(self.sequence);
                *counts.streams.entry(sequence).or_default() += 1;
            });
            self.sequence = sequence;
        }
    }
}

impl Drop for Delivered {
    fn drop(&mut self) {
        self.deliveries.change(|counts| counts.leave(self.sequence));
    }
}

#[cfg(test)]
mod tests {
    use super::Deliveries;

    #[test]
    fn the_slowest_stream_decides() {
        let deliveries = Deliveries::new();
        let lowest = deliveries.lowest();
        deliveries.hold(1);
        assert_eq!(*lowest.borrow(), 1, "no stream: what is held is delivered");
        let mut first = deliveries.begin(1);
        let second = deliveries.begin(1);
        deliveries.hold(2);
        first.advance(2);
        assert_eq!(*lowest.borrow(), 1);
        drop(second);
        assert_eq!(*lowest.borrow(), 2);
        drop(first);
        assert_eq!(*lowest.borrow(), 2);
    }
}
