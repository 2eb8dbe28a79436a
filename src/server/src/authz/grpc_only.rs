//! What is no gRPC is answered before anything else looks at it. A browser can be made
//! to send a form or plain text to any address that its user can reach, but neither
//! gRPC's content type nor a request without an `Origin`.

use http::header::{CONTENT_TYPE, ORIGIN};
use http::{Method, Request, Response, StatusCode, Version};
use tonic::body::Body;

const GRPC: &[u8] = b"application/grpc";

/// Why a request is no gRPC, as its answer.
pub(super) fn refuse<B>(request: &Request<B>) -> Option<Response<Body>> {
    if request.version() != Version::HTTP_2 {
        return Some(answer(StatusCode::HTTP_VERSION_NOT_SUPPORTED));
    }
    if request.headers().contains_key(ORIGIN) {
        return Some(answer(StatusCode::FORBIDDEN));
    }
    if request.method() != Method::POST {
        return Some(answer(StatusCode::METHOD_NOT_ALLOWED));
    }
    let mut types = request.headers().get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(only), None) if is_grpc(only.as_bytes()) => None,
        _ => Some(answer(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
    }
}

/// `application/grpc`, with a message format or parameters behind it.
fn is_grpc(content_type: &[u8]) -> bool {
    let Some((start, rest)) = content_type.split_at_checked(GRPC.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

fn answer(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, headers: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::post("/a.B/C").version(version);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    fn status(version: Version, headers: &[(&str, &str)]) -> Option<u16> {
        refuse(&request(version, headers)).map(|answer| answer.status().as_u16())
    }

    #[test]
    fn d2_grpc_alone_is_let_through() {
        let h2 = Version::HTTP_2;
        for good in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "Application/gRPC",
        ] {
            assert_eq!(status(h2, &[("content-type", good)]), None, "{good}");
            assert_eq!(
                status(Version::HTTP_11, &[("content-type", good)]),
                Some(505)
            );
            let from_a_page = [("content-type", good), ("origin", "https://evil.example")];
            assert_eq!(status(h2, &from_a_page), Some(403));
        }
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/grpcish",
            "application/grpc-web",
            "",
        ] {
            assert_eq!(status(h2, &[("content-type", bad)]), Some(415), "{bad}");
        }
        assert_eq!(status(h2, &[]), Some(415));
    }
}
