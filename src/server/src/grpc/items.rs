//! Batches and pages: how much one call may ask for and one answer may hold.

use api::convert::FieldError;
use prost::Message;
use tonic::Status;

use crate::failure::Kind;
use crate::limits;

/// The most bytes of records in one answer: below gRPC's customary 4 MiB with
/// room for the rest of the message.
pub(super) const MAX_ANSWER_BYTES: usize = 3_500_000;

/// The most results that are answered to one call of a batch RPC.
pub(super) fn check_batch(items: usize) -> Result<(), Status> {
    if items <= limits::MAX_BATCH {
        return Ok(());
    }
    let most = limits::MAX_BATCH;
    Err(Kind::Invalid.status(format!(
        "{items} items given; at most {most} are allowed in one call"
    )))
}

/// How many records a page may hold, by the caller's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageSize {
    /// At most so many.
    AtMost(usize),
    /// All, or an error: a caller that asks for no pages looks for no next one.
    All,
}

impl PageSize {
    /// Reads `page_size`: 0 or less asks for all (stock tools rely on it).
    pub(super) fn from_wire(page_size: i32) -> Self {
        match usize::try_from(page_size) {
            Ok(0) | Err(_) => Self::All,
            Ok(size) => Self::AtMost(size.min(limits::MAX_PAGE)),
        }
    }

    /// The most records to look up.
    pub(super) const fn limit(self) -> usize {
        match self {
            Self::AtMost(size) => size,
            Self::All => usize::MAX,
        }
    }
}

/// Lists that are read page by page; a token of one is none of another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Registration entries.
    Entries,
    /// Agents.
    Agents,
    /// Federated bundles.
    Bundles,
}

/// The token for the page that begins after the record named `last`. A check goes
/// before the name. It is no secret; it tells a token that was answered from anything
/// else, and stays valid over a restart.
pub(super) fn page_token(list: List, last: &str) -> String {
    format!("{}.{last}", check(list, last))
}

/// After which record the page begins that a token names; `None` is the first page.
///
/// # Errors
/// No answer of this list held that token.
pub(super) fn page_start(list: List, token: &str) -> Result<Option<&str>, FieldError> {
    if token.is_empty() {
        return Ok(None);
    }
    let given_out = token
        .split_once('.')
        .filter(|(checked, last)| *checked == check(list, last));
    let (_, last) = given_out.ok_or_else(bad_token)?;
    Ok(Some(last))
}

/// What a page token is refused with.
pub(super) fn bad_token() -> FieldError {
    FieldError::new(
        "page_token",
        "it is not one that was answered before; begin again without one",
    )
}

fn check(list: List, last: &str) -> String {
    let text = format!("bulla page of {list:?} after {last}");
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hex::encode(digest.as_ref().get(..8).unwrap_or_default())
}

/// One page of messages, cut where it would become too large.
pub(super) struct Page<M> {
    /// The messages.
    pub(super) messages: Vec<M>,
    /// Whether records were left out for their size: then the next page begins
    /// after the last message of this one.
    pub(super) cut: bool,
}

/// Fills a page, stopping before it becomes too large.
///
/// # Errors
/// All were asked for, and they do not fit one answer.
pub(super) fn fill<R, M: Message>(
    records: &[R],
    size: PageSize,
    to_wire: impl Fn(&R) -> M,
) -> Result<Page<M>, Status> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    for record in records {
        let message = to_wire(record);
        // Two bytes of tag and up to four of length go before each.
        bytes += message.encoded_len() + 6;
        if bytes > MAX_ANSWER_BYTES && !messages.is_empty() {
            return cut(messages, size, records.len());
        }
        messages.push(message);
    }
    Ok(Page {
        messages,
        cut: false,
    })
}

fn cut<M>(messages: Vec<M>, size: PageSize, all: usize) -> Result<Page<M>, Status> {
    if size == PageSize::All {
        let message =
            format!("{all} records do not fit one answer; ask for pages (page_size, page_token)");
        return Err(Kind::Exhausted.status(message));
    }
    Ok(Page {
        messages,
        cut: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d8_a_page_token_that_was_never_given_out_is_refused() {
        let token = page_token(List::Entries, "a.b");
        assert_eq!(page_start(List::Entries, &token).unwrap(), Some("a.b"));
        assert_eq!(page_start(List::Entries, "").unwrap(), None);
        let other = token.replace("a.b", "a.c");
        for never in ["a.b", "x", ".", ".a.b", other.as_str()] {
            assert!(page_start(List::Entries, never).is_err(), "{never}");
        }
        assert!(page_start(List::Agents, &token).is_err());
    }
    use api::types::Selector;

    fn record(bytes: &usize) -> Selector {
        Selector {
            r#type: "x".repeat(*bytes),
            value: String::new(),
        }
    }

    #[test]
    fn pages_are_cut_by_bytes_and_all_is_all_or_nothing() {
        let records = vec![1_000_000; 5];
        let page = fill(&records, PageSize::AtMost(5), record).unwrap();
        assert!(page.cut);
        assert_eq!(page.messages.len(), 3);
        let error = fill(&records, PageSize::All, record).err().unwrap();
        assert_eq!(error.code(), tonic::Code::ResourceExhausted);
        // One record is answered however large it is, or no page would ever end.
        let page = fill(&[9_000_000, 1], PageSize::AtMost(2), record).unwrap();
        assert_eq!((page.messages.len(), page.cut), (1, true));
    }

    #[test]
    fn no_page_size_means_all() {
        assert_eq!(PageSize::from_wire(0), PageSize::All);
        assert_eq!(PageSize::from_wire(-1), PageSize::All);
        assert_eq!(PageSize::from_wire(7), PageSize::AtMost(7));
        assert_eq!(
            PageSize::from_wire(i32::MAX),
            PageSize::AtMost(limits::MAX_PAGE)
        );
    }
}
