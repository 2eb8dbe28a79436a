//! The security header (SPIFFE Workload Endpoint section 3): every request to
//! this socket, of whatever service, says `workload.spiffe.io: true`, exactly
//! and exactly once. It keeps a tricked HTTP client (a server-side request
//! forgery) from fetching an identity.

use api::WORKLOAD_HEADER;
use http::HeaderMap;
use tonic::Status;

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
    use http::{HeaderMap, HeaderName, HeaderValue};
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
}
