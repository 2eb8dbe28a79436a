//! `bulla revoke …`: taking back what is valid.

use clap::{Args, Subcommand};

use super::AdminSocket;

/// What can be revoked, and what can be done about it.
#[derive(Subcommand, Debug)]
pub enum RevokeCommand {
    /// Revoke one certificate by its serial number.
    #[command(after_help = "Examples:
  bulla revoke serial 0a4fc1… --reason \"disk image of build-7 leaked\" --plan
  bulla revoke serial 0a4fc1… --reason \"disk image of build-7 leaked\"
  openssl x509 -in svid.pem -noout -serial    (shows a serial number)")]
    Serial(RevokeArgs),
    /// Revoke one token by its jti.
    #[command(after_help = "Examples:
  bulla revoke jti 5f1c… --reason \"seen in a log\" --plan
  bulla revoke jti 5f1c… --reason \"seen in a log\"")]
    Jti(RevokeArgs),
    /// Revoke everything that was issued to a SPIFFE ID so far, or all until it is lifted.
    #[command(after_help = "Examples:
  bulla revoke id spiffe://example.org/api --reason \"key seen elsewhere\" --plan
  bulla revoke id spiffe://example.org/api --reason \"key seen elsewhere\"
  bulla revoke id spiffe://example.org/api --reason \"compromised\" --until-lifted

Without --until-lifted what is issued from now on is good: agents replace what their workloads hold.
With it the ID is refused everything, new SVIDs too, until `bulla revoke lift`.")]
    Id {
        /// What and why.
        #[command(flatten)]
        args: RevokeArgs,
        /// Refuse the ID everything until it is lifted.
        #[arg(long)]
        until_lifted: bool,
    },
    /// Show everything that is revoked.
    #[command(after_help = "Examples:\n  bulla revoke list\n  bulla revoke list --json")]
    List {
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Take a revocation back.
    #[command(after_help = "Examples:
  bulla revoke lift id spiffe://example.org/api --reason \"rebuilt on a clean machine\"
  bulla revoke lift serial 0a4fc1… --reason \"the wrong one\"

Of an ID that was revoked until lifted, what was issued before stays void until it has expired;
lift once more to take that back, too.")]
    Lift {
        /// serial, jti or id.
        #[arg(value_parser = ["serial", "jti", "id"])]
        kind: String,
        /// The serial number, jti or SPIFFE ID.
        value: String,
        /// Why; recorded.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// The server to talk to.
        #[command(flatten)]
        admin: AdminSocket,
    },
}

/// What is revoked, and why.
#[derive(Args, Debug)]
pub struct RevokeArgs {
    /// The serial number (hex), jti or SPIFFE ID.
    pub value: String,
    /// Why; recorded, and not told to relying parties.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Only say what it would hit: which entry, who holds it, until when.
    #[arg(long)]
    pub plan: bool,
    /// Also when there is no record that it was issued here.
    #[arg(long)]
    pub force: bool,
    /// The server to talk to.
    #[command(flatten)]
    pub admin: AdminSocket,
}
