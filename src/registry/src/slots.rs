//! The arena of entries: each sits in a numbered slot and hangs in three
//! chains, by parent, by SPIFFE ID and by registration (what makes two entries
//! one). Chains are doubly linked through the slots, so that an entry costs a
//! few machine words beside itself and leaves in constant time, however many
//! share its parent.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use identity::{Entry, Selectors, SpiffeId};

pub(crate) type Slot = u32;
const NONE: Slot = Slot::MAX;

#[derive(Clone, Copy)]
struct Link {
    prev: Slot,
    next: Slot,
}

struct Cell {
    entry: Arc<Entry>,
    parent: Link,
    spiffe_id: Link,
    registration: Link,
}

#[derive(Clone, Copy)]
enum Chain {
    Parent,
    SpiffeId,
    Registration,
}

const CHAINS: [Chain; 3] = [Chain::Parent, Chain::SpiffeId, Chain::Registration];

impl Cell {
    fn link(&self, chain: Chain) -> Link {
        match chain {
            Chain::Parent => self.parent,
            Chain::SpiffeId => self.spiffe_id,
            Chain::Registration => self.registration,
        }
    }

    fn link_mut(&mut self, chain: Chain) -> &mut Link {
        match chain {
            Chain::Parent => &mut self.parent,
            Chain::SpiffeId => &mut self.spiffe_id,
            Chain::Registration => &mut self.registration,
        }
    }
}

/// For each chain: hash of the key -> first slot. Keys whose hashes collide
/// share a chain; readers compare the key itself.
#[derive(Default)]
struct Heads {
    parent: HashMap<u32, Slot>,
    spiffe_id: HashMap<u32, Slot>,
    registration: HashMap<u32, Slot>,
}

impl Heads {
    fn of(&self, chain: Chain) -> &HashMap<u32, Slot> {
        match chain {
            Chain::Parent => &self.parent,
            Chain::SpiffeId => &self.spiffe_id,
            Chain::Registration => &self.registration,
        }
    }

    fn of_mut(&mut self, chain: Chain) -> &mut HashMap<u32, Slot> {
        match chain {
            Chain::Parent => &mut self.parent,
            Chain::SpiffeId => &mut self.spiffe_id,
            Chain::Registration => &mut self.registration,
        }
    }
}

#[derive(Default)]
pub(crate) struct Slots {
    cells: Vec<Option<Cell>>,
    free: Vec<Slot>,
    heads: Heads,
    hasher: RandomState,
}

impl Slots {
    /// Seats an entry. It shares the memory of its parent ID and of common
    /// selectors with a sibling: thousands of entries hang under one parent.
    ///
    /// # Panics
    /// Never: 2^32 entries would need terabytes first.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) -> Slot {
        let entry = self.sharing(entry);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.cells.push(None);
            Slot::try_from(self.cells.len() - 1).unwrap_or(NONE)
        });
        let mut links = [Link {
            prev: NONE,
            next: NONE,
        }; 3];
        for (chain, link) in CHAINS.into_iter().zip(&mut links) {
            let hash = self.hash(chain, &entry);
            let head = self.heads.of_mut(chain).insert(hash, slot);
            link.next = head.unwrap_or(NONE);
            if let Some(next) = self.cell_mut(link.next) {
                next.link_mut(chain).prev = slot;
            }
        }
        let [parent, spiffe_id, registration] = links;
        if let Some(seat) = self.cells.get_mut(slot as usize) {
            *seat = Some(Cell {
                entry,
                parent,
                spiffe_id,
                registration,
            });
        }
        slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Arc<Entry>> {
        let cell = self.cells.get_mut(slot as usize)?.take()?;
        for chain in CHAINS {
            let Link { prev, next } = cell.link(chain);
            if let Some(cell) = self.cell_mut(next) {
                cell.link_mut(chain).prev = prev;
            }
            if let Some(cell) = self.cell_mut(prev) {
                cell.link_mut(chain).next = next;
                continue;
            }
            let hash = self.hash(chain, &cell.entry);
            if next == NONE {
                self.heads.of_mut(chain).remove(&hash);
            } else {
                self.heads.of_mut(chain).insert(hash, next);
            }
        }
        self.free.push(slot);
        Some(cell.entry)
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Arc<Entry>> {
        Some(&self.cell(slot)?.entry)
    }

    /// The entries that hang directly under `parent`.
    pub(crate) fn under<'a>(
        &'a self,
        parent: &'a SpiffeId,
    ) -> impl Iterator<Item = (Slot, &'a Arc<Entry>)> {
        self.chain(Chain::Parent, self.short(parent))
            .filter(move |(_, e)| e.parent_id == *parent)
    }

    /// The entries that give `spiffe_id`.
    pub(crate) fn giving<'a>(
        &'a self,
        spiffe_id: &'a SpiffeId,
    ) -> impl Iterator<Item = (Slot, &'a Arc<Entry>)> {
        self.chain(Chain::SpiffeId, self.short(spiffe_id))
            .filter(move |(_, e)| e.spiffe_id == *spiffe_id)
    }

    /// The entry with the same SPIFFE ID, parent and selectors.
    pub(crate) fn same(&self, entry: &Entry) -> Option<&Arc<Entry>> {
        self.chain(Chain::Registration, self.hash(Chain::Registration, entry))
            .map(|(_, e)| e)
            .find(|e| e.is_same_registration(entry) && e.id != entry.id)
    }

    fn chain(&self, chain: Chain, hash: u32) -> impl Iterator<Item = (Slot, &Arc<Entry>)> {
        let mut at = self.heads.of(chain).get(&hash).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let slot = at;
            let cell = self.cell(slot)?;
            at = cell.link(chain).next;
            Some((slot, &cell.entry))
        })
    }

    fn sharing(&self, mut entry: Arc<Entry>) -> Arc<Entry> {
        let sibling = self.under(&entry.parent_id).next().map(|(_, e)| e.clone());
        if let (Some(sibling), Some(own)) = (sibling, Arc::get_mut(&mut entry)) {
            own.share_with(&sibling);
        }
        entry
    }

    /// Half a hash: collisions are rare among 2^32 and cost a comparison.
    fn short<K: Hash + ?Sized>(&self, key: &K) -> u32 {
        let folded = self.hasher.hash_one(key) >> 32;
        u32::try_from(folded).unwrap_or_default()
    }

    fn hash(&self, chain: Chain, entry: &Entry) -> u32 {
        match chain {
            Chain::Parent => self.short(&entry.parent_id),
            Chain::SpiffeId => self.short(&entry.spiffe_id),
            Chain::Registration => {
                let key: (&SpiffeId, &SpiffeId, &Selectors) =
                    (&entry.spiffe_id, &entry.parent_id, &entry.selectors);
                self.short(&key)
            }
        }
    }

    fn cell(&self, slot: Slot) -> Option<&Cell> {
        self.cells.get(slot as usize)?.as_ref()
    }

    fn cell_mut(&mut self, slot: Slot) -> Option<&mut Cell> {
        self.cells.get_mut(slot as usize)?.as_mut()
    }
}
