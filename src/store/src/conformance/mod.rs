//! The battery every engine must pass.
