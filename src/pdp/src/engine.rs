//! A loaded policy set: what was read, checked and sliced once, ready to decide.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::{fmt, io};

use cedar_policy::{Authorizer, Schema};
use identity::TrustDomain;
use policy::limits::POLICIES_MAX;
use policy::{Catalogue, Digest, Fault, Sources, on_large_stack};

use crate::facts::{Offered, Types};
use crate::rule::{Layer, Rule};
use crate::rules::Reader;
use crate::slices::Slices;
use crate::{builtin, mistakes, review, schema, validate};

/// Policies of no more levels than this are decided on the caller's own stack.
const SHALLOW: usize = 48;

/// A policy set that decides. Cheap to clone, shared between threads.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Loaded>);

pub(crate) struct Loaded {
    pub(crate) catalogue: Catalogue,
    pub(crate) digest: Digest,
    pub(crate) rules: BTreeMap<String, Rule>,
    pub(crate) slices: Slices,
    pub(crate) schema: Schema,
    pub(crate) schema_text: String,
    pub(crate) types: Types,
    pub(crate) offered: Offered,
    pub(crate) authorizer: Authorizer,
    pub(crate) warnings: Vec<Fault>,
    pub(crate) mistakes: Vec<Fault>,
    pub(crate) tests: Vec<policy::SourceFile>,
    /// Whether decisions need more stack than every thread has.
    pub(crate) deep: bool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Engine({}, {} policies)",
            self.0.digest,
            self.0.rules.len()
        )
    }
}

impl Engine {
    /// Reads, checks and slices a policy set. Its tests are not run.
    ///
    /// # Errors
    /// Everything that is wrong: a fault of the catalogue, a policy that does not
    /// parse or validate strictly, an unknown or missing annotation, an id that is
    /// there twice, a guardrail that permits, a name that matches nothing, a
    /// policy that can never apply. Warnings alone are no error
    /// ([`Self::warnings`]).
    pub fn load(sources: &Sources) -> Result<Self, Vec<Fault>> {
        let loaded = on_large_stack(|| Self::load_all(sources));
        loaded.map_err(|error| {
            let what = format!("the policy set cannot be loaded now: {error}");
            vec![Fault::error(".", None, what)]
        })?
    }

    fn load_all(sources: &Sources) -> Result<Self, Vec<Fault>> {
        let catalogue = Catalogue::read(&sources.catalogue)?;
        let mut reader = Reader::new(&catalogue);
        reader.read(&builtin::file(), Layer::Builtin);
        for file in &sources.guardrails {
            reader.read(file, Layer::Guardrail);
        }
        for file in &sources.policies {
            reader.read(file, Layer::Team);
        }
        let (rules, mut faults) = (reader.rules, reader.faults);
        if rules.len() > POLICIES_MAX {
            let what = format!("{} policies; at most {POLICIES_MAX}", rules.len());
            return Err(vec![Fault::error("policies", None, what)]);
        }
        let schema_text = schema::text(&catalogue);
        let schema = validate::strictly(&catalogue, &schema_text, &rules)
            .map_err(|more| faults.extend(more));
        faults.sort();
        let (Ok(schema), true) = (schema, faults.is_empty()) else {
            return Err(faults);
        };
        let ours = |what: String| vec![Fault::error(".", None, what)];
        let types = Types::new().map_err(ours)?;
        let offered = Offered::new(&types, &catalogue).map_err(ours)?;
        Ok(Self(Arc::new(Loaded {
            digest: sources.digest(),
            slices: Slices::new(&rules)?,
            warnings: review::broad(&rules)
                .into_iter()
                .chain(mistakes::odd(&rules))
                .collect(),
            mistakes: mistakes::conditions(&rules),
            authorizer: Authorizer::new(),
            tests: sources.tests.clone(),
            deep: reader.deepest > SHALLOW,
            catalogue,
            rules,
            schema,
            schema_text,
            types,
            offered,
        })))
    }

    /// Runs what evaluates and prints policies: on a large stack if they are deep.
    pub(crate) fn evaluating<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        if self.0.deep {
            on_large_stack(work)
        } else {
            Ok(work())
        }
    }

    /// Runs many decisions on one large stack if they need it. Where the system gives
    /// none, each decision asks for its own, and is refused if it gets none either.
    pub(crate) fn surveying<T: Send>(&self, work: impl Fn() -> T + Send + Sync) -> T {
        self.evaluating(&work).unwrap_or_else(|_none| work())
    }

    /// Names the policy set.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The services and permissions it speaks of.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.0.catalogue
    }

    /// What a reviewer should look at.
    #[must_use]
    pub fn warnings(&self) -> &[Fault] {
        &self.0.warnings
    }

    /// What is valid and cannot be meant: conditions that can never hold, or always do.
    /// Whoever proposes a policy set is refused it; one that is active goes on deciding.
    #[must_use]
    pub fn mistakes(&self) -> &[Fault] {
        &self.0.mistakes
    }

    /// Policies that name another trust domain than the one that is decided for.
    #[must_use]
    pub fn foreign(&self, own: &TrustDomain) -> Vec<Fault> {
        mistakes::foreign(&self.0.rules, own)
    }

    /// All policies, the built-in guardrails included, in order of ids.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.0.rules.values()
    }

    /// The policy with an id.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.0.rules.get(id)
    }

    /// The Cedar schema made from the catalogue, for editors and other tools.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.0.schema_text
    }
}
