//! The interop suite.
