//! Entries as people write them: YAML files, read strictly, every complaint with
//! its file and line.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::{Spanned, budget, options};

use super::limit;
use crate::admin::{wire_id, wire_selector};
use crate::failure::Failure;
use crate::wire::entries_v1::TokenLimits;
use crate::wire::types;

/// The largest file, bytes.
const FILE_MAX: u64 = 16 << 20;
/// The most files.
const FILES_MAX: usize = 1_000;
/// The most complaints in one answer.
const COMPLAINTS_MAX: usize = 20;

/// A file of registration entries for `bulla entry apply`.
#[derive(Deserialize, Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// The trust domain the file is meant for: applied to another one, it is refused.
    #[serde(default)]
    trust_domain: Option<String>,
    /// The entries.
    #[cfg_attr(test, schemars(with = "Vec<Described>"))]
    entries: Vec<Spanned<Described>>,
}

/// A registration entry: who, where, receives which SPIFFE ID.
#[derive(Deserialize, Debug, Clone)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Described {
    /// The entry's own id. With one, an entry whose SPIFFE ID, parent or selectors
    /// change stays the same entry; without one, those three tell entries apart.
    #[serde(default)]
    id: String,
    /// The SPIFFE ID its workloads receive.
    spiffe_id: String,
    /// The agent, node alias or entry it hangs under.
    parent_id: String,
    /// Selectors, type:value; all of them must be attested.
    #[cfg_attr(test, schemars(length(min = 1)))]
    selectors: Vec<String>,
    /// Lifetime of X.509-SVIDs in seconds; 0 is the server's default.
    #[serde(default)]
    #[cfg_attr(test, schemars(range(min = 0)))]
    x509_ttl: i32,
    /// Lifetime of JWT-SVIDs in seconds; 0 is the server's default.
    #[serde(default)]
    #[cfg_attr(test, schemars(range(min = 0)))]
    jwt_ttl: i32,
    /// DNS names for the X.509-SVID; the first becomes its common name.
    #[serde(default)]
    dns_names: Vec<String>,
    /// Trust domains whose bundles the workload also receives.
    #[serde(default)]
    federates_with: Vec<String>,
    /// Tells a workload with several identities which is which; "default" makes it the first.
    #[serde(default)]
    hint: String,
    /// Whether the SVID may call the server API as an admin.
    #[serde(default)]
    admin: bool,
    /// Whether the SVID may ask for a CA certificate of a downstream server.
    #[serde(default)]
    downstream: bool,
    /// From when on the entry no longer counts, in Unix seconds; 0 is never.
    #[serde(default)]
    #[cfg_attr(test, schemars(range(min = 0)))]
    expires_at: i64,
    /// What its workloads' scoped tokens are limited to, whatever policies say.
    /// Absent, limits that the entry has stay as they are; empty takes them away.
    #[serde(default)]
    token_limits: Option<DescribedLimits>,
}

/// The limits of an entry's scoped tokens.
#[derive(Deserialize, Debug, Clone)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct DescribedLimits {
    /// The audiences that tokens may be for; empty is all.
    #[serde(default)]
    audiences: Vec<String>,
    /// The longest life of a token in seconds; 0 sets none.
    #[serde(default)]
    max_ttl: u32,
}

/// An entry that the files ask for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) entry: types::Entry,
    /// Of no entry by name: its own. `None` leaves what there is.
    pub(super) limits: Option<TokenLimits>,
    /// file:line
    pub(super) place: String,
}

/// What all files together ask for.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) wanted: Vec<Wanted>,
    /// The trust domains that files are meant for, with the first file of each.
    pub(super) trust_domains: HashMap<String, String>,
    pub(super) files: usize,
}

/// Reads all files under the paths given: `.yaml`, `.yml` and `.json`.
///
/// # Errors
/// A file cannot be read, or what is wrong in which line.
pub(super) fn read(paths: &[PathBuf]) -> Result<Files, Failure> {
    let mut files = Vec::new();
    for path in paths {
        find(path, &mut files)?;
    }
    let mut all = Files {
        wanted: Vec::new(),
        trust_domains: HashMap::new(),
        files: files.len(),
    };
    let mut complaints = Vec::new();
    for file in &files {
        if let Err(complaint) = take_file(file, &mut all, &mut complaints) {
            complaints.push(complaint);
        }
    }
    complaints.extend(repeated(&all.wanted));
    if complaints.is_empty() {
        return Ok(all);
    }
    let more = complaints.len().saturating_sub(COMPLAINTS_MAX);
    complaints.truncate(COMPLAINTS_MAX);
    if more > 0 {
        complaints.push(format!("and {more} more"));
    }
    Err(Failure::usage(complaints.join("\n")).next("correct the files; nothing was changed"))
}

/// The path that stands for standard input.
const STDIN: &str = "-";

fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if path.as_os_str() == STDIN {
        files.push(path.to_owned());
        return Ok(());
    }
    let failed = |error| Failure::usage(format!("{} cannot be read: {error}", path.display()));
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(failed)?;
    let mut inside: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    inside.sort();
    for path in inside {
        let named = path.extension().and_then(|extension| extension.to_str());
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.is_symlink() && path.is_dir() {
            continue;
        }
        if path.is_dir() || matches!(named, Some("yaml" | "yml" | "json")) {
            find(&path, files)?;
        }
        if files.len() > FILES_MAX {
            return Err(Failure::usage(format!("more than {FILES_MAX} files")));
        }
    }
    Ok(())
}

fn take_file(file: &Path, all: &mut Files, complaints: &mut Vec<String>) -> Result<(), String> {
    let shown = file.display();
    let text = text_of(file).map_err(|error| format!("{shown}: {error}"))?;
    let document = parse(&text).map_err(|(line, what)| format!("{shown}:{line}: {what}"))?;
    if let Some(trust_domain) = document.trust_domain {
        let first = all.trust_domains.entry(trust_domain);
        first.or_insert_with(|| shown.to_string());
    }
    for described in document.entries {
        let place = format!("{shown}:{}", described.referenced.line());
        let limits = described.value.limits();
        match described.value.wire() {
            Ok(entry) => all.wanted.push(Wanted {
                entry,
                limits,
                place,
            }),
            Err(failure) => complaints.push(format!("{place}: {}", failure.what)),
        }
    }
    Ok(())
}

/// A file, or standard input, as text; never more than the largest file.
fn text_of(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let most = FILE_MAX.saturating_add(1);
    let read = if file.as_os_str() == STDIN {
        std::io::stdin().take(most).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(most).read_to_string(&mut text))
    };
    let read = read.map_err(|error| error.to_string())?;
    if u64::try_from(read).is_ok_and(|read| read > FILE_MAX) {
        return Err(format!("larger than {FILE_MAX} bytes"));
    }
    Ok(text)
}

/// Reads one document; what is wrong comes with its line.
pub(crate) fn parse(text: &str) -> Result<Document, (u64, String)> {
    let options = options! {
        budget: budget! { max_nodes: 2_000_000, max_events: 8_000_000 },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let text = error.without_snippet().to_string();
        (line, text.lines().next().unwrap_or_default().to_owned())
    })
}

/// Entries that are described twice.
fn repeated(wanted: &[Wanted]) -> Vec<String> {
    let (mut ids, mut keys) = (HashMap::new(), HashMap::new());
    let mut complaints = Vec::new();
    for Wanted { entry, place, .. } in wanted {
        let mut again = |earlier: Option<&String>, what: &str| {
            if let Some(earlier) = earlier {
                complaints.push(format!("{place}: {what} as at {earlier}"));
            }
        };
        if !entry.id.is_empty() {
            again(ids.insert(entry.id.clone(), place), "the same id");
        }
        let same = "the same SPIFFE ID, parent and selectors";
        again(keys.insert(key(entry), place), same);
    }
    complaints
}

/// What tells entries without ids apart.
pub(super) type Key = (String, String, Vec<(String, String)>);

pub(super) fn key(entry: &types::Entry) -> Key {
    let id = |id: Option<&types::Spiffeid>| crate::admin::id_text(id);
    let pair = |selector: &types::Selector| (selector.r#type.clone(), selector.value.clone());
    let mut selectors: Vec<_> = entry.selectors.iter().map(pair).collect();
    selectors.sort();
    selectors.dedup();
    (
        id(entry.spiffe_id.as_ref()),
        id(entry.parent_id.as_ref()),
        selectors,
    )
}

impl Described {
    fn limits(&self) -> Option<TokenLimits> {
        let limits = self.token_limits.as_ref()?;
        Some(limit::plain(TokenLimits {
            entry_id: String::new(),
            audiences: limits.audiences.clone(),
            max_ttl_seconds: limits.max_ttl,
        }))
    }

    fn wire(self) -> Result<types::Entry, Failure> {
        if self.selectors.is_empty() {
            return Err(Failure::usage("an entry needs a selector"));
        }
        if self.x509_ttl < 0 || self.jwt_ttl < 0 || self.expires_at < 0 {
            return Err(Failure::usage("times are not negative"));
        }
        let selectors = self.selectors.iter().map(|text| wire_selector(text));
        Ok(types::Entry {
            id: self.id,
            spiffe_id: Some(wire_id(&self.spiffe_id)?),
            parent_id: Some(wire_id(&self.parent_id)?),
            selectors: selectors.collect::<Result<_, _>>()?,
            x509_svid_ttl: self.x509_ttl,
            jwt_svid_ttl: self.jwt_ttl,
            federates_with: self.federates_with,
            admin: self.admin,
            downstream: self.downstream,
            expires_at: self.expires_at,
            dns_names: self.dns_names,
            hint: self.hint,
            ..types::Entry::default()
        })
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
