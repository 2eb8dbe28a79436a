//! A bounded cache that many owners share. When it is full, the owner that holds
//! the most gives up what it used least recently, so that nobody's flood costs
//! anybody else what they hold.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// What a cache may hold in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Values.
    pub items: usize,
    /// Bytes, as given with each value.
    pub bytes: usize,
}

/// A cache of values by owner and key.
#[derive(Debug)]
pub struct Shares<O, K, V> {
    owners: HashMap<O, Owner<K, V>>,
    /// Every owner by what it holds.
    by_weight: BTreeSet<(usize, O)>,
    items: usize,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Owner<K, V> {
    items: HashMap<K, Item<V>>,
    /// Least recently used first. Each item has one place.
    by_use: BTreeMap<u64, K>,
    bytes: usize,
}

#[derive(Debug)]
struct Item<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<O, K, V> Default for Shares<O, K, V> {
    fn default() -> Self {
        Self {
            owners: HashMap::new(),
            by_weight: BTreeSet::new(),
            items: 0,
            bytes: 0,
            uses: 0,
        }
    }
}

impl<O: Clone + Ord + Hash, K: Clone + Eq + Hash, V> Shares<O, K, V> {
    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.items
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// The bytes of all values together.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A value, which counts as used now.
    pub fn get<Q>(&mut self, owner: &O, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let owner = self.owners.get_mut(owner)?;
        let item = owner.items.get_mut(key)?;
        self.uses += 1;
        let place = owner.by_use.remove(&item.used);
        item.used = self.uses;
        owner.by_use.extend(place.map(|place| (self.uses, place)));
        Some(&item.value)
    }

    /// Keeps a value of so many bytes in place of the one before, and makes room
    /// for it where that is needed.
    pub fn put(&mut self, owner: &O, key: K, value: V, bytes: usize, room: Room) {
        self.remove(owner, &key);
        self.uses += 1;
        let used = self.uses;
        let of_owner = self.owners.entry(owner.clone()).or_insert_with(|| Owner {
            items: HashMap::new(),
            by_use: BTreeMap::new(),
            bytes: 0,
        });
        of_owner.by_use.insert(used, key.clone());
        let item = Item { value, bytes, used };
        of_owner.items.insert(key, item);
        let before = of_owner.bytes;
        of_owner.bytes += bytes;
        let after = of_owner.bytes;
        self.weigh(owner, before, after);
        self.items += 1;
        self.bytes += bytes;
        while self.items > room.items || self.bytes > room.bytes {
            let Some((_, heaviest)) = self.by_weight.last().cloned() else {
                return;
            };
            if !self.drop_oldest(&heaviest) {
                return;
            }
        }
    }

    fn drop_oldest(&mut self, owner: &O) -> bool {
        let oldest = self.owners.get(owner).and_then(|of_owner| {
            let (_, key) = of_owner.by_use.first_key_value()?;
            Some(key.clone())
        });
        oldest.is_some_and(|key| self.remove(owner, &key).is_some())
    }

    /// Takes a value out.
    pub fn remove<Q>(&mut self, owner: &O, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let of_owner = self.owners.get_mut(owner)?;
        let item = of_owner.items.remove(key)?;
        of_owner.by_use.remove(&item.used);
        let before = of_owner.bytes;
        of_owner.bytes -= item.bytes;
        let after = of_owner.bytes;
        if of_owner.items.is_empty() {
            self.owners.remove(owner);
            self.by_weight.remove(&(before, owner.clone()));
        } else {
            self.weigh(owner, before, after);
        }
        self.items -= 1;
        self.bytes -= item.bytes;
        Some(item.value)
    }

    /// Takes everything of an owner out.
    pub fn remove_owner(&mut self, owner: &O) {
        if let Some(of_owner) = self.owners.remove(owner) {
            self.by_weight.remove(&(of_owner.bytes, owner.clone()));
            self.items -= of_owner.items.len();
            self.bytes -= of_owner.bytes;
        }
    }

    /// Takes out what is not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        let mut gone: Vec<(O, K)> = Vec::new();
        for (owner, of_owner) in &self.owners {
            let void = of_owner.items.iter().filter(|(_, item)| !keep(&item.value));
            gone.extend(void.map(|(key, _)| (owner.clone(), key.clone())));
        }
        for (owner, key) in gone {
            self.remove(&owner, &key);
        }
    }

    fn weigh(&mut self, owner: &O, before: usize, after: usize) {
        self.by_weight.remove(&(before, owner.clone()));
        self.by_weight.insert((after, owner.clone()));
    }
}
