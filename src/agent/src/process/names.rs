//! Names of users and groups from the host's database, which may be a file or
//! a directory service far away: asked off the event loop, remembered briefly.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use contract::ProcessError;
use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};

/// How many names are remembered; beyond that all are forgotten at once.
const REMEMBERED: usize = 4096;
/// How long a name is remembered, so that a renamed user is known soon.
const KEPT: Duration = Duration::from_secs(60);

type Lookup = fn(u32) -> Result<Option<String>, ProcessError>;

/// Names of one sort, by number; that a number has no name is remembered too.
#[derive(Debug)]
pub(super) struct Names {
    look_up: Lookup,
    known: Mutex<HashMap<u32, Known>>,
}

#[derive(Debug)]
struct Known {
    name: Option<String>,
    until: Duration,
}

impl Names {
    /// Names of users.
    pub(super) fn users() -> Self {
        Self::new(|uid| {
            let user = found("the user's name", User::from_uid(Uid::from_raw(uid)))?;
            Ok(user.map(|user| user.name))
        })
    }

    /// Names of groups.
    pub(super) fn groups() -> Self {
        Self::new(|gid| {
            let group = found("the group's name", Group::from_gid(Gid::from_raw(gid)))?;
            Ok(group.map(|group| group.name))
        })
    }

    fn new(look_up: Lookup) -> Self {
        Self {
            look_up,
            known: Mutex::default(),
        }
    }

    /// The name of a number. `now` is the time since boot.
    pub(super) fn name(
        &self,
        id: u32,
        may_block: bool,
        now: Duration,
    ) -> Result<Option<String>, ProcessError> {
        if let Some(known) = self.lock().get(&id).filter(|known| known.until > now) {
            return Ok(known.name.clone());
        }
        if !may_block {
            return Err(ProcessError::WouldBlock);
        }
        let name = (self.look_up)(id)?;
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(
            id,
            Known {
                name: name.clone(),
                until: now + KEPT,
            },
        );
        Ok(name)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Known>> {
        // A panic elsewhere cannot leave half an entry behind.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// getpwuid_r(3): these are ways in which libraries say "not found".
fn found<T>(what: &'static str, answer: nix::Result<Option<T>>) -> Result<Option<T>, ProcessError> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        Err(error) => Err(ProcessError::Unreadable {
            what,
            why: error.desc().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ASKED: AtomicU32 = AtomicU32::new(0);

    #[test]
    fn a_name_is_asked_for_once_a_minute_and_never_where_that_would_block() {
        let names = Names::new(|id| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            Ok((id == 7).then(|| "ada".to_owned()))
        });
        let at = Duration::from_secs;
        assert_eq!(names.name(7, false, at(0)), Err(ProcessError::WouldBlock));
        assert_eq!(names.name(7, true, at(0)), Ok(Some("ada".to_owned())));
        assert_eq!(names.name(7, false, at(59)), Ok(Some("ada".to_owned())));
        assert_eq!(names.name(8, true, at(0)), Ok(None));
        assert_eq!(names.name(8, false, at(59)), Ok(None));
        assert_eq!(ASKED.load(Ordering::SeqCst), 2);
        assert_eq!(names.name(7, false, at(60)), Err(ProcessError::WouldBlock));
    }

    #[test]
    fn the_hosts_own_database_is_read() {
        assert_eq!(
            Names::users().name(0, true, Duration::ZERO),
            Ok(Some("root".to_owned()))
        );
        assert_eq!(
            Names::groups().name(3_999_999_999, true, Duration::ZERO),
            Ok(None)
        );
    }
}
