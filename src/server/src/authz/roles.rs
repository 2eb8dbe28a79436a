//! The roles a caller can have, as a set: one caller may hold several.

use std::fmt;

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Roles(u8);

impl Roles {
    /// Nobody.
    pub(crate) const NONE: Self = Self(0);
    /// A TLS client without a certificate.
    pub(crate) const ANONYMOUS: Self = Self(1);
    /// A process on the admin socket whose user owns the server.
    pub(crate) const LOCAL: Self = Self(1 << 1);
    /// An attested agent with its current X.509-SVID.
    pub(crate) const AGENT: Self = Self(1 << 2);
    /// A workload with an entry that says `admin`.
    pub(crate) const ADMIN: Self = Self(1 << 3);
    /// A workload with an entry that says `downstream`.
    pub(crate) const DOWNSTREAM: Self = Self(1 << 4);
    /// Any other holder of a valid X.509-SVID.
    pub(crate) const WORKLOAD: Self = Self(1 << 5);
    /// Everybody.
    pub(crate) const ANYONE: Self = Self(0x3f);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::ANONYMOUS, "anonymous"),
        (Self::LOCAL, "local"),
        (Self::AGENT, "agent"),
        (Self::ADMIN, "admin"),
        (Self::DOWNSTREAM, "downstream"),
        (Self::WORKLOAD, "workload"),
    ];

    /// Both sets together.
    #[must_use]
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets share a role.
    #[must_use]
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The roles' names with `+` between them.
impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (role, name) in Self::NAMES {
            if self.meets(role) {
                f.write_str(if first { "" } else { "+" })?;
                f.write_str(name)?;
                first = false;
            }
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roles({self})")
    }
}
