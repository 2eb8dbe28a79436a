//! The protocols by the names the commands use.

pub(crate) use api::agent as agent_v1;
pub(crate) use api::audit as audit_v1;
pub(crate) use api::bundle as bundle_v1;
pub(crate) use api::entries as entries_v1;
pub(crate) use api::entry as entry_v1;
pub(crate) use api::fleet as fleet_v1;
pub(crate) use api::info as info_v1;
pub(crate) use api::keys as keys_v1;
pub(crate) use api::limits as limits_v1;
pub(crate) use api::localauthority;
pub(crate) use api::policy as policy_v1;
pub(crate) use api::revocation as revocation_v1;
pub(crate) use api::token as token_v1;
pub(crate) use api::types;
pub(crate) use api::workload;
