//! The readers of files that people bring, as one function each: what the fuzz
//! targets in `tests/fuzz` call. Nothing here is part of the command line.

/// Reads registration entries (`bulla entry apply`).
///
/// # Errors
/// What is wrong, with its line.
pub fn entries(text: &str) -> Result<(), String> {
    let read = crate::entry::document::parse(text);
    read.map(drop)
        .map_err(|(line, what)| format!("{line}: {what}"))
}

/// Reads an OpenAPI document (`bulla policy import openapi`).
///
/// # Errors
/// What is wrong.
pub fn openapi(bytes: &[u8]) -> Result<(), String> {
    crate::policy::import::openapi::endpoints(bytes).map(drop)
}

/// Reads a set of protobuf descriptors (`bulla policy import descriptors`).
///
/// # Errors
/// What is wrong.
pub fn descriptors(bytes: &[u8]) -> Result<(), String> {
    crate::policy::import::descriptors::endpoints(bytes).map(drop)
}
