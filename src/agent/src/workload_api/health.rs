//! gRPC health checking, as much of it as probes use: whether the agent can
//! serve workloads.

use http::Response;

use super::wire::{self, Answer};

/// The one method that is answered.
pub(super) const CHECK: &str = "/grpc.health.v1.Health/Check";

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Answers a check.
pub(super) fn answer(is_ready: bool) -> Response<Answer> {
    let status = if is_ready { SERVING } else { NOT_SERVING };
    let message = wire::frame(&HealthCheckResponse { status });
    wire::respond(Answer::One(Some(message)))
}
