//! Where a service is reached: an https address, or a plain one on this machine.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A scheme, host and port. Plain HTTP only to loopback, or to what this crate itself
/// dials for credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no endpoint: write https://host or https://host:port; http:// is for loopback alone"
)]
pub struct EndpointError;

impl Endpoint {
    /// KMS of a region (partitions `aws` and `aws-cn`).
    #[must_use]
    pub fn of_region(region: &str) -> Self {
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        Self {
            tls: true,
            host: format!("kms.{region}.amazonaws.com{suffix}"),
            port: 443,
        }
    }

    /// A plain address that this crate was told of by the platform it runs on.
    pub(crate) fn plain(host: &str, port: u16) -> Self {
        Self {
            tls: false,
            host: host.to_owned(),
            port,
        }
    }

    /// What a request's `host` header says.
    pub(crate) fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == usual {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Its host and port.
    #[must_use]
    pub fn into_parts(self) -> (String, u16) {
        (self.host, self.port)
    }

    fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(EndpointError),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(EndpointError)?;
                let _v6: std::net::Ipv6Addr = host.parse().or(Err(EndpointError))?;
                (host, port.strip_prefix(':'))
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.:".contains(&b);
        if host.is_empty() || host.len() > 255 || !host.bytes().all(plain) {
            return Err(EndpointError);
        }
        let port = match port {
            Some(port) => port.parse().or(Err(EndpointError))?,
            None if tls => 443,
            None => 80,
        };
        let endpoint = Self {
            tls,
            host: host.to_ascii_lowercase(),
            port,
        };
        (tls || endpoint.is_loopback())
            .then_some(endpoint)
            .ok_or(EndpointError)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_alone() {
        for (text, shown) in [
            ("https://kms.example.org", "https://kms.example.org"),
            (
                "https://KMS.example.org:8443/",
                "https://kms.example.org:8443",
            ),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("http://[::1]:5000", "http://[::1]:5000"),
            ("http://localhost:80", "http://localhost"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "kms.example.org",
            "http://kms.example.org",
            "http://10.0.0.1:5000",
            "http://127.0.0.1.example.org",
            "https://",
            "https://user@example.org",
            "https://example.org/path",
            "https://example.org:99999",
        ] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
        let region = Endpoint::of_region("eu-central-1").to_string();
        assert_eq!(region, "https://kms.eu-central-1.amazonaws.com");
    }
}
