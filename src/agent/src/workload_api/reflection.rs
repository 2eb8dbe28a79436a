//! gRPC server reflection of the Workload API, for tools such as grpcurl. It gives out
//! nothing of anybody's, so it is served without the security header ([`super::header`]).

use std::sync::OnceLock;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt as _;

use super::admission::Admitted;
use super::wire::Answer;

const SERVICE: &str = "SpiffeWorkloadAPI";
const FILES: [&str; 2] = ["workload.proto", "google/protobuf/struct.proto"];

/// Reflection over the Workload API alone, put together when somebody asks.
pub(super) struct Reflection(OnceLock<Option<Routes>>);

impl Reflection {
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Answers a call that is not for the Workload API.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        admitted: Admitted,
    ) -> Result<Response<Answer>, Status> {
        let unknown = || Status::unimplemented("this socket serves no such method");
        if !request.uri().path().starts_with("/grpc.reflection.") {
            return Err(unknown());
        }
        let routes = self.0.get_or_init(routes).clone().ok_or_else(unknown)?;
        let request = request.map(|body| Body::new(body.map_err(|e| Status::from_error(e.into()))));
        match routes.oneshot(request).await {
            Ok(response) => Ok(response.map(|body| Answer::Other {
                body,
                _admitted: admitted,
            })),
            Err(never) => match never {},
        }
    }
}

fn routes() -> Option<Routes> {
    let mut files = FileDescriptorSet::decode(api::FILE_DESCRIPTOR_SET).ok()?;
    files.file.retain(|file| FILES.contains(&file.name()));
    let configure = || {
        tonic_reflection::server::Builder::configure()
            .register_file_descriptor_set(files.clone())
            .with_service_name(SERVICE)
    };
    let v1 = configure().build_v1().ok()?;
    let v1alpha = configure().build_v1alpha().ok()?;
    Some(Routes::new(v1).add_service(v1alpha).prepare())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_are_those_of_the_workload_api_alone() {
        assert!(routes().is_some());
        let files = FileDescriptorSet::decode(api::FILE_DESCRIPTOR_SET).unwrap();
        let of = |name: &str| files.file.iter().find(|f| f.name() == name);
        assert!(FILES.iter().all(|name| of(name).is_some()));
        let services = &of("workload.proto").unwrap().service;
        assert_eq!(services.len(), 1);
        assert_eq!((services[0].name(), services[0].method.len()), (SERVICE, 7));
    }
}
