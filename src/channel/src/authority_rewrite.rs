//! Lets gRPC clients that send a socket path as `:authority` talk to hyper.
