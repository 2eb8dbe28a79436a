//! A process made of plain values, which can be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::{ControlGroup, Executable, ExecutablePath, Process, ProcessError, Strength};

/// What can be asked of a [`StillProcess`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// [`Process::supplementary_groups`].
    Groups,
    /// [`Process::executable`].
    Executable,
    /// [`Process::executable_sha256`].
    Sha256,
    /// [`Process::user_name`].
    UserName,
    /// [`Process::group_name`].
    GroupName,
    /// [`Process::control_groups`].
    ControlGroups,
}

impl Ask {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Groups,
        Self::Executable,
        Self::Sha256,
        Self::UserName,
        Self::GroupName,
        Self::ControlGroups,
    ];
}

/// A process of the tests: answers what it was given, or fails where told to.
#[derive(Debug, Clone)]
pub struct StillProcess {
    /// See [`Process::uid`].
    pub uid: u32,
    /// See [`Process::gid`].
    pub gid: u32,
    /// See [`Process::supplementary_groups`].
    pub groups: Vec<u32>,
    /// See [`Process::executable`].
    pub path: ExecutablePath,
    /// The program's bytes count.
    pub size: u64,
    /// See [`Process::executable_sha256`].
    pub sha256: [u8; 32],
    /// Names of users.
    pub users: BTreeMap<u32, String>,
    /// Names of groups.
    pub group_names: BTreeMap<u32, String>,
    /// See [`Process::control_groups`].
    pub control_groups: Vec<ControlGroup>,
    /// See [`Process::may_wait`].
    pub may_wait: bool,
    /// What fails.
    pub failing: BTreeSet<Ask>,
}

impl Default for StillProcess {
    fn default() -> Self {
        Self {
            uid: 1000,
            gid: 1000,
            groups: vec![4, 27],
            path: ExecutablePath::Verified(PathBuf::from("/usr/bin/payments")),
            size: 4096,
            sha256: [0xab; 32],
            users: BTreeMap::from([(1000, "ada".to_owned())]),
            group_names: BTreeMap::from([(1000, "ada".to_owned()), (27, "sudo".to_owned())]),
            control_groups: Vec::new(),
            may_wait: true,
            failing: BTreeSet::new(),
        }
    }
}

impl StillProcess {
    fn check(&self, ask: Ask, what: &'static str) -> Result<(), ProcessError> {
        if self.failing.contains(&ask) {
            return Err(ProcessError::Unreadable {
                what,
                why: "told to fail".into(),
            });
        }
        Ok(())
    }
}

impl Process for StillProcess {
    fn uid(&self) -> u32 {
        self.uid
    }
    fn gid(&self) -> u32 {
        self.gid
    }
    fn pid(&self) -> u32 {
        4711
    }
    fn strength(&self) -> Strength {
        Strength::Strong
    }
    fn supplementary_groups(&self) -> Result<&[u32], ProcessError> {
        self.check(Ask::Groups, "the supplementary groups")?;
        Ok(&self.groups)
    }
    fn executable(&self) -> Result<Executable, ProcessError> {
        self.check(Ask::Executable, "the program")?;
        Ok(Executable {
            path: self.path.clone(),
            size: self.size,
        })
    }
    fn executable_sha256(&self, limit: u64) -> Result<[u8; 32], ProcessError> {
        self.check(Ask::Sha256, "the program's bytes")?;
        if self.size > limit {
            return Err(ProcessError::TooLarge {
                size: self.size,
                limit,
            });
        }
        Ok(self.sha256)
    }
    fn user_name(&self, uid: u32) -> Result<Option<String>, ProcessError> {
        self.check(Ask::UserName, "the user's name")?;
        Ok(self.users.get(&uid).cloned())
    }
    fn group_name(&self, gid: u32) -> Result<Option<String>, ProcessError> {
        self.check(Ask::GroupName, "the group's name")?;
        Ok(self.group_names.get(&gid).cloned())
    }
    fn control_groups(&self) -> Result<Vec<ControlGroup>, ProcessError> {
        self.check(Ask::ControlGroups, "the control groups")?;
        Ok(self.control_groups.clone())
    }
    fn may_wait(&self) -> bool {
        self.may_wait
    }
}
