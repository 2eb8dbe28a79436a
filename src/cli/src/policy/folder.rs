//! Reads a policy folder from disk into the texts that are checked and stored.

use std::path::Path;

use policy::limits::{FILE_BYTES_MAX, FILES_MAX};
use policy::{Fault, SourceFile, Sources};

use crate::failure::Failure;

/// How deep folders may be nested.
const DEPTH_MAX: usize = 8;

/// Reads a policy folder: what is wrong inside it is the inner error.
///
/// # Errors
/// The folder or a file cannot be read.
pub(crate) fn read(folder: &Path) -> Result<Result<Sources, Vec<Fault>>, Failure> {
    Ok(Sources::from_files(files(folder)?))
}

/// The files of a policy folder, by their names in it.
///
/// # Errors
/// The folder or a file cannot be read, or there is none.
pub(crate) fn files(folder: &Path) -> Result<Vec<SourceFile>, Failure> {
    let mut files = Vec::new();
    for part in ["catalogue", "policies", "guardrails", "tests"] {
        let inside = folder.join(part);
        if inside.is_dir() {
            collect(&inside, part, 0, &mut files)?;
        }
    }
    if files.is_empty() {
        let what = format!("{} is no policy folder", folder.display());
        return Err(Failure::usage(what)
            .next("a policy folder has catalogue/*.yaml, policies/*.cedar, guardrails/*.cedar and tests/*.json"));
    }
    Ok(files)
}

fn collect(
    folder: &Path,
    name: &str,
    depth: usize,
    files: &mut Vec<SourceFile>,
) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::usage(format!("{} cannot be read: {error}", path.display()))
    };
    let entries = std::fs::read_dir(folder).map_err(|error| failed(folder, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed(folder, error))?;
        let path = entry.path();
        let base = entry.file_name();
        let Some(base) = base.to_str() else {
            return Err(Failure::usage(format!(
                "{} has no plain name",
                path.display()
            )));
        };
        let name = format!("{name}/{base}");
        if path.is_dir() {
            // A link to a folder could lead round in circles.
            if path.is_symlink() || base.starts_with('.') || depth >= DEPTH_MAX {
                continue;
            }
            collect(&path, &name, depth + 1, files)?;
            continue;
        }
        let size = std::fs::metadata(&path)
            .map_err(|error| failed(&path, error))?
            .len();
        if usize::try_from(size).is_ok_and(|size| size <= FILE_BYTES_MAX) && files.len() < FILES_MAX
        {
            let text = std::fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
            files.push(SourceFile { name, text });
        } else {
            let what = format!(
                "{}: over {FILE_BYTES_MAX} bytes, or more than {FILES_MAX} files",
                path.display()
            );
            return Err(Failure::usage(what));
        }
    }
    Ok(())
}
