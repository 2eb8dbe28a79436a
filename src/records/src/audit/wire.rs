//! The audit record's layout on disk, shared by reader and writer.

use prost::Message;

/// How the caller is told apart on disk.
pub(super) const CALLER_SERVER: u32 = 0;
pub(super) const CALLER_SPIFFE: u32 = 1;
pub(super) const CALLER_LOCAL: u32 = 2;
pub(super) const CALLER_ANONYMOUS: u32 = 3;

#[derive(Clone, PartialEq, Message)]
pub(super) struct AuditBody {
    #[prost(int64, tag = "1")]
    pub(super) at_ms: i64,
    #[prost(uint32, tag = "2")]
    pub(super) kind: u32,
    #[prost(bool, tag = "3")]
    pub(super) refused: bool,
    #[prost(uint32, tag = "4")]
    pub(super) caller: u32,
    #[prost(string, tag = "5")]
    pub(super) caller_text: String,
    #[prost(uint32, tag = "6")]
    pub(super) caller_uid: u32,
    #[prost(uint32, tag = "7")]
    pub(super) caller_pid: u32,
    #[prost(string, tag = "8")]
    pub(super) for_whom: String,
    #[prost(string, tag = "9")]
    pub(super) entry_id: String,
    #[prost(bytes = "vec", tag = "10")]
    pub(super) serial: Vec<u8>,
    #[prost(string, tag = "11")]
    pub(super) jti: String,
    #[prost(int64, tag = "12")]
    pub(super) not_after: i64,
    #[prost(string, tag = "13")]
    pub(super) authority_id: String,
    #[prost(string, tag = "14")]
    pub(super) reason: String,
    #[prost(string, tag = "15")]
    pub(super) detail: String,
}
