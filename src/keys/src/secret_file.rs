//! The one reader of files that hold a secret: passphrases, PINs, private keys, tokens.
//!
//! The file is opened first, and what was opened is looked at: a path that is checked and
//! then opened may be another file by then. Symbolic links are followed, because that is
//! how platforms hand out and replace secrets; what they lead to is checked.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

/// Who may read a secret beside its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Nobody: mode 0600 or less.
    OwnerAlone,
    /// Its group, as with credentials of systemd: mode 0640 or less.
    Group,
}

impl Readers {
    /// Who may read the file at this path: systemd may grant a service access to its
    /// credentials through the group class alone.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if path.starts_with("/run/credentials") {
            Self::Group
        } else {
            Self::OwnerAlone
        }
    }

    const fn forbidden(self) -> u32 {
        match self {
            Self::OwnerAlone => 0o077,
            Self::Group => 0o037,
        }
    }

    const fn widest(self) -> u32 {
        0o600 | (0o077 & !self.forbidden())
    }
}

/// Why a file is not read as a secret. Never holds any of its contents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// The system refused.
    #[error("it cannot be {what}: {source}")]
    Io {
        /// What was tried: opened or read.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// It is a folder, a socket, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Others may read or change it.
    #[error("its mode {mode:04o} lets others read or change it; run: chmod {widest:04o} {path}")]
    Mode {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// The widest that is accepted.
        widest: u32,
    },
    /// Somebody else owns it, who may read and change it.
    #[error("it belongs to uid {owner}; run: chown {own} {path} (or give it to root)")]
    Owner {
        /// The file.
        path: String,
        /// Its owner.
        owner: u32,
        /// Who reads.
        own: u32,
    },
    /// It is larger than a secret can be.
    #[error("it has more than the {limit} bytes that are read")]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
}

impl SecretFileError {
    /// Whether the file is not there at all.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads a secret of at most `limit` bytes, for a process that runs as user `own`.
///
/// # Errors
/// It is not there, not a regular file, belongs to a user other than `own` and root,
/// lets others read or change it, is empty or larger than `limit`.
pub fn read(
    path: &Path,
    limit: u64,
    readers: Readers,
    own: u32,
) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let opening = |source| SecretFileError::Io {
        what: "opened",
        source,
    };
    // Only so that opening a pipe does not wait for somebody to write; what counts is
    // what is found after it was opened.
    if !std::fs::metadata(path).map_err(opening)?.is_file() {
        return Err(SecretFileError::NotAFile);
    }
    let file = File::open(path).map_err(opening)?;
    let found = file.metadata().map_err(opening)?;
    check(path, &found, readers, own)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity(found.len().min(limit))));
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| SecretFileError::Io {
            what: "read",
            source,
        })?;
    if u64::try_from(bytes.len()).is_ok_and(|read| read > limit) {
        return Err(SecretFileError::TooLarge { limit });
    }
    if bytes.is_empty() {
        return Err(SecretFileError::Empty);
    }
    Ok(bytes)
}

/// As [`read`], for a text: newlines at the end are left out.
///
/// # Errors
/// As [`read`]; empty is also what holds newlines alone.
pub fn read_text(
    path: &Path,
    limit: u64,
    readers: Readers,
    own: u32,
) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let mut bytes = read(path, limit, readers, own)?;
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(SecretFileError::Empty);
    }
    Ok(bytes)
}

/// Room for the file and one byte more, so that nothing is copied while it is read.
fn capacity(bytes: u64) -> usize {
    usize::try_from(bytes.saturating_add(1)).unwrap_or_default()
}

