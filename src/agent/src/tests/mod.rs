//! A whole agent against a server made for the tests, through real sockets: TLS
//! to the server, a Unix socket to the workloads.

mod authority;
mod delegated;
mod dismissal;
mod enrolment;
mod fake_server;
mod hanging;
mod http;
mod json_api;
mod json_explain;
mod json_polls;
mod node;
mod open_services;
mod outage;
mod partial;
mod promotion;
mod readiness;
mod renewal;
mod revocations;
mod scoped;
mod sds;
mod sds_delta;
mod sds_refusals;
mod silence;
mod standstill;
mod streams;
mod stuck;
mod tokens;
mod workload_api;
