//! Who brought what into the own bundle, and taking something out by hand.

use identity::{Timestamp, TrustDomain};
use records::{AuthorityProfile, TrustOwner};
use ring::digest::{SHA256, digest};

use super::report::made_at;
use super::upstream_roots::{ends, subject_key_id};
use super::{Authorities, Rotors};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};

/// Whose an authority is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This server.
    Server,
    /// Another server of the trust domain that used this store.
    OtherServer,
    /// The authority above.
    Upstream,
    /// Administrators.
    Administrator,
    /// A downstream server, by its entry.
    Entry(String),
    /// Nobody knows: it is older than the recording of owners.
    Unrecorded,
    /// A federated trust domain.
    Federation(TrustDomain),
}

/// One authority, and how it came to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) owner: Owner,
    pub(crate) profile: AuthorityProfile,
    /// Subject key id or kid.
    pub(crate) id: String,
    /// SHA-256 of an X.509 authority's certificate, hex; empty for keys.
    pub(crate) sha256: String,
    /// The epoch when nobody recorded it.
    pub(crate) since: Timestamp,
    /// When it ends, when it does.
    pub(crate) until: Option<Timestamp>,
    /// Who asked for it; empty when nobody did.
    pub(crate) by: String,
    pub(crate) why: String,
    pub(crate) tainted: bool,
    /// The SPIFFE ID of a downstream server; else empty.
    pub(crate) spiffe_id: String,
}

/// What a removal does, or why it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) removed: Vec<Listed>,
    pub(crate) refused_because: Vec<String>,
}

impl Listed {
    fn is_named(&self, name: &str) -> bool {
        self.id == name || (!self.sha256.is_empty() && self.sha256.eq_ignore_ascii_case(name))
    }

    /// Why it cannot be removed by hand; `None` when it can.
    fn stays_because(&self) -> Option<String> {
        let (profile, id) = (self.profile.as_str(), &self.id);
        match &self.owner {
            Owner::Server => Some(format!(
                "{id} is this server's own; use `bulla keys taint {profile} {id}`, then `bulla keys revoke {profile} {id}`"
            )),
            Owner::Upstream => Some(format!(
                "{id} comes from the authority above and would come back; take it out there"
            )),
            Owner::Federation(of) => Some(format!(
                "{id} is of the federated trust domain {of}; use `bulla bundle set` or `bulla bundle delete`"
            )),
            Owner::OtherServer | Owner::Administrator | Owner::Entry(_) | Owner::Unrecorded => None,
        }
    }
}

