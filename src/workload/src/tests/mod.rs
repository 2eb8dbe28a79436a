//! The cache's tests. `sequences` runs it beside the naive `model`; the others
//! hold single rules.

mod events;
mod jwt;
mod model;
mod near;
mod order;
mod partial;
mod renewal;
mod revoke;
mod sequences;
mod streams;
mod world;
