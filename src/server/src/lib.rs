//! The issuer: attest, issue, sync, audit. Floor 3.
