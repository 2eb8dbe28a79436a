//! `bulla.doctor.v1.Doctor`: what `/ready` says, for whoever has the admin socket.

use std::sync::Arc;

use api::doctor::doctor_server::Doctor;
use api::doctor::{self as wire, ExamineRequest, ExamineResponse};
use duty::Standing;
use tonic::{Request, Response, Status};

use crate::health;
use crate::listeners::ops::Check;
use crate::server::Server;

/// The service.
#[derive(Clone)]
pub(super) struct DoctorService {
    server: Arc<Server>,
}

impl DoctorService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

#[tonic::async_trait]
impl Doctor for DoctorService {
    async fn examine(
        &self,
        _request: Request<ExamineRequest>,
    ) -> Result<Response<ExamineResponse>, Status> {
        let report = health::report(&self.server);
        Ok(Response::new(ExamineResponse {
            ready: report.ready,
            live: report.live,
            reasons: report.reasons,
            checks: report.checks.into_iter().map(check).collect(),
            duties: report.duties.into_iter().map(duty).collect(),
        }))
    }
}

fn check(check: Check) -> wire::Check {
    wire::Check {
        name: check.name.to_owned(),
        ok: check.ok,
        detail: check.detail,
    }
}

fn duty(standing: Standing) -> wire::Duty {
    wire::Duty {
        sentence: standing.to_string(),
        name: standing.name,
        weight: standing.weight.name().to_owned(),
        condition: standing.condition.name().to_owned(),
        last_success_seconds: standing.last_success_seconds,
        within_seconds: standing.within_seconds,
        error: standing.error.unwrap_or_default(),
    }
}
