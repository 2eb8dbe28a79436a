//! The attacks suite.
