//! The node agent: enrol, sync, renew, serve workloads. Floor 3.
