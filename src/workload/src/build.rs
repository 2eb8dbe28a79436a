//! Building the states of a view from its members, and giving new content a new
//! version.

use std::sync::Arc;

use identity::{Bundle, Entry};

use crate::trust::Profile;
use crate::views::Kept;
use crate::{BundleView, Cache, Identity, State, X509View};

impl Cache {
    /// The full set for FetchX509SVID. While an SVID is awaited for the first
    /// time there is none: sending the rest would make another identity the
    /// default for a moment. Nor is there one while the first entry has no valid
    /// SVID, for whatever reason: clients take the first for what the caller is,
    /// and nobody becomes somebody else because something is missing.
    pub(crate) fn build_x509(&self, members: &[Arc<Entry>]) -> State<X509View> {
        if members.is_empty() {
            return State::Denied;
        }
        let has_authorities = |bundle: &&Arc<Bundle>| !bundle.x509_authorities.is_empty();
        let Some(own) = self.trust.own.as_ref().filter(has_authorities) else {
            return State::Pending;
        };
        let given = |entry: &&Arc<Entry>| !self.barred.contains(&entry.spiffe_id);
        if !members.iter().any(|entry| given(&entry)) {
            return State::Denied;
        }
        let mut identities = Vec::with_capacity(members.len());
        for entry in members.iter().filter(given) {
            let Some(held) = self.held.get(&entry.id) else {
                continue;
            };
            match &held.issued {
                Some(issued) => identities.push(Identity {
                    entry: Arc::clone(entry),
                    issued: Arc::clone(issued),
                }),
                None if identities.is_empty() || held.is_awaited() => return State::Pending,
                // One that cannot be issued does not hold up those before it.
                None => {}
            }
        }
        if identities.is_empty() {
            return State::Pending;
        }
        let names = members.iter().flat_map(|e| &e.federates_with);
        let federated = self.trust.federated_with(names).filter(has_authorities);
        let federated = federated.cloned().collect();
        let crls = Arc::clone(&self.trust.crls);
        let view = X509View::new(identities, own.clone(), federated, crls);
        State::Ready(Arc::new(view))
    }

    /// The full set for one of the bundle streams.
    pub(crate) fn build_bundles(
        &self,
        members: &[Arc<Entry>],
        profile: Profile,
    ) -> State<BundleView> {
        if members.is_empty() {
            return State::Denied;
        }
        let Some(own) = self.trust.own.as_ref() else {
            return State::Pending;
        };
        let names = members.iter().flat_map(|e| &e.federates_with);
        let all = std::iter::once(own).chain(self.trust.federated_with(names));
        let bundles = all.cloned().collect();
        let crls = match profile {
            Profile::X509 => Arc::clone(&self.trust.crls),
            Profile::Jwt => Arc::default(),
        };
        State::Ready(Arc::new(BundleView::new(bundles, crls, profile)))
    }
}

/// A view that can be compared with another and given a version.
pub(crate) trait Content {
    fn is_same_content(&self, other: &Self) -> bool;
    fn set_version(&mut self, version: u64);
}

impl Content for X509View {
    fn is_same_content(&self, other: &Self) -> bool {
        let same = |(a, b): (&Identity, &Identity)| {
            Arc::ptr_eq(&a.issued, &b.issued) && a.entry.hint == b.entry.hint
        };
        Profile::X509.sees_same(&self.bundle, &other.bundle)
            && Profile::X509.sees_all_same(&self.federated, &other.federated)
            && self.identities.len() == other.identities.len()
            && self.identities.iter().zip(&other.identities).all(same)
            && self.crls == other.crls
    }

    fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

impl Content for BundleView {
    fn is_same_content(&self, other: &Self) -> bool {
        self.profile.sees_all_same(&self.bundles, &other.bundles) && self.crls == other.crls
    }

    fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

impl<V: Content> Kept<V> {
    /// Moves to the new state; says whether that is another one. Content equal to
    /// the last ready view is that view.
    pub(crate) fn replace(&mut self, new: State<V>, versions: &mut u64) -> bool {
        let new = match new {
            State::Ready(mut view) => {
                let last = self.last.as_ref();
                if let Some(last) = last.filter(|last| last.is_same_content(&view)) {
                    State::Ready(Arc::clone(last))
                } else {
                    *versions += 1;
                    if let Some(view) = Arc::get_mut(&mut view) {
                        view.set_version(*versions);
                    }
                    self.last = Some(Arc::clone(&view));
                    State::Ready(view)
                }
            }
            State::Denied => {
                self.last = None;
                State::Denied
            }
            State::Withheld(why) => State::Withheld(why),
            State::Pending => State::Pending,
        };
        let moved = !self.state.is_same(&new);
        self.state = new;
        moved
    }
}
