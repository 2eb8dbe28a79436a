//! Callers and their views: one for each distinct set of selectors, shared by
//! all streams of such callers, rebuilt only when something in it may have moved.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use identity::{Entry, EntryId, FactIndex, Selectors, Timestamp};

use crate::trust::Profile;
use crate::{BundleView, Cache, Caller, Effects, State, X509View};

/// Names a view while it is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId(u64);

/// Too many distinct callers have open streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} distinct callers have open streams, which is the limit; close some or raise it")]
pub struct TooManyViews(pub usize);

#[derive(Debug)]
pub(crate) struct View {
    caller: Caller,
    streams: usize,
    /// When its last stream closed, in closings.
    idle_since: u64,
    pub(crate) members: Vec<Arc<Entry>>,
    pub(crate) x509: Kept<X509View>,
    pub(crate) x509_bundles: Kept<BundleView>,
    pub(crate) jwt_bundles: Kept<BundleView>,
}

/// A state and the last view that was ready in it: content that comes back, such
/// as after a short wait, keeps its version and is not pushed again.
#[derive(Debug)]
pub(crate) struct Kept<V> {
    pub(crate) state: State<V>,
    pub(crate) last: Option<Arc<V>>,
}

impl<V> Default for Kept<V> {
    fn default() -> Self {
        Self {
            state: State::Denied,
            last: None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Views {
    by_id: BTreeMap<ViewId, View>,
    by_caller: HashMap<Caller, ViewId>,
    /// Those of whose callers something is unknown.
    partial: BTreeSet<ViewId>,
    facts: FactIndex<ViewId>,
    dirty: BTreeSet<ViewId>,
    idle: BTreeMap<u64, ViewId>,
    closings: u64,
    ids: u64,
    pub(crate) versions: u64,
}

impl Views {
    /// Marks the views of all callers that have these selectors.
    pub(crate) fn touch(&mut self, conditions: &Selectors) {
        for id in self.facts.candidates(conditions).into_iter().flatten() {
            let view = self.by_id.get(id);
            if view.is_some_and(|view| conditions.is_subset_of(view.caller.selectors())) {
                self.dirty.insert(*id);
            }
        }
        for id in &self.partial {
            let view = self.by_id.get(id);
            if view.is_some_and(|view| view.caller.depends(conditions).is_some()) {
                self.dirty.insert(*id);
            }
        }
    }

    pub(crate) fn touch_all(&mut self) {
        self.dirty.extend(self.by_id.keys());
    }

    pub(crate) fn get(&self, id: ViewId) -> Option<&View> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ViewId) -> Option<&mut View> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn find(&self, caller: &Caller) -> Option<ViewId> {
        self.by_caller.get(caller).copied()
    }

    /// Views with streams, and without.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.by_id.len() - self.idle.len(), self.idle.len())
    }

    fn insert(&mut self, caller: &Caller) -> ViewId {
        self.ids += 1;
        let id = ViewId(self.ids);
        self.facts.insert(&id, caller.selectors());
        if caller.is_partial() {
            self.partial.insert(id);
        }
        self.by_caller.insert(caller.clone(), id);
        let view = View {
            caller: caller.clone(),
            streams: 0,
            idle_since: 0,
            members: Vec::new(),
            x509: Kept::default(),
            x509_bundles: Kept::default(),
            jwt_bundles: Kept::default(),
        };
        self.by_id.insert(id, view);
        id
    }

    fn remove(&mut self, id: ViewId) {
        self.dirty.remove(&id);
        if let Some(view) = self.by_id.remove(&id) {
            self.idle.remove(&view.idle_since);
            self.by_caller.remove(&view.caller);
            self.facts.remove(&id, view.caller.selectors());
            self.partial.remove(&id);
        }
    }
}

impl Cache {
    /// Opens a stream for a caller. Callers with equal selectors share a view.
    ///
    /// # Errors
    /// [`TooManyViews`]: the caller is new and [`crate::Limits::max_views`] are open.
    pub fn subscribe(
        &mut self,
        caller: impl Into<Caller>,
        now: Timestamp,
    ) -> Result<(ViewId, Effects), TooManyViews> {
        self.expire(now);
        let caller = &caller.into();
        let (open, _) = self.views.counts();
        let known = self.views.find(caller);
        let streams = |id| self.views.get(id).map_or(0, |view| view.streams);
        if known.map_or(0, streams) == 0 && open >= self.limits.max_views {
            return Err(TooManyViews(open));
        }
        let id = known.unwrap_or_else(|| self.views.insert(caller));
        let mut members = Vec::new();
        if let Some(view) = self.views.get_mut(id) {
            view.streams += 1;
            if view.streams == 1 {
                members.clone_from(&view.members);
                let idle_since = view.idle_since;
                self.views.idle.remove(&idle_since);
            }
        }
        for entry in members {
            self.watch(&entry.id, true);
        }
        if known.is_none() {
            self.rebuild(id, now);
        }
        Ok((id, self.settle(now, Effects::default())))
    }

