//! Where an attestation comes from, for shares: slots and open challenges are
//! divided between sources, so that one of them cannot take all.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use identity::SpiffeId;

use crate::caller::Caller;

/// One source of attestations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A client without a certificate, by its address. Of an IPv6 address the first
    /// 64 bits count: one machine has all that begin with them.
    Address(IpAddr),
    /// A client with a certificate.
    Identity(SpiffeId),
    /// A process on this machine, or a client whose address is not known.
    Local,
}

impl Source {
    /// The source that a caller belongs to.
    pub(super) fn of(caller: &Caller) -> Self {
        match caller {
            Caller::Spiffe(id) => Self::Identity(id.clone()),
            Caller::Local { .. } | Caller::Server => Self::Local,
            Caller::Anonymous(address) => match address.parse::<SocketAddr>() {
                Ok(address) => Self::Address(network(address.ip())),
                Err(_unknown) => Self::Local,
            },
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Source {
        Source::of(&Caller::Anonymous(address.into()))
    }

    #[test]
    fn ports_and_the_last_half_of_ipv6_addresses_do_not_count() {
        assert_eq!(of("192.0.2.1:4000"), of("192.0.2.1:4001"));
        assert_eq!(of("[::ffff:192.0.2.1]:9"), of("192.0.2.1:4000"));
        assert_ne!(of("192.0.2.1:4000"), of("192.0.2.2:4000"));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:2]:1"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
    }
}
