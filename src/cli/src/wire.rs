//! The protocols by the names the commands use.

pub use api::agent as agent_v1;
pub use api::audit as audit_v1;
pub use api::bundle as bundle_v1;
pub use api::entry as entry_v1;
pub use api::info as info_v1;
pub use api::localauthority;
pub use api::types;
pub use api::workload;
