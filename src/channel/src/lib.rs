//! Mutual TLS by SPIFFE ID, Unix sockets with kernel-attested peers. Floor 2.
