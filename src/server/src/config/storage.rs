//! How much of the disk the server uses, and who may use it.

use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use super::settings::mebibytes;
use super::value::{absolute, range, refuse, span};
use crate::audit::{Retention, Shares, Watermarks};
use crate::limits::{Allowance, SHARE_BURST_SECONDS};

/// `[audit]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSection {
    /// Size of one journal segment, in MiB.
    pub segment_mib: u16,
    /// How long records are kept; 0s is for ever.
    pub retain: String,
    /// MiB of records kept at most; 0 is no bound.
    pub retain_mib: u32,
    /// Where sealed segments are copied; then only what is there is removed.
    pub archive_dir: Option<PathBuf>,
    /// KiB of records a second that one agent, or other peer, may cause.
    pub peer_kib: u16,
    /// KiB of records a second that one entry of an agent may cause.
    pub entry_kib: u16,
}

impl Default for AuditSection {
    fn default() -> Self {
        Self {
            segment_mib: 64,
            retain: "90d".into(),
            retain_mib: 8_192,
            archive_dir: None,
            peer_kib: 1_024,
            entry_kib: 512,
        }
    }
}

/// `[disk]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskSection {
    /// Free MiB below which refusals of strangers are counted only.
    pub strangers_mib: u16,
    /// Free MiB below which nothing is issued.
    pub issuance_mib: u16,
    /// MiB kept for bans, revocations and rotation.
    pub reserve_mib: u16,
}

impl Default for DiskSection {
    fn default() -> Self {
        Self {
            strangers_mib: 192,
            issuance_mib: 96,
            reserve_mib: 32,
        }
    }
}

pub(super) fn shares(audit: &AuditSection) -> Result<Shares, ConfigError> {
    let share = |key, kib| {
        let bytes = u64::from(range(key, kib, 1, u16::MAX)?) << 10;
        let burst = bytes.saturating_mul(SHARE_BURST_SECONDS);
        Ok::<_, ConfigError>(Allowance::new(burst, bytes))
    };
    Ok(Shares {
        peer: share("audit.peer_kib", audit.peer_kib)?,
        entry: share("audit.entry_kib", audit.entry_kib)?,
    })
}

pub(super) fn watermarks(disk: &DiskSection) -> Result<Watermarks, ConfigError> {
    let marks = Watermarks {
        strangers: mebibytes("disk.strangers_mib", disk.strangers_mib, 1)?,
        issuance: mebibytes("disk.issuance_mib", disk.issuance_mib, 1)?,
        reserve: mebibytes("disk.reserve_mib", disk.reserve_mib, 16)?,
    };
    if marks.strangers < marks.issuance {
        let problem = "it is below disk.issuance_mib: what strangers cause stops first";
        return Err(refuse("disk.strangers_mib", disk.strangers_mib, problem));
    }
    if marks.issuance < marks.reserve {
        let problem =
            "it is below disk.reserve_mib: issuance would use up what bans and rotation need";
        return Err(refuse("disk.issuance_mib", disk.issuance_mib, problem));
    }
    Ok(marks)
}

pub(super) fn retention(audit: &AuditSection) -> Result<Retention, ConfigError> {
    let age = span("audit.retain", &audit.retain, 0, 3_650 * 86_400)?;
    let archive = audit.archive_dir.as_deref();
    Ok(Retention {
        age: (age.0 > 0).then_some(age),
        bytes: (audit.retain_mib > 0).then(|| u64::from(audit.retain_mib) << 20),
        archive: archive
            .map(|path| absolute("audit.archive_dir", path))
            .transpose()?,
    })
}
