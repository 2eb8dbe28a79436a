//! Stock SPIRE, as `tests/run` builds it: its agent against our server, its
//! command line on our admin socket, and its server beside ours.

mod agent;
mod agent_fleet;
mod cli;
mod controller;
mod delegated;
mod guide;
mod import;
mod nested;
mod normal;
mod side_by_side;
mod stock;
mod x509_pop;
