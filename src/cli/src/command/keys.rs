//! `bulla keys …`: signing keys by hand.

use clap::{Args, Subcommand, ValueEnum};

use super::AdminSocket;

/// What a signing key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// X.509-SVIDs.
    X509,
    /// JWT-SVIDs.
    Jwt,
    /// Access tokens.
    Access,
    /// Roots of the authority above this server: to taint and revoke only.
    Upstream,
}

impl Profile {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X509 => "x509",
            Self::Jwt => "jwt",
            Self::Access => "access",
            Self::Upstream => "upstream",
        }
    }
}

/// What can be done with signing keys.
#[derive(Subcommand, Debug)]
pub enum KeysCommand {
    /// Show every signing key: who depends on it, what comes next, what is safe to do.
    #[command(after_help = "Examples:\n  bulla keys status\n  bulla keys status --json")]
    Status {
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Make and publish a successor now.
    #[command(
        after_help = "Examples:\n  bulla keys prepare x509 --plan\n  bulla keys prepare x509"
    )]
    Prepare {
        /// Which keys.
        profile: Profile,
        /// How to do it.
        #[command(flatten)]
        how: ActArgs,
    },
    /// Let a published key sign; refused while agents do not know it.
    #[command(after_help = "Examples:
  bulla keys activate x509 --plan
  bulla keys activate x509
  bulla keys activate x509 5f1c… --force    (signs at once, whoever cannot verify it yet)")]
    Activate(KeyAct),
    /// Rely on a key no more: agents replace what it signed and drop its tokens.
    #[command(after_help = "Examples:
  bulla keys taint x509 5f1c… --plan
  bulla keys taint x509 5f1c…
  bulla keys taint upstream 9ab0…    (a root of the authority above; agents replace what leads to it)

A key that signs stays in use until its successor may sign, which is made at once; then the taint
takes effect. A key that never signed is given up.")]
    Taint(KeyAct),
    /// Take a key out of the bundle and delete it; refused while anything depends on it.
    #[command(after_help = "Examples:
  bulla keys revoke x509 5f1c… --plan
  bulla keys revoke x509 5f1c…
  bulla keys revoke x509 5f1c… --force    (whatever it signed stops being valid)")]
    Revoke(KeyAct),
    /// Replace the signing keys now: prepare, wait until agents know the new ones, activate.
    #[command(after_help = "Examples:
  bulla keys rotate --all --plan
  bulla keys rotate --all
  bulla keys rotate --only jwt --timeout 600

When it stops half way, run it again: it goes on where it was.")]
    Rotate {
        /// The keys of X.509-SVIDs, JWT-SVIDs and access tokens.
        #[arg(long, required_unless_present = "only")]
        all: bool,
        /// Only these.
        #[arg(long, conflicts_with = "all", value_enum)]
        only: Option<Profile>,
        /// Only say what would happen.
        #[arg(long)]
        plan: bool,
        /// How long to wait for agents, in seconds.
        #[arg(long, default_value_t = 300, value_name = "SECONDS")]
        timeout: u64,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
}

/// An act on one key.
#[derive(Args, Debug)]
pub struct KeyAct {
    /// Which keys.
    pub profile: Profile,
    /// The key's id; may be left out when only one key can be meant.
    pub id: Option<String>,
    /// Do it whatever depends on the key. Recorded.
    #[arg(long)]
    pub force: bool,
    /// How to do it.
    #[command(flatten)]
    pub how: ActArgs,
}

/// How an act is done.
#[derive(Args, Debug)]
pub struct ActArgs {
    /// Only say what would happen.
    #[arg(long)]
    pub plan: bool,
    /// The server to talk to.
    #[command(flatten)]
    pub admin: AdminSocket,
}
