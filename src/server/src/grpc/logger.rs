//! `spire.api.server.logger.v1.Logger`: what is logged is said in the configuration, and
//! stays so while the server runs. Answered all the same, so that tools can say why.

use api::logger::logger_server::Logger;
use api::logger::{GetLoggerRequest, ResetLogLevelRequest, SetLogLevelRequest};
use api::types;
use tonic::{Request, Response, Status};

use crate::failure::Kind;

/// The service.
#[derive(Clone, Copy)]
pub(super) struct LoggerService;

fn fixed() -> Status {
    Kind::Unimplemented.status(
        "this server's log level is set in its configuration ([log] level) and changes at a restart alone",
    )
}

#[tonic::async_trait]
impl Logger for LoggerService {
    async fn get_logger(
        &self,
        _request: Request<GetLoggerRequest>,
    ) -> Result<Response<types::Logger>, Status> {
        Err(fixed())
    }

    async fn set_log_level(
        &self,
        _request: Request<SetLogLevelRequest>,
    ) -> Result<Response<types::Logger>, Status> {
        Err(fixed())
    }

    async fn reset_log_level(
        &self,
        _request: Request<ResetLogLevelRequest>,
    ) -> Result<Response<types::Logger>, Status> {
        Err(fixed())
    }
}
