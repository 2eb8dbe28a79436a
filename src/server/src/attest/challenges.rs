//! Open challenges: those that a client has not answered yet. Each keeps what its
//! attestor noted, so they are bounded, by source and by node. Beyond a bound the
//! oldest challenge of whoever has the most gives way: a client that never answers
//! takes nothing from the others, and one that lost its connection can ask again at
//! once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::NodeKey;
use tokio::sync::oneshot;

use super::source::Source;
use crate::limits;

/// The open challenges of one server. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Challenges(Arc<Mutex<Table>>);

/// One open challenge; closed when dropped.
pub(super) struct Challenge {
    table: Arc<Mutex<Table>>,
    source: Source,
    number: u64,
    gave_way: oneshot::Receiver<()>,
}

#[derive(Default)]
struct Table {
    /// Of each source its challenges, the oldest first.
    open: HashMap<Source, BTreeMap<u64, Open>>,
    count: usize,
    next: u64,
}

struct Open {
    /// Which node it is for, where the evidence says so.
    node: Option<NodeKey>,
    /// Dropped when the challenge gives way to another.
    _stays: oneshot::Sender<()>,
}

impl Challenges {
    /// Opens a challenge; others may have to give way to it.
    pub(super) fn open(&self, source: &Source, node: Option<&NodeKey>) -> Challenge {
        let mut table = lock(&self.0);
        table.make_room(source, node);
        let number = table.next;
        table.next = table.next.wrapping_add(1);
        let (stays, gave_way) = oneshot::channel();
        let open = Open {
            node: node.cloned(),
            _stays: stays,
        };
        let own = table.open.entry(source.clone()).or_default();
        own.insert(number, open);
        table.count += 1;
        Challenge {
            table: Arc::clone(&self.0),
            source: source.clone(),
            number,
            gave_way,
        }
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.0).count
    }

    /// How many are open, and how many of the source that has most.
    pub(super) fn counts(&self) -> (usize, usize) {
        let table = lock(&self.0);
        let most = table.open.values().map(|own| own.len()).max();
        (table.count, most.unwrap_or_default())
    }
}

impl Challenge {
    /// Waits until this challenge has given way to another.
    pub(super) async fn gave_way(&mut self) {
        let _always_an_error = (&mut self.gave_way).await;
    }

    /// Whether it has given way.
    pub(super) fn is_void(&self) -> bool {
        let table = lock(&self.table);
        let own = table.open.get(&self.source);
        own.is_none_or(|own| !own.contains_key(&self.number))
    }
}

impl Drop for Challenge {
    fn drop(&mut self) {
        lock(&self.table).close(&self.source, self.number);
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// Closes challenges until one more of this source and node is within the bounds.
    fn make_room(&mut self, source: &Source, node: Option<&NodeKey>) {
        if let (Some(own), Some(node)) = (self.open.get(source), node) {
            let same = own
                .iter()
                .filter(|(_, open)| open.node.as_ref() == Some(node));
            let same: Vec<u64> = same.map(|(number, _)| *number).collect();
            if same.len() >= limits::MAX_CHALLENGES_OF_A_NODE
                && let Some(oldest) = same.first()
            {
                self.close(source, *oldest);
            }
        }
        let own = self.open.get(source).map_or(0, BTreeMap::len);
        if own >= limits::MAX_CHALLENGES_OF_A_SOURCE {
            self.close_one_of(source);
        }
        if self.count >= limits::MAX_CHALLENGES {
            let largest = self.open.iter().max_by_key(|(_, open)| open.len());
            if let Some(largest) = largest.map(|(source, _)| source.clone()) {
                self.close_one_of(&largest);
            }
        }
    }

    /// Closes the oldest challenge of the node that has the most of this source's.
    fn close_one_of(&mut self, source: &Source) {
        let Some(open) = self.open.get(source) else {
            return;
        };
        let mut of_node: HashMap<Option<&NodeKey>, (usize, u64)> = HashMap::new();
        for (number, open) in open {
            let (count, _oldest) = of_node.entry(open.node.as_ref()).or_insert((0, *number));
            *count += 1;
        }
        let most = of_node
            .into_values()
            .max_by_key(|(count, oldest)| (*count, std::cmp::Reverse(*oldest)));
        if let Some((_, oldest)) = most {
            self.close(source, oldest);
        }
    }

    fn close(&mut self, source: &Source, number: u64) {
        let Some(own) = self.open.get_mut(source) else {
            return;
        };
        if own.remove(&number).is_some() {
            self.count = self.count.saturating_sub(1);
        }
        if own.is_empty() {
            self.open.remove(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn source(n: usize) -> Source {
        let [.., high, low] = n.to_be_bytes();
        Source::Address(IpAddr::from([198, 18, high, low]))
    }

    fn node(n: usize) -> NodeKey {
        NodeKey::new(&[&n.to_string()]).unwrap()
    }

    #[test]
    fn a_node_that_asks_again_and_again_has_its_newest_few() {
        let all = Challenges::default();
        let others = [1, 2, 3].map(|n| all.open(&source(1), Some(&node(n))));
        let own: Vec<_> = (0..100)
            .map(|_| all.open(&source(1), Some(&node(9))))
            .collect();
        let kept = limits::MAX_CHALLENGES_OF_A_NODE;
        assert_eq!(all.count(), 3 + kept);
        assert!(own[..100 - kept].iter().all(Challenge::is_void));
        assert!(own[100 - kept..].iter().all(|one| !one.is_void()));
        assert!(others.iter().all(|one| !one.is_void()));
        drop((own, others));
        assert_eq!(all.count(), 0);
        assert!(all.0.lock().unwrap().open.is_empty());
    }

    /// Whoever shows many certificates displaces itself, and not the node behind the
    /// same address that shows one.
    #[test]
    fn a_source_beyond_its_share_loses_the_oldest_of_its_busiest_node() {
        let all = Challenges::default();
        let honest = all.open(&source(1), Some(&node(0)));
        let busy: Vec<_> = (0..limits::MAX_CHALLENGES_OF_A_SOURCE)
            .map(|n| {
                all.open(
                    &source(1),
                    Some(&node(1 + n / limits::MAX_CHALLENGES_OF_A_NODE)),
                )
            })
            .collect();
        assert_eq!(all.count(), limits::MAX_CHALLENGES_OF_A_SOURCE);
        assert!(!honest.is_void() && busy[0].is_void());
    }

    #[tokio::test]
    async fn beyond_the_total_the_largest_source_gives_way() {
        let all = Challenges::default();
        let mut honest = all.open(&source(0), None);
        let mut hostile = Vec::new();
        for n in 0..limits::MAX_CHALLENGES + 10 {
            hostile.push(all.open(&source(1 + n % 10), None));
        }
        assert_eq!(all.count(), limits::MAX_CHALLENGES);
        assert!(!honest.is_void());
        hostile[0].gave_way().await;
        let waits = std::time::Duration::from_millis(1);
        assert!(
            tokio::time::timeout(waits, honest.gave_way())
                .await
                .is_err()
        );
    }
}
