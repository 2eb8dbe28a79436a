//! Whom written files belong to, and who may read a private key.

use nix::unistd::{Gid, Group, Uid, User};

use crate::command::WriteArgs;
use crate::failure::Failure;

/// What a private key may be readable by: its owner, and a group at most.
const KEY_MODES: [u32; 4] = [0o400, 0o440, 0o600, 0o640];

/// Owner, group and modes of written files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ownership {
    /// The owner, unless it is who writes.
    pub(crate) owner: Option<Uid>,
    /// The group, unless it is that of who writes.
    pub(crate) group: Option<Gid>,
    /// The mode of private keys and tokens.
    pub(crate) key_mode: u32,
}

impl Ownership {
    /// Reads names or numbers as the command line gives them.
    ///
    /// # Errors
    /// There is no such user or group, or the mode would let others read a key.
    pub(crate) fn parse(args: &WriteArgs) -> Result<Self, Failure> {
        let owner = args.owner.as_deref().map(user).transpose()?;
        let group = args.group.as_deref().map(group).transpose()?;
        Ok(Self {
            owner,
            group,
            key_mode: key_mode(&args.key_mode)?,
        })
    }
}

fn key_mode(text: &str) -> Result<u32, Failure> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| KEY_MODES.contains(mode))
        .ok_or_else(|| {
            Failure::usage(format!("{text:?} is no mode for a private key"))
                .next("use 0600, 0400, or 0640 or 0440 together with --group")
        })
}

fn user(name: &str) -> Result<Uid, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(Uid::from_raw(number));
    }
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid),
        Ok(None) => Err(Failure::usage(format!("there is no user {name:?}"))),
        Err(error) => Err(Failure::refused(format!(
            "user {name:?} cannot be looked up: {error}"
        ))),
    }
}

fn group(name: &str) -> Result<Gid, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(Failure::usage(format!("there is no group {name:?}"))),
        Err(error) => Err(Failure::refused(format!(
            "group {name:?} cannot be looked up: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mode_lets_others_read_a_key() {
        for good in ["600", "0600", "0400", "0640", "0440"] {
            assert!(key_mode(good).is_ok(), "{good}");
        }
        for bad in [
            "644", "0666", "0604", "0660", "0700", "4600", "", "rw", "-1",
        ] {
            assert!(key_mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_numbers_are_users_and_groups() {
        assert_eq!(user("root").unwrap().as_raw(), 0);
        assert_eq!(user("12345").unwrap().as_raw(), 12_345);
        assert_eq!(group("root").unwrap().as_raw(), 0);
        assert!(user("nobody-of-this-name").is_err());
        assert!(group("nobody-of-this-name").is_err());
    }
}
