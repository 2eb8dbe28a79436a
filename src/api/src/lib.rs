//! Protocols: protos, generated code, conversions, errors to status. Floor 2.
