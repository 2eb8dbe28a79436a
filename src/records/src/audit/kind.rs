//! The vocabulary of audit records: what happened, how it ended, who asked.

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        /// What happened. Numbers are on disk and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum AuditKind {
            $($(#[$doc])* $name,)*
        }

        impl AuditKind {
            /// Every kind, in order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kind's name, as `bulla audit` shows and filters it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub(crate) const fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            pub(crate) const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// The kind of that name.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
            }
        }
    };
}

kinds! {
    /// The server started on this journal.
    Startup = 1 "startup",
    /// The server stopped in order.
    Shutdown = 2 "shutdown",
    /// A node attested.
    Attest = 10 "attest",
    /// An agent renewed its SVID.
    Renew = 11 "renew",
    /// An X.509-SVID for a workload.
    IssueX509 = 20 "issue_x509",
    /// A JWT-SVID for a workload.
    IssueJwt = 21 "issue_jwt",
    /// An X.509-SVID minted for an admin.
    MintX509 = 22 "mint_x509",
    /// A JWT-SVID minted for an admin.
    MintJwt = 23 "mint_jwt",
    /// A downstream X.509 CA.
    DownstreamCa = 24 "downstream_ca",
    /// The server's own X.509-SVID.
    ServerX509 = 25 "server_x509",
    /// A decision on a request for a scoped token; `detail` is the decision's JSON.
    Decision = 26 "decision",
    /// An X.509 authority of this server was made.
    CaX509 = 30 "ca_x509",
    /// A JWT signing key of this server was made.
    CaJwt = 31 "ca_jwt",
    /// A signing key moved on in its rotation.
    KeyRotation = 32 "key_rotation",
    /// A key of this server that signs access tokens was made.
    CaAccess = 33 "ca_access",
    /// An entry was created.
    EntryCreate = 40 "entry_create",
    /// An entry was changed.
    EntryUpdate = 41 "entry_update",
    /// An entry was deleted.
    EntryDelete = 42 "entry_delete",
    /// The limits of an entry's tokens were changed.
    EntryLimits = 43 "entry_limits",
    /// A node was banned.
    NodeBan = 50 "node_ban",
    /// A node was evicted.
    NodeEvict = 51 "node_evict",
    /// A join token was created.
    TokenCreate = 60 "token_create",
    /// A bundle was changed.
    BundleChange = 70 "bundle_change",
    /// A federation relationship was changed.
    FederationChange = 71 "federation_change",
    /// A policy set was activated.
    PolicyActivate = 80 "policy_activate",
    /// Break-glass was asked for, approved or ended.
    BreakGlass = 81 "break_glass",
    /// A certificate, token or SPIFFE ID was revoked.
    Revoke = 100 "revoke",
    /// A revocation was lifted.
    RevokeLift = 101 "revoke_lift",
    /// Segments of this log were archived, or removed after their time.
    Retention = 110 "retention",
    /// A call was refused before it was any of the above.
    Refusal = 90 "refusal",
}

impl std::fmt::Display for AuditKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditOutcome {
    /// It was done, or is about to be: the record precedes the act.
    Granted,
    /// It was refused, for the record's `reason`.
    Refused,
}

impl AuditOutcome {
    /// `granted` or `refused`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
        }
    }
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller<'a> {
    /// A peer of an mTLS connection.
    Spiffe(&'a str),
    /// A local process on the admin socket.
    Local {
        /// Its user id.
        uid: u32,
        /// Its process id, 0 when unknown.
        pid: u32,
    },
    /// Somebody without a certificate, at this address.
    Anonymous(&'a str),
    /// The server itself.
    Server,
}

impl std::fmt::Display for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spiffe(id) => f.write_str(id),
            Self::Local { uid, pid } => write!(f, "uid:{uid} pid:{pid}"),
            Self::Anonymous(address) => write!(f, "anonymous at {address}"),
            Self::Server => f.write_str("server"),
        }
    }
}
