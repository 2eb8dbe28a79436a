//! `Debug` of the messages that carry secrets: it names what they are for and
//! never shows keys, tokens or evidence.

use std::fmt::{Debug, Formatter, Result};

use crate::{
    agent, delegated_identity, discovery, envoy_tls, token, types, workload, workload_tokens,
};

macro_rules! redacted {
    ($($message:ty { $($shown:ident),* })*) => {$(
        impl Debug for $message {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($shown), &self.$shown))*
                    .finish_non_exhaustive()
            }
        }
    )*};
}

redacted! {
    workload::X509svid { spiffe_id, hint }
    workload::Jwtsvid { spiffe_id, hint }
    workload::Witsvid { spiffe_id, hint }
    workload::ValidateJwtsvidRequest { audience }
    types::AttestationData { r#type }
    types::JoinToken { expires_at }
    types::Jwtsvid { id, expires_at }
    types::Witsvid { id, expires_at }
    delegated_identity::X509svidWithKey { x509_svid }
    agent::CreateJoinTokenRequest { ttl, agent_id }
    discovery::DiscoveryResponse { version_info, nonce }
    discovery::Resource { name, version }
    envoy_tls::TlsCertificate { }
    token::MintResponse { decision_id, jti, profile, expires_at, error }
    workload_tokens::TokenPair { spiffe_id, x509_svid_expires_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let token = types::JoinToken {
            value: "s3cret".into(),
            expires_at: 7,
        };
        let key = workload::X509svid {
            x509_svid_key: bytes::Bytes::from_static(b"s3cret"),
            ..Default::default()
        };
        let evidence = types::AttestationData {
            r#type: "join_token".into(),
            payload: bytes::Bytes::from_static(b"s3cret"),
        };
        let shown = format!("{token:?} {key:?} {evidence:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("115, 51"),
            "{shown}"
        );
    }
}
