//! Conversions between wire messages and `identity` values.
