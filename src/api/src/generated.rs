//! The generated code, in the module tree its relative paths expect.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::map_err_ignore,
    clippy::or_fun_call,
    clippy::use_self,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "made by a generator; the protos are what people read"
)]

/// The SPIFFE Workload API, which has no package.
pub mod workload {
    include!("gen/workload.rs");
}

/// Packages `spire.*`.
pub mod spire {
    /// Packages `spire.agent.*`.
    pub mod agent {
        /// Service package `spire.agent.debug.v1`.
        pub mod debug {
            /// Version 1.
            pub mod v1 {
                include!("gen/spire.agent.debug.v1.rs");
            }
        }
    }
    /// Packages `spire.api.*`.
    pub mod api {
        /// Values the services share.
        pub mod types {
            include!("gen/spire.api.types.rs");
        }
        /// Packages `spire.api.agent.*`.
        pub mod agent {
            /// Service package `spire.api.agent.delegatedidentity.v1`.
            pub mod delegatedidentity {
                /// Version 1.
                pub mod v1 {
                    include!("gen/spire.api.agent.delegatedidentity.v1.rs");
                }
            }
        }
        /// Packages `spire.api.server.*`.
        pub mod server {
            /// Service package `spire.api.server.agent.v1`.
            pub mod agent {
                /// Version 1.
                pub mod v1 {
                    include!("gen/spire.api.server.agent.v1.rs");
                }
            }
            /// Service package `spire.api.server.bundle.v1`.
            pub mod bundle {
                /// Version 1.
                pub mod v1 {
                    include!("gen/spire.api.server.bundle.v1.rs");
                }
            }
            /// Service package `spire.api.server.debug.v1`.
            pub mod debug {
                /// Version 1.
                pub mod v1 {
                    include!("gen/spire.api.server.debug.v1.rs");
                }
            }
            /// Service package `spire.api.server.entry.v1`.
            pub mod entry {
                /// Version 1.
                pub mod v1 {
                    include!("gen/spire.api.server.entry.v1.rs");
                }
            }
            /// Service package `spire.api.server.localauthority.v1`.
            pub mod localauthority {
                /// Version 1.
                pub mod v1 {
                    include!("gen/spire.api.server.localauthority.v1.rs");
                }
            }
            /// Service package `spire.api.server.logger.v1`.
            pub mod logger {
                /// Version 1.
                pub mod v1 {
                    include!("gen/spire.api.server.logger.v1.rs");
                }
            }
            /// Service package `spire.api.server.svid.v1`.
            pub mod svid {
                /// Version 1.
                pub mod v1 {
                    include!("gen/spire.api.server.svid.v1.rs");
                }
            }
            /// Service package `spire.api.server.trustdomain.v1`.
            pub mod trustdomain {
                /// Version 1.
                pub mod v1 {
                    include!("gen/spire.api.server.trustdomain.v1.rs");
                }
            }
        }
    }
}

/// Packages `bulla.*`: what SPIRE's API lacks.
pub mod bulla {
    /// Service package `bulla.audit.v1`.
    pub mod audit {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.audit.v1.rs");
        }
    }
    /// Service package `bulla.entries.v1`.
    pub mod entries {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.entries.v1.rs");
        }
    }
    /// Service package `bulla.fleet.v1`.
    pub mod fleet {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.fleet.v1.rs");
        }
    }
    /// Service package `bulla.issuance.v1`.
    pub mod issuance {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.issuance.v1.rs");
        }
    }
    /// Service package `bulla.keys.v1`.
    pub mod keys {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.keys.v1.rs");
        }
    }
    /// Service package `bulla.limits.v1`.
    pub mod limits {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.limits.v1.rs");
        }
    }
    /// Service package `bulla.policy.v1`.
    pub mod policy {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.policy.v1.rs");
        }
    }
    /// Service package `bulla.revocation.v1`.
    pub mod revocation {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.revocation.v1.rs");
        }
    }
    /// Service package `bulla.server.v1`.
    pub mod server {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.server.v1.rs");
        }
    }
    /// Service package `bulla.sync.v1`.
    pub mod sync {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.sync.v1.rs");
        }
    }
    /// Service package `bulla.token.v1`.
    pub mod token {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.token.v1.rs");
        }
    }
    /// Service package `bulla.workload.v1`.
    pub mod workload {
        /// Version 1.
        pub mod v1 {
            include!("gen/bulla.workload.v1.rs");
        }
    }
}

/// Packages `envoy.*`: the secret discovery service, and what it is made of.
pub mod envoy {
    /// Packages `envoy.config.*`.
    pub mod config {
        /// Package `envoy.config.core`.
        pub mod core {
            /// Version 3.
            pub mod v3 {
                include!("gen/envoy.config.core.v3.rs");
            }
        }
    }
    /// Packages `envoy.service.*`.
    pub mod service {
        /// Package `envoy.service.discovery`.
        pub mod discovery {
            /// Version 3.
            pub mod v3 {
                include!("gen/envoy.service.discovery.v3.rs");
            }
        }
        /// Package `envoy.service.secret`.
        pub mod secret {
            /// Version 3.
            pub mod v3 {
                include!("gen/envoy.service.secret.v3.rs");
            }
        }
    }
    /// Packages `envoy.extensions.*`.
    pub mod extensions {
        /// Packages `envoy.extensions.transport_sockets.*`.
        pub mod transport_sockets {
            /// Package `envoy.extensions.transport_sockets.tls`.
            pub mod tls {
                /// Version 3.
                pub mod v3 {
                    include!("gen/envoy.extensions.transport_sockets.tls.v3.rs");
                }
            }
        }
    }
}
