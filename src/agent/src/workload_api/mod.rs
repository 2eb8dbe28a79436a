//! The SPIFFE Workload API on the node's Unix socket.

mod admission;
mod header;
mod wire;
