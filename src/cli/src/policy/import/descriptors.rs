//! Endpoints of a compiled set of protobuf descriptors: every method of every
//! service in it.

use prost::Message as _;
use prost_types::FileDescriptorSet;

use super::Found;

/// Verbs with which methods that only read begin.
const READS: &[&str] = &[
    "Get", "List", "Watch", "Search", "Find", "Read", "Check", "Count", "Describe", "Lookup",
];

pub(crate) fn endpoints(bytes: &[u8]) -> Result<Vec<Found>, String> {
    let set = FileDescriptorSet::decode(bytes)
        .map_err(|error| format!("it is no compiled set of descriptors: {error}"))?;
    let mut found = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let full = match file.package() {
                "" => service.name().to_owned(),
                package => format!("{package}.{}", service.name()),
            };
            found.extend(service.method.iter().map(|method| Found {
                endpoint: format!("{full}/{}", method.name()),
                grpc: true,
                scope: None,
                thing: service.name().to_owned(),
                reads: READS.iter().any(|verb| is_verb(method.name(), verb)),
            }));
        }
    }
    Ok(found)
}

/// `Get` begins `GetCharge`, not `Getaway`.
fn is_verb(method: &str, verb: &str) -> bool {
    let rest = method.strip_prefix(verb);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_lowercase()))
}
