//! Signing keys behind one trait.
//!
//! A [`Signer`] has a public key and signs bytes; where its secret lives, in
//! memory, in a sealed file or in another machine, is nobody else's business.
//! This crate is floor 0: it knows no certificates and no tokens, sees no clock,
//! takes randomness as an argument, and does no I/O except in [`mod@file`] and
//! [`secret_file`].

pub mod der;
pub mod file;
mod generate;
mod key_type;
pub mod memory;
mod on_curve;
mod public_key;
pub mod secret_file;
mod signer;
pub mod spki;
mod storage;

pub use generate::{KeyError, generate_pkcs8};
pub use key_type::{KeyType, KeyTypeError};
pub use memory::MemorySigner;
pub use public_key::{BadSignature, PublicKey};
pub use signer::{SignError, Signer};
pub use storage::{KeyStorage, MAX_KEY_ID_BYTES, MAX_KEYS, Protection, StorageError, check_key_id};
