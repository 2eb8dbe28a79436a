//! One permission, one answer: what all buckets that can matter say together.

use cedar_policy::{Authorizer, Decision, Entities, Request};

use crate::slices::Bucket;

/// What policies say of one permission. Together over buckets exactly what Cedar
/// says of one set: forbidden if anything forbids, else permitted if anything
/// permits; and denied if anything failed to evaluate, where Cedar would go on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) permits: Vec<String>,
    pub(crate) forbids: Vec<String>,
    /// Policies that failed to evaluate, and why.
    pub(crate) errors: Vec<(String, String)>,
    /// Whether time alone can change the answer.
    pub(crate) timed: bool,
}

impl Verdict {
    pub(crate) fn of<'a>(
        authorizer: &Authorizer,
        request: &Request,
        entities: &Entities,
        buckets: impl Iterator<Item = &'a Bucket>,
    ) -> Self {
        let mut verdict = Self::default();
        for bucket in buckets {
            let response = authorizer.is_authorized(request, &bucket.policies, entities);
            let reasons = response.diagnostics().reason().map(ToString::to_string);
            match response.decision() {
                Decision::Allow => verdict.permits.extend(reasons),
                Decision::Deny => verdict.forbids.extend(reasons),
            }
            for error in response.diagnostics().errors() {
                let cedar_policy::AuthorizationError::PolicyEvaluationError(failed) = error;
                verdict
                    .errors
                    .push((failed.policy_id().to_string(), failed.inner().to_string()));
            }
            verdict.timed |= bucket.timed;
        }
        if !verdict.forbids.is_empty() {
            // As in one set: the permits of another bucket determine nothing.
            verdict.permits.clear();
        }
        verdict.permits.sort();
        verdict.forbids.sort();
        verdict.errors.sort();
        verdict
    }

    pub(crate) fn allows(&self) -> bool {
        self.errors.is_empty() && self.forbids.is_empty() && !self.permits.is_empty()
    }
}
