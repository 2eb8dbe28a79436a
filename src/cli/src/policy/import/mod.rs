//! Begins a service's catalogue file with the endpoints that its OpenAPI document
//! or its protobuf descriptors name. Which endpoints belong together is proposed;
//! a reviewer decides.

pub(crate) mod descriptors;
pub(crate) mod openapi;
mod skeleton;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::command::{ImportArgs, PolicyImport};
use crate::failure::Failure;
use crate::output::Output;
use skeleton::Skeleton;

/// The largest description, bytes.
const FILE_MAX: u64 = 32 << 20;

/// One endpoint that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// As the catalogue writes it.
    endpoint: String,
    grpc: bool,
    /// The permission that the description itself names.
    scope: Option<String>,
    /// What it acts on, for the proposed name.
    thing: String,
    /// Whether it only reads.
    reads: bool,
}

pub(super) fn run(command: &PolicyImport, out: &mut Output) -> Result<(), Failure> {
    let (PolicyImport::Openapi(args) | PolicyImport::Descriptors(args)) = command;
    let bytes = load(&args.file)?;
    let found = match command {
        PolicyImport::Openapi(_) => openapi::endpoints(&bytes),
        PolicyImport::Descriptors(_) => descriptors::endpoints(&bytes),
    };
    let found = found.map_err(|what| Failure::usage(format!("{}: {what}", args.file.display())))?;
    if found.is_empty() {
        return Err(Failure::usage(format!(
            "{} names no endpoints",
            args.file.display()
        )));
    }
    Ok(out.line(text(args, found)?.trim_end())?)
}

fn load(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::usage(format!("{} cannot be read: {error}", file.display()));
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_MAX {
        return Err(Failure::usage(format!(
            "{} is larger than {FILE_MAX} bytes",
            file.display()
        )));
    }
    std::fs::read(file).map_err(failed)
}

fn text(args: &ImportArgs, found: Vec<Found>) -> Result<String, Failure> {
    let audience = policy::Audience::parse(&args.audience);
    let audience = audience.map_err(|error| Failure::usage(error.to_string()))?;
    let source = args.file.file_name().unwrap_or_default().to_string_lossy();
    Ok(Skeleton::new(audience.as_str(), found).text(&args.owner, &source))
}
