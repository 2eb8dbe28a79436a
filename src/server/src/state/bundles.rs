//! Setting and deleting federated bundles. The own bundle belongs to `authorities`.

use std::sync::Arc;

use identity::{Bundle, Entry, TrustDomain};
use journal::Draft;
use records::{AuditKind, key};
use store::{Condition, Key, Value, Write};

use super::{State, stored};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;

/// How a bundle is to be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BundlePut {
    /// It must be new.
    Create,
    /// It must exist.
    Update,
    /// Either.
    Set,
}

/// What to do with entries that federate with a bundle's trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BundleDeletion {
    /// Refuse while there are any.
    Restrict,
    /// Delete them too.
    Delete,
    /// Let them federate with it no more.
    Dissociate,
}

impl State {
    /// Stores a federated bundle, and returns it as stored.
    ///
    /// # Errors
    /// It is the own one, does (not) exist, is too large, or has an older sequence
    /// than the one there; or the store or journal failed.
    pub(crate) async fn put_bundle(
        &self,
        caller: &Caller,
        bundle: Bundle,
        put: BundlePut,
    ) -> Result<Arc<Bundle>, Failure> {
        let of = bundle.trust_domain.clone();
        if of == self.0.trust_domain {
            return Err(Failure::invalid(format!(
                "{of} is this server's own trust domain; its bundle is not federated"
            )));
        }
        let authorities = bundle
            .x509_authorities
            .len()
            .max(bundle.jwt_authorities.len());
        if authorities > limits::MAX_BUNDLE_AUTHORITIES {
            return Err(Failure::invalid(format!(
                "the bundle has {authorities} authorities; at most {} are allowed",
                limits::MAX_BUNDLE_AUTHORITIES
            )));
        }
        let _one_at_a_time = self.0.admin_writes.lock().await;
        self.check_put(&bundle, put)?;
        let (key, write) =
            stored::put_bundle(&self.0.trust_domain, &bundle).map_err(Failure::invalid)?;
        let condition = self.as_stored(key).await?;
        let what = match put {
            BundlePut::Create => "created",
            BundlePut::Update => "updated",
            BundlePut::Set => "set",
        };
        let draft = self.bundle_record(caller, &of, what)?;
        self.record_and_commit(caller, vec![draft], vec![condition], vec![write])
            .await?;
        Ok(Arc::new(bundle))
    }

    fn check_put(&self, bundle: &Bundle, put: BundlePut) -> Result<(), Failure> {
        let registry = self.registry();
        let of = &bundle.trust_domain;
        match (registry.bundle(of), put) {
            (Some(_), BundlePut::Create) => Err(Failure::new(
                Kind::Exists,
                format!("there is a bundle of {of} already"),
            )),
            (None, BundlePut::Update) => Err(no_such_bundle(of)),
            (None, _) if registry.counts().bundles >= limits::MAX_FEDERATED_BUNDLES => {
                Err(Failure::new(
                    Kind::Exhausted,
                    format!(
                        "there are {} bundles already, the most allowed",
                        limits::MAX_FEDERATED_BUNDLES
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    /// The condition that a record still is what it is now.
    async fn as_stored(&self, key: Key) -> Result<Condition, Failure> {
        let value: Option<Value> = self.0.store.get(&key).await.map_err(Failure::unavailable)?;
        Ok(match value {
            Some(value) => Condition::Equals(key, value),
            None => Condition::Absent(key),
        })
    }

    fn bundle_record(
        &self,
        caller: &Caller,
        of: &TrustDomain,
        what: &str,
    ) -> Result<Draft, Failure> {
        let mut record = self.0.audit.record(AuditKind::BundleChange, caller);
        record.for_whom = of.as_str();
        record.detail = what;
        self.0.audit.draft(&record)
    }

    /// Deletes a federated bundle.
    ///
    /// # Errors
    /// There is none, or entries federate with it and `mode` says to leave them;
    /// or the store or journal failed.
    pub(crate) async fn delete_bundle(
        &self,
        caller: &Caller,
        of: &TrustDomain,
        mode: BundleDeletion,
    ) -> Result<(), Failure> {
        if *of == self.0.trust_domain {
            return Err(Failure::invalid(format!(
                "{of} is this server's own trust domain; its bundle stays"
            )));
        }
        let _one_at_a_time = self.0.admin_writes.lock().await;
        let federating: Vec<Arc<Entry>> = {
            let registry = self.registry();
            if registry.bundle(of).is_none() {
                return Err(no_such_bundle(of));
            }
            registry
                .entries()
                .filter(|entry| entry.federates_with.contains(of))
                .cloned()
                .collect()
        };
        if !federating.is_empty() && mode == BundleDeletion::Restrict {
            return Err(Failure::new(
                Kind::Precondition,
                format!(
                    "{} entries federate with {of}; change them first, or delete with another mode",
                    federating.len()
                ),
            ));
        }
        if federating.len() > limits::MAX_BATCH {
            return Err(Failure::new(
                Kind::Exhausted,
                format!(
                    "{} entries federate with {of}; change all but {} of them first",
                    federating.len(),
                    limits::MAX_BATCH
                ),
            ));
        }
        let mut drafts = vec![self.bundle_record(caller, of, "deleted")?];
        let mut conditions = Vec::new();
        let mut writes = Vec::new();
        for entry in &federating {
            let (kind, write) = self.without(entry, of, mode)?;
            drafts.push(self.entry_record(kind, caller, entry)?);
            conditions.push(Condition::Present(Arc::clone(write.key())));
            writes.push(write);
        }
        let key: Key = key::bundle(&self.0.trust_domain, of).into();
        conditions.push(Condition::Present(Arc::clone(&key)));
        writes.push(Write::Delete(key));
        self.record_and_commit(caller, drafts, conditions, writes)
            .await?;
        Ok(())
    }

    /// What becomes of an entry that federates with a deleted bundle.
    fn without(
        &self,
        entry: &Entry,
        of: &TrustDomain,
        mode: BundleDeletion,
    ) -> Result<(AuditKind, Write), Failure> {
        if mode == BundleDeletion::Delete {
            let key: Key = key::entry(&self.0.trust_domain, &entry.id).into();
            return Ok((AuditKind::EntryDelete, Write::Delete(key)));
        }
        let mut fields = entry.clone().into_fields();
        fields.federates_with.retain(|td| td != of);
        fields.revision = fields.revision.saturating_add(1);
        let entry = Entry::new(fields, &self.0.trust_domain).map_err(Failure::internal)?;
        let (_, write) =
            stored::put_entry(&self.0.trust_domain, &entry).map_err(Failure::internal)?;
        Ok((AuditKind::EntryUpdate, write))
    }
}

fn no_such_bundle(of: &TrustDomain) -> Failure {
    Failure::not_found(format!("there is no bundle of {of}"))
}
