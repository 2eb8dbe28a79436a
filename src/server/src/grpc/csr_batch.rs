//! Parsing the keys of a batch: a CSR costs a signature check, three times a
//! signature, so a long batch lets others run in between.

use crate::failure::Failure;
use crate::issue::X509Request;

/// After so many items the task lets others run.
const ITEMS_BETWEEN_YIELDS: usize = 16;

/// What became of the items of a batch.
pub(super) struct Parsed {
    /// The good ones, in order.
    pub(super) good: Vec<X509Request>,
    /// For each item of the batch, why it was refused.
    pub(super) refused: Vec<Option<Failure>>,
}

/// Parses `count` items.
pub(super) async fn parse(
    count: usize,
    mut item: impl FnMut(usize) -> Result<X509Request, Failure>,
) -> Parsed {
    let mut parsed = Parsed {
        good: Vec::with_capacity(count),
        refused: Vec::with_capacity(count),
    };
    for n in 0..count {
        match item(n) {
            Ok(request) => {
                parsed.good.push(request);
                parsed.refused.push(None);
            }
            Err(failure) => parsed.refused.push(Some(failure)),
        }
        if (n + 1) % ITEMS_BETWEEN_YIELDS == 0 {
            tokio::task::yield_now().await;
        }
    }
    parsed
}