fn check(
    path: &Path,
    found: &std::fs::Metadata,
    readers: Readers,
    own: u32,
) -> Result<(), SecretFileError> {
    if !found.is_file() {
        return Err(SecretFileError::NotAFile);
    }
    let path = path.display().to_string();
    let mode = found.mode() & 0o7777;
    if mode & readers.forbidden() != 0 {
        return Err(SecretFileError::Mode {
            path,
            mode,
            widest: readers.widest(),
        });
    }
    let owner = found.uid();
    if owner != own && owner != 0 {
        return Err(SecretFileError::Owner { path, owner, own });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    fn file(contents: &str, mode: u32) -> (tempfile::TempDir, PathBuf, u32) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, contents).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let own = std::fs::metadata(&path).unwrap().uid();
        (folder, path, own)
    }

    #[test]
    fn s15_only_its_owner_and_root_may_have_a_secret() {
        for (mode, readers, good) in [
            (0o600, Readers::OwnerAlone, true),
            (0o400, Readers::OwnerAlone, true),
            (0o640, Readers::OwnerAlone, false),
            (0o604, Readers::OwnerAlone, false),
            (0o620, Readers::OwnerAlone, false),
            (0o644, Readers::OwnerAlone, false),
            (0o440, Readers::Group, true),
            (0o640, Readers::Group, true),
            (0o660, Readers::Group, false),
            (0o444, Readers::Group, false),
        ] {
            let (_folder, path, own) = file("secret", mode);
            let read = read(&path, 10, readers, own);
            assert_eq!(read.is_ok(), good, "{mode:o} {readers:?}");
            if let Err(error) = read {
                let text = error.to_string();
                let remedy = if readers == Readers::Group {
                    "0640"
                } else {
                    "0600"
                };
                assert!(text.contains(&format!("chmod {remedy} ")), "{text}");
            }
        }
    }

    #[test]
    fn s15_a_secret_of_somebody_else_is_refused() {
        let (_folder, path, own) = file("secret", 0o600);
        let refused = read(&path, 10, Readers::OwnerAlone, own + 1);
        if own == 0 {
            refused.expect("what root owns is root's to change anyway");
        } else {
            assert!(matches!(refused, Err(SecretFileError::Owner { .. })));
        }
        let found = std::fs::metadata(&path).unwrap();
        let owner = found.uid();
        if owner != 0 {
            let error = check(&path, &found, Readers::OwnerAlone, owner + 1).unwrap_err();
            assert!(error.to_string().contains("chown"), "{error}");
        }
    }

    #[test]
    fn what_is_no_file_or_no_secret_is_said() {
        let (folder, path, own) = file("123456", 0o600);
        let read = |path: &Path, limit| read(path, limit, Readers::OwnerAlone, own);
        assert_eq!(**read(&path, 6).unwrap(), *b"123456");
        let large = read(&path, 5).unwrap_err();
        assert!(matches!(large, SecretFileError::TooLarge { limit: 5 }));
        let folder_itself = read(folder.path(), 5).unwrap_err();
        assert!(matches!(folder_itself, SecretFileError::NotAFile));
        let missing = read(&folder.path().join("none"), 5).unwrap_err();
        assert!(missing.is_missing(), "{missing}");
        let (_folder, path, own) = file("", 0o600);
        let empty = super::read(&path, 5, Readers::OwnerAlone, own).unwrap_err();
        assert!(matches!(empty, SecretFileError::Empty));
    }

    #[test]
    fn a_text_ends_before_its_newlines() {
        let (_folder, path, own) = file("a b\n\r\n", 0o600);
        let text = read_text(&path, 10, Readers::OwnerAlone, own).unwrap();
        assert_eq!(**text, *b"a b");
        let (_folder, path, own) = file("\n", 0o600);
        let empty = read_text(&path, 10, Readers::OwnerAlone, own).unwrap_err();
        assert!(matches!(empty, SecretFileError::Empty));
    }

    #[test]
    fn a_link_leads_to_what_is_checked() {
        let (folder, path, own) = file("secret", 0o644);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let refused = read(&link, 10, Readers::OwnerAlone, own).unwrap_err();
        assert!(matches!(refused, SecretFileError::Mode { .. }));
    }
}
