//! Unix sockets: bound so that nobody can stand in the way, accepted with the
//! kernel's word on who connected.

mod bind;
mod handles;
mod peer;

pub use bind::{BindError, MAX_SOCKET_PATH_BYTES, SocketOptions, bind};
pub(crate) use handles::Handles;
pub use handles::ProcessHandle;
pub use peer::UnixPeer;
