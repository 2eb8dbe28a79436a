//! What Bulla speaks on the wire: the SPIFFE Workload API, Envoy's secret
//! discovery, SPIRE's server API and our own `bulla.*.v1`; the conversions
//! between wire and `identity` values; and the one place where errors become
//! gRPC statuses.
//!
//! The protos in `proto/` are the source. The code in `src/gen/` is made from
//! them without `protoc` and committed; `tests/tidy/generated.rs` holds the two
//! together. Floor 2: sees `identity` alone.

mod codec;
mod generated;
mod redacted;

pub mod convert;
pub mod status;

pub use generated::bulla::audit::v1 as audit;
pub use generated::bulla::entries::v1 as entries;
pub use generated::bulla::fleet::v1 as fleet;
pub use generated::bulla::issuance::v1 as issuance;
pub use generated::bulla::keys::v1 as keys;
pub use generated::bulla::limits::v1 as limits;
pub use generated::bulla::policy::v1 as policy;
pub use generated::bulla::revocation::v1 as revocation;
pub use generated::bulla::server::v1 as info;
pub use generated::bulla::sync::v1 as sync;
pub use generated::bulla::token::v1 as token;
pub use generated::bulla::workload::v1 as workload_tokens;
pub use generated::envoy::config::core::v3 as envoy_core;
pub use generated::envoy::extensions::transport_sockets::tls::v3 as envoy_tls;
pub use generated::envoy::service::discovery::v3 as discovery;
pub use generated::envoy::service::secret::v3 as sds;
pub use generated::spire::agent::debug::v1 as agent_debug;
pub use generated::spire::api::agent::delegatedidentity::v1 as delegated_identity;
pub use generated::spire::api::server::agent::v1 as agent;
pub use generated::spire::api::server::bundle::v1 as bundle;
pub use generated::spire::api::server::debug::v1 as debug;
pub use generated::spire::api::server::entry::v1 as entry;
pub use generated::spire::api::server::localauthority::v1 as localauthority;
pub use generated::spire::api::server::logger::v1 as logger;
pub use generated::spire::api::server::svid::v1 as svid;
pub use generated::spire::api::server::trustdomain::v1 as trustdomain;
pub use generated::spire::api::types;
pub use generated::workload;

/// Every proto of this crate with its imports, as an encoded
/// `google.protobuf.FileDescriptorSet`: for reflection, and for the table of
/// who may call what.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptor.bin");

/// The metadata key that every Workload API call carries, with the value `true`.
pub const WORKLOAD_HEADER: &str = "workload.spiffe.io";
