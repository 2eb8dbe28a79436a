//! The security header (SPIFFE Workload Endpoint section 3): a request for an identity
//! says `workload.spiffe.io: true`, exactly and exactly once. It keeps a tricked HTTP
//! client (a server-side request forgery) from fetching an identity.
//!
//! As with SPIRE's agent, three services are served without it, because their clients
//! cannot be made to send it: Envoy's secret discovery (unless the admin demands the
//! header there), gRPC health and gRPC reflection. Only HTTP/2 counts for these, with
//! gRPC's own content type and the method's path: a browser or a tricked client that
//! speaks HTTP/1.1 forges none of that over a Unix socket.

use api::WORKLOAD_HEADER;
use http::{HeaderMap, Request, Version};
use tonic::Status;

use crate::sds;

/// The services of health and reflection, which give out nothing of anybody's.
const OPEN: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection."];

/// Refuses a gRPC call that has to carry the header and does not. A header that is
/// there must be right, wherever it is sent.
pub(super) fn check_call<B>(request: &Request<B>, sds: &sds::Config) -> Result<(), Status> {
    let (path, headers) = (request.uri().path(), request.headers());
    let is_open = OPEN.iter().any(|service| path.starts_with(service))
        || (path.starts_with(sds::PREFIX) && sds.without_header);
    if is_open && request.version() == Version::HTTP_2 && !headers.contains_key(WORKLOAD_HEADER) {
        return Ok(());
    }
    check(headers)
}

/// Refuses a request without the header.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Status> {
    let mut values = headers.get_all(WORKLOAD_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value == "true" => Ok(()),
        _ => Err(Status::invalid_argument(
            "security header missing from request: send the metadata workload.spiffe.io: true",
        )),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
    use tonic::Code;

    #[test]
    fn only_the_exact_header_once_passes() {
        let name = HeaderName::from_static("workload.spiffe.io");
        let mut headers = HeaderMap::new();
        let refused = super::check(&headers).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        for bad in ["True", "TRUE", "1", "", " true", "true,true", "false"] {
            headers.insert(name.clone(), HeaderValue::from_static(bad));
            assert!(super::check(&headers).is_err(), "{bad:?}");
        }
        headers.insert(name.clone(), HeaderValue::from_static("true"));
        assert!(super::check(&headers).is_ok());
        headers.append(name, HeaderValue::from_static("true"));
        assert!(super::check(&headers).is_err());
        let mut other = HeaderMap::new();
        other.insert("workload-spiffe-io", HeaderValue::from_static("true"));
        assert!(super::check(&other).is_err());
    }

    #[test]
    fn e2_only_http_2_calls_of_open_services_pass_without_it() {
        let mut sds = crate::sds::Config::default();
        let passes = |path: &str, version, sds: &crate::sds::Config| {
            let request = Request::builder().uri(path).version(version);
            super::check_call(&request.body(()).unwrap(), sds).is_ok()
        };
        let secrets = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
        for path in [
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            secrets,
        ] {
            assert!(passes(path, Version::HTTP_2, &sds), "{path}");
            assert!(!passes(path, Version::HTTP_11, &sds), "{path}");
        }
        for path in [
            "/SpiffeWorkloadAPI/FetchX509SVID",
            "/bulla.workload.v1.Tokens/Mint",
            "/v1/svid/x509",
            "/grpc.health.v1.HealthX/Check",
        ] {
            assert!(!passes(path, Version::HTTP_2, &sds), "{path}");
        }
        sds.without_header = false;
        assert!(!passes(secrets, Version::HTTP_2, &sds));
    }
}
