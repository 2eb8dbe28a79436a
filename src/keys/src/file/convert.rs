//! Sealing a directory whose keys were kept unsealed.
//!
//! The new seal is written beside first, under the name [`SEALING`]; then each key
//! file is replaced by its sealed form; then the seal gets its name. After a crash
//! anywhere the directory is refused until the same seal has finished the work.
//!
//! It is a command of its own and never done at start: whoever can write the disk
//! could otherwise lay down keys of their own, and have them taken for ours.

use std::path::Path;

use ring::rand::SecureRandom;

use super::disk::Directory;
use super::seal::{self, Master, SEAL_FILE, SEALING, Seal};
use super::{SUFFIX, file_name};
use crate::storage::StorageError;

/// Seals all keys of a directory that nobody has open, and says how many. Their old
/// form is unlinked; what the medium keeps of it is beyond reach.
///
/// # Errors
/// When the directory is sealed already, in use, not ours alone, or holds a damaged
/// key; when the seal is too short, or not the one with which this was begun.
pub fn seal_directory(
    dir: &Path,
    seal: &Seal,
    rng: &dyn SecureRandom,
) -> Result<usize, StorageError> {
    let directory = Directory::open(dir)?;
    let refused = |what| StorageError::Seal {
        path: directory.path(),
        what,
    };
    seal.check().map_err(refused)?;
    if matches!(seal, Seal::None) {
        return Err(refused("no passphrase or secret is given to seal it with"));
    }
    if directory.read(SEAL_FILE)?.is_some() {
        return Err(refused("it is sealed already"));
    }
    let master = match directory.read(SEALING)? {
        Some(begun) => Master::reopen(seal, &begun).map_err(refused)?,
        None => {
            let (master, file) = Master::create(seal, rng)?;
            directory.write(SEALING, &file)?;
            master
        }
    };
    let ids = directory.names(SUFFIX)?;
    for id in &ids {
        seal_one(&directory, &master, id, rng)?;
    }
    directory.rename(SEALING, SEAL_FILE)?;
    Ok(ids.len())
}

fn seal_one(
    directory: &Directory,
    master: &Master,
    id: &str,
    rng: &dyn SecureRandom,
) -> Result<(), StorageError> {
    let name = file_name(id);
    let damaged = |what| StorageError::Damaged {
        path: directory.path_of(&name),
        what,
    };
    let Some(file) = directory.read(&name)? else {
        return Ok(());
    };
    if seal::is_sealed(&file) {
        // By us, before a crash; or else it is not ours.
        return seal::unwrap(Some(master), id, &file)
            .map(|_| ())
            .map_err(damaged);
    }
    let pkcs8 = seal::unwrap(None, id, &file).map_err(damaged)?;
    let sealed = seal::wrap(Some(master), id, &pkcs8, rng)?;
    directory.write(&name, &sealed)
}
