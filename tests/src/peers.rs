//! What nobody here wrote and the tests run against.

use std::path::{Path, PathBuf};

/// Something that `tests/run peers` sets up, by its path below `.peers`.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn peer(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../.peers")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing: run `tests/run peers`",
        path.display()
    );
    path
}
