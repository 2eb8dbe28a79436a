//! Mutual TLS by SPIFFE ID and Unix sockets with kernel-attested peers: every
//! listener and every client of the product goes through this crate.
//!
//! It knows connections, not services: who the peer is, how many there may be,
//! how long one may live and what a frame may cost. Handlers find the peer in
//! the request's extensions:
//!
//! | listener | extension | when |
//! |---|---|---|
//! | [`serve_tls`] | `Arc<`[`Peer`]`>` | the client showed a certificate, and it verified |
//! | [`serve_tls`] | [`RemoteAddress`] | always |
//! | [`serve_unix`] | `Arc<`[`uds::UnixPeer`]`>` | always |
//! | both | [`Draining`] | always; long streams end when it completes |
//!
//! What is absent: session resumption (it would skip the verifier), host names
//! as identities, any clock (it is an argument) and any cryptography but ring's.

pub mod authority_rewrite;
mod clock;
mod connect;
mod limits;
mod live;
mod peer;
mod serve;
mod tls;
pub mod uds;
mod verifier;
mod web;

pub use clock::Clock;
pub use connect::{ChannelOptions, ConnectError, tls_channel, uds_channel, was_never_sent};
pub use limits::Limits;
pub use live::{IdentityError, LiveBundles, LiveIdentity};
pub use peer::Peer;
pub use serve::{
    Connections, Draining, HttpService, Occupancy, RemoteAddress, Source, serve_tls,
    serve_tls_counted, serve_unix, serve_unix_each,
};
pub use tls::{
    Captured, ClientAuth, ConfigError, Expect, capture_config, client_config, server_config,
};
pub use web::{WebIdentity, WebIdentityError, web_config};
