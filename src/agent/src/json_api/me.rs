//! `GET /v1/explain/me`: what was attested of the calling process and what that
//! gives it. A process learns about itself alone: of entries that are not its own
//! it is told nothing, not even that there are any.

use http::{Response, StatusCode};

use super::Call;
use super::problem::Problem;
use crate::explain::Explanation;
use crate::workload_api::{Admitted, Answer};

/// Answers one request.
pub(super) async fn answer(
    call: &Call<'_>,
    admitted: Admitted,
) -> Result<Response<Answer>, Problem> {
    call.query.expect(&[])?;
    let attested = call.attest().await?;
    let api = &call.connection.api;
    let entries = match api.core.hub.matching(&attested.caller()) {
        Err(_withheld) if !attested.unknown.is_empty() => Vec::new(),
        entries => entries?,
    };
    let peer = call.connection.caller.peer();
    let explanation = Explanation::of(api, peer, &attested, &entries);
    Ok(super::json(
        StatusCode::OK,
        super::text(&explanation.into_value()),
        Some(admitted),
    ))
}