impl Authorities {
    /// Every authority that this server trusts or has others trust, with its owner: the
    /// own bundle's, keys of access tokens included, then those of federated bundles.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn owners(&self) -> Result<Vec<Listed>, Failure> {
        let rotors = self.0.rotors.lock().await;
        self.listed(&rotors).await
    }

    async fn listed(&self, rotors: &Rotors) -> Result<Vec<Listed>, Failure> {
        let (own, _) = self.own_row().await?;
        let mut all = Vec::new();
        let x509 = own.x509_authorities.iter().map(|root| {
            let der: &[u8] = &root.der;
            let mut rows = rotors.x509.rows.values().map(|(row, _)| row);
            let row =
                rows.find(|row| row.chain.len() < 2 && row.chain.last().is_some_and(|c| c == der));
            let mut above = rotors.x509.above.known.x509.iter();
            let (owner, why, since) = match row {
                Some(row) => (Owner::Server, "signing key", made_at(row)),
                None if above.any(|known| known.der == root.der) => (
                    Owner::Upstream,
                    "published by the authority above",
                    Timestamp(0),
                ),
                None => (Owner::OtherServer, "", Timestamp(0)),
            };
            let mut listed = of_root(owner, der, root.tainted);
            (listed.why, listed.since) = (why.to_owned(), since);
            listed
        });
        all.extend(x509);
        for (profile, keys, rotor) in [
            (AuthorityProfile::Jwt, &own.jwt_authorities, &rotors.jwt),
            (AuthorityProfile::Access, &own.access_keys, &rotors.access),
        ] {
            all.extend(keys.iter().map(|key| {
                let mut rows = rotor.rows.values().map(|(row, _)| row);
                let row = rows.find(|row| *row.id == *key.key_id);
                let owner = row.map_or(Owner::OtherServer, |_| Owner::Server);
                let mut listed = of_key(owner, profile, key);
                listed.since = row.map_or(Timestamp(0), made_at);
                listed.why = row.map_or("", |_| "signing key").to_owned();
                listed
            }));
        }
        all.extend(rotors.x509.above.known.jwt.iter().map(|key| {
            let mut listed = of_key(Owner::Upstream, AuthorityProfile::Jwt, key);
            "published by the authority above".clone_into(&mut listed.why);
            listed
        }));
        self.add_owned(&mut all).await?;
        self.add_federated(&mut all);
        Ok(all)
    }

    async fn add_owned(&self, all: &mut Vec<Listed>) -> Result<(), Failure> {
        for record in self.owned_rows().await?.records() {
            let owner = || match &record.owner {
                TrustOwner::Administrator => Owner::Administrator,
                TrustOwner::Entry(id) => Owner::Entry(id.to_string()),
                TrustOwner::Unrecorded => Owner::Unrecorded,
            };
            let id = record.spiffe_id.as_ref();
            let spiffe_id = id.map(ToString::to_string).unwrap_or_default();
            all.extend(record.x509.iter().map(|owned| {
                let root = &owned.authority;
                Listed {
                    since: owned.since,
                    by: owned.by.clone(),
                    why: owned.why.clone(),
                    spiffe_id: spiffe_id.clone(),
                    ..of_root(owner(), &root.der, root.tainted)
                }
            }));
            all.extend(record.jwt.iter().map(|owned| Listed {
                since: owned.since,
                by: owned.by.clone(),
                why: owned.why.clone(),
                spiffe_id: spiffe_id.clone(),
                ..of_key(owner(), AuthorityProfile::Jwt, &owned.authority)
            }));
        }
        Ok(())
    }

    fn add_federated(&self, all: &mut Vec<Listed>) {
        let state = &self.0.parts.state;
        let registry = state.registry();
        let federated = registry.bundles();
        for bundle in federated.filter(|b| b.trust_domain != *state.trust_domain()) {
            let owner = || Owner::Federation(bundle.trust_domain.clone());
            let roots = bundle.x509_authorities.iter();
            all.extend(roots.map(|root| of_root(owner(), &root.der, root.tainted)));
            let keys = bundle.jwt_authorities.iter();
            all.extend(keys.map(|key| of_key(owner(), AuthorityProfile::Jwt, key)));
        }
    }

    /// Takes an authority out of the own bundle that somebody brought: by subject key
    /// id, key id or SHA-256 of the certificate. With `plan_only` nothing is done.
    ///
    /// # Errors
    /// Nothing has that name, or it is refused; the message says why and what to do.
    pub(crate) async fn remove_from_bundle(
        &self,
        caller: &Caller,
        name: &str,
        plan_only: bool,
    ) -> Result<Removal, Failure> {
        let rotors = self.0.rotors.lock().await;
        let all = self.listed(&rotors).await?;
        let named: Vec<Listed> = all.into_iter().filter(|it| it.is_named(name)).collect();
        if named.is_empty() {
            return Err(Failure::not_found(
                "no authority of the bundle has that subject key id, key id or SHA-256; see `bulla bundle show --owners`",
            ));
        }
        let refused: Vec<String> = named.iter().filter_map(Listed::stays_because).collect();
        let removal = Removal {
            removed: named,
            refused_because: refused,
        };
        if plan_only {
            return Ok(removal);
        }
        if !removal.refused_because.is_empty() {
            let why = removal.refused_because.join("; ");
            return Err(Failure::new(Kind::Precondition, why));
        }
        let mut rows = self.owned_rows().await?;
        for row in &mut rows.0 {
            let record = &mut row.record;
            record.jwt.retain(|it| *it.authority.key_id != *name);
            record
                .x509
                .retain(|it| !of_root(Owner::Unrecorded, &it.authority.der, false).is_named(name));
        }
        let also = rows.also(format!("removed: {name}"))?;
        // Of the own part only what no key of this server stands behind.
        let gone = |owner: &Owner| *owner == Owner::OtherServer;
        let gone: Vec<&Listed> = removal
            .removed
            .iter()
            .filter(|it| gone(&it.owner))
            .collect();
        self.change_own_bundle(caller, also, |own| {
            let is_gone = |profile: AuthorityProfile, id: &str| {
                gone.iter().any(|it| it.profile == profile && it.id == id)
            };
            own.x509_authorities.retain(|it| {
                let sha256 = hex::encode(digest(&SHA256, &it.der));
                !gone.iter().any(|gone| gone.sha256 == sha256)
            });
            own.jwt_authorities
                .retain(|it| !is_gone(AuthorityProfile::Jwt, &it.key_id));
            own.access_keys
                .retain(|it| !is_gone(AuthorityProfile::Access, &it.key_id));
        })
        .await?;
        Ok(removal)
    }
}

fn of_root(owner: Owner, der: &[u8], tainted: bool) -> Listed {
    Listed {
        owner,
        profile: AuthorityProfile::X509,
        id: subject_key_id(der),
        sha256: hex::encode(digest(&SHA256, der)),
        since: Timestamp(0),
        until: Some(ends(der)),
        by: String::new(),
        why: String::new(),
        tainted,
        spiffe_id: String::new(),
    }
}

fn of_key(owner: Owner, profile: AuthorityProfile, key: &identity::JwtAuthorityKey) -> Listed {
    Listed {
        owner,
        profile,
        id: key.key_id.to_string(),
        sha256: String::new(),
        since: Timestamp(0),
        until: key.expires_at,
        by: String::new(),
        why: String::new(),
        tainted: key.tainted,
        spiffe_id: String::new(),
    }
}
