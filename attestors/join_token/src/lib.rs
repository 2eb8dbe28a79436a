//! Node attestation by a single-use join token. Floor 2.
