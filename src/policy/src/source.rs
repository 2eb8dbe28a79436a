//! The files of a policy folder, as texts: what is stored, pushed, digested and
//! loaded. Reading them from disk is the shell's part.

use serde::{Deserialize, Serialize};

use crate::limits::{FILE_BYTES_MAX, FILES_MAX, SOURCES_BYTES_MAX};
use crate::{Digest, Fault};

/// Changes when the meaning of the same files changes: when the host derives
/// context otherwise, or a built-in guardrail is added.
const DERIVATION: &str = "bulla policy 1";

/// One file: its name relative to the policy folder, with slashes, and its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceFile {
    /// Such as `policies/payments.cedar`.
    pub name: String,
    /// Its contents.
    pub text: String,
}

/// The files of one policy set, each list in order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// `catalogue/*.yaml`, one service each.
    pub catalogue: Vec<SourceFile>,
    /// `policies/**.cedar`, written by the teams.
    pub policies: Vec<SourceFile>,
    /// `guardrails/**.cedar`, written by security: only `forbid`.
    pub guardrails: Vec<SourceFile>,
    /// `tests/**.json`, run before activation; they decide nothing later.
    pub tests: Vec<SourceFile>,
}

impl Sources {
    /// Sorts files into the four parts by folder and ending.
    ///
    /// # Errors
    /// A file belongs nowhere, is named twice, or there is too much; README
    /// files and hidden ones are left out silently.
    pub fn from_files(files: impl IntoIterator<Item = SourceFile>) -> Result<Self, Vec<Fault>> {
        let mut sources = Self::default();
        let mut faults = Vec::new();
        for file in files {
            if file.text.len() > FILE_BYTES_MAX {
                let what = format!(
                    "the file has {} bytes; at most {FILE_BYTES_MAX}",
                    file.text.len()
                );
                faults.push(Fault::error(&file.name, None, what).next("split it"));
                continue;
            }
            match sources.part_of(&file.name) {
                Some(Some(part)) => part.push(file),
                Some(None) => {}
                None => faults.push(misplaced(&file.name)),
            }
        }
        sources.sort(&mut faults);
        if faults.is_empty() {
            Ok(sources)
        } else {
            Err(faults)
        }
    }

    /// `None`: belongs nowhere; `Some(None)`: left out.
    fn part_of(&mut self, name: &str) -> Option<Option<&mut Vec<SourceFile>>> {
        let (folder, rest) = name.split_once('/').unwrap_or(("", name));
        let base = rest.rsplit('/').next().unwrap_or(rest);
        if base.starts_with('.') || base.ends_with(".md") {
            return Some(None);
        }
        let ending = base.rsplit_once('.').map(|(_, ending)| ending);
        match (folder, ending) {
            ("catalogue", Some("yaml" | "yml")) => Some(Some(&mut self.catalogue)),
            ("policies", Some("cedar")) => Some(Some(&mut self.policies)),
            ("guardrails", Some("cedar")) => Some(Some(&mut self.guardrails)),
            ("tests", Some("json")) => Some(Some(&mut self.tests)),
            _ => None,
        }
    }

    fn sort(&mut self, faults: &mut Vec<Fault>) {
        let (mut files, mut bytes) = (0, 0);
        for part in [
            &mut self.catalogue,
            &mut self.policies,
            &mut self.guardrails,
            &mut self.tests,
        ] {
            part.sort();
            files += part.len();
            bytes += part.iter().map(|f| f.text.len()).sum::<usize>();
            for (one, other) in part.iter().zip(part.iter().skip(1)) {
                if one.name == other.name {
                    faults.push(Fault::error(&one.name, None, "the file is given twice"));
                }
            }
        }
        if files > FILES_MAX || bytes > SOURCES_BYTES_MAX {
            let what = format!(
                "{files} files with {bytes} bytes; at most {FILES_MAX} files and {SOURCES_BYTES_MAX} bytes"
            );
            faults.push(Fault::error(".", None, what));
        }
    }

    /// Every file, part by part, in order of names.
    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.deciding().chain(&self.tests)
    }

    fn deciding(&self) -> impl Iterator<Item = &SourceFile> {
        self.catalogue
            .iter()
            .chain(&self.policies)
            .chain(&self.guardrails)
    }

    /// Names the policy set: over every file that decides (tests do not), by
    /// name, and over how the host derives context.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let files = self
            .deciding()
            .flat_map(|f| [f.name.as_bytes(), f.text.as_bytes()]);
        Digest::of_parts(std::iter::once(DERIVATION.as_bytes()).chain(files))
    }
}

fn misplaced(name: &str) -> Fault {
    Fault::error(name, None, "the file belongs to no part of a policy folder")
        .next("put it at catalogue/*.yaml, policies/*.cedar, guardrails/*.cedar or tests/*.json")
}
