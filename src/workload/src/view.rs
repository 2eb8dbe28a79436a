//! What a stream is given: full sets, each with a version that no other content
//! ever has.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use identity::{Bundle, Entry, TrustDomain};

use crate::caller::Withheld;
use crate::held::Issued;
use crate::trust::Profile;

/// Where a view stands.
#[derive(Debug)]
pub enum State<V> {
    /// The caller has no identity: `PermissionDenied`, and the stream ends.
    Denied,
    /// What it has depends on an attestor that does not answer: `Unavailable`, and the
    /// stream ends.
    Withheld(Withheld),
    /// It has one, but what it needs is still on its way: wait, or answer
    /// `Unavailable` when that takes too long.
    Pending,
    /// This is all the caller may have now.
    Ready(Arc<V>),
}

impl<V> Clone for State<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Denied => Self::Denied,
            Self::Withheld(why) => Self::Withheld(*why),
            Self::Pending => Self::Pending,
            Self::Ready(view) => Self::Ready(Arc::clone(view)),
        }
    }
}

impl<V> State<V> {
    /// The ready view.
    #[must_use]
    pub const fn ready(&self) -> Option<&Arc<V>> {
        match self {
            Self::Ready(view) => Some(view),
            Self::Denied | Self::Withheld(_) | Self::Pending => None,
        }
    }

    /// Whether both are the same: denied, pending, or the very same view.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ready(a), Self::Ready(b)) => Arc::ptr_eq(a, b),
            (Self::Denied, Self::Denied) | (Self::Pending, Self::Pending) => true,
            (Self::Withheld(a), Self::Withheld(b)) => a == b,
            _ => false,
        }
    }
}

/// A view whose content a number names.
pub trait Versioned {
    /// Changes with the content, and only with it; never 0; unique in the cache
    /// among views of all kinds.
    fn version(&self) -> u64;
}

/// One identity of a caller, ready to use.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The entry that grants it.
    pub entry: Arc<Entry>,
    /// The SVID and its key.
    pub issued: Arc<Issued>,
}

/// The answer to FetchX509SVID: identities in [`crate::svid_order`], the own
/// bundle, and the bundles they federate with.
#[derive(Debug)]
pub struct X509View {
    pub(crate) version: u64,
    /// At least one.
    pub identities: Vec<Identity>,
    /// The own trust domain's bundle; it has X.509 authorities.
    pub bundle: Arc<Bundle>,
    /// Bundles of trust domains that any identity federates with, by name. Those
    /// without X.509 authorities are left out.
    pub federated: Vec<Arc<Bundle>>,
    /// X.509 revocation lists of the own trust domain, DER.
    pub crls: Arc<[Bytes]>,
    encoded: OnceLock<Bytes>,
    document: OnceLock<(Bytes, Arc<str>)>,
}

impl X509View {
    pub(crate) const fn new(
        identities: Vec<Identity>,
        bundle: Arc<Bundle>,
        federated: Vec<Arc<Bundle>>,
        crls: Arc<[Bytes]>,
    ) -> Self {
        Self {
            version: 0,
            identities,
            bundle,
            federated,
            crls,
            encoded: OnceLock::new(),
            document: OnceLock::new(),
        }
    }

    /// The response's bytes, encoded once for all streams of the view. They hold
    /// private keys.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(self)).clone()
    }

    /// The same content as a document with a name for that content, made once for
    /// all who poll the view. It holds private keys.
    pub fn document(&self, write: impl FnOnce(&Self) -> (Bytes, Arc<str>)) -> (Bytes, Arc<str>) {
        self.document.get_or_init(|| write(self)).clone()
    }
}

impl Versioned for X509View {
    fn version(&self) -> u64 {
        self.version
    }
}

/// The answer to FetchX509Bundles or FetchJWTBundles.
#[derive(Debug)]
pub struct BundleView {
    pub(crate) version: u64,
    /// The own trust domain's bundle first, then the federated ones by name.
    pub bundles: Vec<Arc<Bundle>>,
    /// X.509 revocation lists of the own trust domain, DER; none for who verifies
    /// tokens.
    pub crls: Arc<[Bytes]>,
    pub(crate) profile: Profile,
    encoded: OnceLock<Bytes>,
}

impl BundleView {
    pub(crate) const fn new(
        bundles: Vec<Arc<Bundle>>,
        crls: Arc<[Bytes]>,
        profile: Profile,
    ) -> Self {
        Self {
            version: 0,
            bundles,
            crls,
            profile,
            encoded: OnceLock::new(),
        }
    }

    /// The bundle of that trust domain, if the caller may use it.
    #[must_use]
    pub fn bundle(&self, of: &TrustDomain) -> Option<&Arc<Bundle>> {
        self.bundles.iter().find(|b| b.trust_domain == *of)
    }

    /// The response's bytes, encoded once for all streams of the view.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(self)).clone()
    }
}

impl Versioned for BundleView {
    fn version(&self) -> u64 {
        self.version
    }
}

/// What one stream has already delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered(u64);

/// What a stream does next.
#[derive(Debug)]
pub enum Step<V> {
    /// Nothing new.
    Wait,
    /// Send this.
    Send(Arc<V>),
    /// End with `PermissionDenied`: all identities are gone, or there were none.
    End,
    /// End with `Unavailable`.
    Withheld(Withheld),
}

impl Delivered {
    /// What to do in that state. After [`Step::Send`] the view counts as
    /// delivered.
    pub fn step<V: Versioned>(&mut self, state: &State<V>) -> Step<V> {
        match state {
            State::Denied => Step::End,
            State::Withheld(why) => Step::Withheld(*why),
            State::Pending => Step::Wait,
            State::Ready(view) if view.version() == self.0 => Step::Wait,
            State::Ready(view) => {
                self.0 = view.version();
                Step::Send(Arc::clone(view))
            }
        }
    }
}
