//! One error taxonomy, and its gRPC statuses.