    /// Closes a stream. The view stays warm for a while after its last one.
    pub fn unsubscribe(&mut self, id: ViewId) {
        let Some(view) = self.views.get_mut(id).filter(|view| view.streams > 0) else {
            return;
        };
        view.streams -= 1;
        if view.streams > 0 {
            return;
        }
        let members = view.members.clone();
        self.views.closings += 1;
        let closing = self.views.closings;
        if let Some(view) = self.views.get_mut(id) {
            view.idle_since = closing;
        }
        self.views.idle.insert(closing, id);
        for entry in members {
            self.watch(&entry.id, false);
        }
        while self.views.idle.len() > self.limits.max_idle_views {
            let Some((_, oldest)) = self.views.idle.pop_first() else {
                break;
            };
            self.views.remove(oldest);
        }
    }

    /// Where FetchX509SVID stands for that view.
    #[must_use]
    pub fn x509(&self, id: ViewId) -> State<X509View> {
        let view = self.views.get(id);
        view.map_or(State::Denied, |view| view.x509.state.clone())
    }

    /// The entry that comes first in that view, when it is its X.509-SVID that is
    /// missing: nothing is given before it.
    #[must_use]
    pub fn first_without_svid(&self, id: ViewId) -> Option<&Arc<Entry>> {
        let mut members = self.members(id).iter();
        let first = members.find(|entry| !self.barred.contains(&entry.spiffe_id))?;
        self.x509_of(&first.id).is_none().then_some(first)
    }

    /// Where FetchX509Bundles stands for that view.
    #[must_use]
    pub fn x509_bundles(&self, id: ViewId) -> State<BundleView> {
        let view = self.views.get(id);
        view.map_or(State::Denied, |view| view.x509_bundles.state.clone())
    }

    /// Where FetchJWTBundles stands for that view.
    #[must_use]
    pub fn jwt_bundles(&self, id: ViewId) -> State<BundleView> {
        let view = self.views.get(id);
        view.map_or(State::Denied, |view| view.jwt_bundles.state.clone())
    }

    /// The entries of that view in [`crate::svid_order`], each hint once: for
    /// FetchJWTSVID.
    #[must_use]
    pub fn members(&self, id: ViewId) -> &[Arc<Entry>] {
        self.views.get(id).map_or(&[], |view| &view.members)
    }

    /// Rebuilds what was touched and reports it.
    pub(crate) fn settle(&mut self, now: Timestamp, mut effects: Effects) -> Effects {
        while let Some(id) = self.views.dirty.pop_first() {
            if self.views.get(id).is_some_and(|view| view.streams == 0) {
                self.views.remove(id);
            } else if self.rebuild(id, now) {
                effects.changed.push(id);
            }
        }
        effects.reschedule = self.take_schedule_moved();
        effects
    }

    /// Brings a view up to date; says whether one of its states moved.
    fn rebuild(&mut self, id: ViewId, now: Timestamp) -> bool {
        let Some(view) = self.views.get(id) else {
            return false;
        };
        let (members, withheld) = match self.resolve(&view.caller, now) {
            Ok(members) => (members, None),
            Err(withheld) => (Vec::new(), Some(withheld)),
        };
        let ids = |entries: &[Arc<Entry>]| -> BTreeSet<EntryId> {
            entries.iter().map(|e| e.id.clone()).collect()
        };
        let (before, after) = (ids(&view.members), ids(&members));
        if view.streams > 0 {
            before
                .difference(&after)
                .for_each(|id| self.watch(id, false));
            after
                .difference(&before)
                .for_each(|id| self.watch(id, true));
        }
        let (x509, x509_bundles, jwt_bundles) = match withheld {
            Some(why) => (
                State::Withheld(why),
                State::Withheld(why),
                State::Withheld(why),
            ),
            None => (
                self.build_x509(&members),
                self.build_bundles(&members, Profile::X509),
                self.build_bundles(&members, Profile::Jwt),
            ),
        };
        let versions = &mut self.views.versions;
        let Some(view) = self.views.by_id.get_mut(&id) else {
            return false;
        };
        view.members = members;
        let moved = [
            view.x509.replace(x509, versions),
            view.x509_bundles.replace(x509_bundles, versions),
            view.jwt_bundles.replace(jwt_bundles, versions),
        ];
        moved.contains(&true)
    }
}
