//! Bytes under keys, one ordered change log. Floor 0.
