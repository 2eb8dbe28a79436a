//! `bulla.limits.v1.Limits`: the budget table as it is now, and what each RPC may cost.

use std::sync::Arc;

use api::limits::limits_server::Limits as LimitsRpc;
use api::limits::{Budget, Method, ShowRequest, ShowResponse};
use tonic::{Request, Response, Status};

use crate::authz::TABLE;
use crate::server::Server;

/// The service.
#[derive(Clone)]
pub(super) struct LimitsService {
    server: Arc<Server>,
}

impl LimitsService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

#[tonic::async_trait]
impl LimitsRpc for LimitsService {
    async fn show(&self, _request: Request<ShowRequest>) -> Result<Response<ShowResponse>, Status> {
        let budgets = self.server.budgets.table().into_iter().map(|row| Budget {
            principal: row.principal.as_str().to_owned(),
            resource: row.resource.to_owned(),
            bound: row.bound,
            used: row.reading.used,
            at_bound: row.reading.at_bound,
            refused: row.reading.refused,
        });
        let methods = TABLE.iter().map(|(method, access)| Method {
            method: (*method).to_owned(),
            roles: access.roles.to_string(),
            cost: access.cost.name.to_owned(),
            message_bytes: u64::try_from(access.cost.message_bytes).unwrap_or(u64::MAX),
            deadline: access.cost.deadline.to_string(),
        });
        Ok(Response::new(ShowResponse {
            budgets: budgets.collect(),
            methods: methods.collect(),
        }))
    }
}
