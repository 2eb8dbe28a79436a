//! A loaded policy set: what was read, checked and sliced once, ready to decide.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cedar_policy::{Authorizer, Schema};
use policy::{Catalogue, Digest, Fault, Sources};

use crate::facts::{Offered, Types};
use crate::rule::{Layer, Rule};
use crate::rules::Reader;
use crate::slices::Slices;
use crate::{builtin, review, schema, validate};

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
    pub(crate) tests: Vec<policy::SourceFile>,
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
            warnings: review::broad(&rules),
            authorizer: Authorizer::new(),
            tests: sources.tests.clone(),
            catalogue,
            rules,
            schema,
            schema_text,
            types,
            offered,
        })))
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
