//! Table and protos agree: each RPC has its row and each row its RPC.

use std::collections::{BTreeSet, HashMap};

use prost::Message;
use prost_types::FileDescriptorSet;

use super::table::TABLE;

/// Served by agents, never by a server.
const NOT_OURS: [&str; 5] = [
    ".SpiffeWorkloadAPI",
    "envoy.service.secret.v3.SecretDiscoveryService",
    "spire.api.agent.delegatedidentity.v1.DelegatedIdentity",
    "spire.agent.debug.v1.Debug",
    "bulla.workload.v1.Tokens",
];

/// Services that come with libraries; their descriptors are not in `api`.
const LIBRARY: [&str; 2] = ["/grpc.health.", "/grpc.reflection."];

/// Compares the table with the descriptor set that the services were made from.
///
/// # Errors
/// Names every RPC without a row and every row without an RPC.
pub(crate) fn check_coverage(descriptors: &[u8]) -> Result<(), String> {
    let methods = methods(descriptors)?;
    let rows: BTreeSet<String> = TABLE
        .iter()
        .map(|(method, _)| (*method).to_owned())
        .filter(|method| !LIBRARY.iter().any(|prefix| method.starts_with(prefix)))
        .collect();
    let mut faults: Vec<String> = methods
        .difference(&rows)
        .map(|method| format!("{method} has no row in the authz table"))
        .collect();
    let orphans = rows.difference(&methods);
    faults.extend(orphans.map(|row| format!("authz row {row} names no RPC")));
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("; "))
    }
}

/// The methods that a server serves, and whether either side of each streams.
pub(crate) fn streaming(descriptors: &[u8]) -> HashMap<String, bool> {
    let set = FileDescriptorSet::decode(descriptors).unwrap_or_default();
    let mut streaming = HashMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let streams = method.client_streaming() || method.server_streaming();
                streaming.insert(path, streams);
            }
        }
    }
    let served = methods(descriptors).unwrap_or_default();
    streaming.retain(|path, _| served.contains(path));
    // They come with libraries, without descriptors of ours.
    let library = TABLE.iter().map(|(method, _)| *method);
    let library = library.filter(|method| LIBRARY.iter().any(|prefix| method.starts_with(prefix)));
    streaming.extend(library.map(|method| (method.to_owned(), !method.ends_with("/Check"))));
    streaming
}

/// The services that a server serves, of those that the descriptor set describes.
pub(crate) fn services(descriptors: &[u8]) -> BTreeSet<String> {
    let methods = methods(descriptors).unwrap_or_default();
    let service = |method: &String| {
        let (service, _) = method.trim_start_matches('/').split_once('/')?;
        Some(service.to_owned())
    };
    methods.iter().filter_map(service).collect()
}

fn methods(descriptors: &[u8]) -> Result<BTreeSet<String>, String> {
    let set = FileDescriptorSet::decode(descriptors).map_err(|error| error.to_string())?;
    let mut methods = BTreeSet::new();
    for file in &set.file {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            if NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            for method in &service.method {
                methods.insert(format!("/{name}/{}", method.name()));
            }
        }
    }
    Ok(methods)
}
