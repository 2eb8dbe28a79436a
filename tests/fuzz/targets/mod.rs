//! Every target: what it parses, with which inputs it begins, and which words its
//! format has.

mod certificates;
mod documents;
mod identities;
mod nodes;
mod processes;
pub(crate) mod running;
mod stored;
mod tokens;

use crate::chance::Chance;

/// One parser, or a few that read the same bytes.
pub(crate) struct Target {
    /// Its name, on the command line and as a folder of the corpus.
    pub(crate) name: &'static str,
    /// What reaches it, and from whom: one line for people.
    pub(crate) reads: &'static str,
    /// Inputs to begin with, besides those kept in the corpus.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Words of the format, which mutations insert.
    pub(crate) words: &'static [&'static [u8]],
    /// Makes well-formed inputs at random, where the format is described by a schema.
    pub(crate) generate: Option<fn(&mut Chance) -> Vec<u8>>,
    /// Parses one input and says how it was judged. It must not panic, whatever
    /// the input.
    pub(crate) run: fn(&[u8]) -> String,
}

/// The targets, in the order in which they run.
pub(crate) static ALL: &[Target] = &[
    running::SERVER,
    running::WORKLOAD_API,
    running::JSON_API,
    documents::POLICIES,
    documents::POLICY_TESTS,
    documents::CATALOGUE,
    documents::ENTRIES,
    documents::CONFIGURATION,
    documents::OPENAPI,
    documents::DESCRIPTORS,
    documents::BUNDLE,
    documents::REVOCATION_LIST,
    identities::NAMES,
    tokens::JWT_SVID,
    tokens::SCOPED_TOKEN,
    tokens::DPOP,
    certificates::CHAIN,
    certificates::REQUEST,
    certificates::PUBLIC_KEY,
    certificates::UPSTREAM,
    nodes::X509_POP,
    nodes::JOIN_TOKEN,
    processes::CONTROL_GROUPS,
    processes::CONTAINER,
    processes::PLUGIN_LINE,
    processes::HTTP2_FRAMES,
    stored::RECORDS,
    stored::JOURNAL,
];

/// The target with a name.
pub(crate) fn named(name: &str) -> &'static Target {
    let found = ALL.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("no fuzz target is named {name}"))
}

/// How something was judged, for targets whose result says it well enough.
pub(crate) fn judged<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    result.map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}
