//! Random values of everything that is stored.

use identity::{
    Bundle, CertificateSerial, Entry, EntryFields, EntryId, JwtAuthorityKey, Node, Revocation,
    Revoked, Seconds, Selector, Selectors, SpiffeId, Timestamp, TrustDomain,
    X509AuthorityCertificate,
};
use proptest::prelude::*;

use crate::{
    AuthorityProfile, AuthorityRecord, AuthorityState, JoinTokenRecord, Owned, TrustOwner,
    TrustRecord,
};

pub(super) fn td() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

pub(super) fn any_path() -> impl Strategy<Value = String> {
    "(/[a-zA-Z0-9_-]{1,12}){1,4}".prop_filter("reserved", |p| !p.starts_with("/spire"))
}

pub(super) fn any_id() -> impl Strategy<Value = SpiffeId> {
    any_path().prop_map(|path| SpiffeId::new(&td(), &path).unwrap())
}

fn any_selectors(least: usize) -> impl Strategy<Value = Selectors> {
    let one = ("[a-z0-9_]{1,8}", "[^\\p{Cc}]{1,20}");
    let one = one.prop_map(|(kind, value)| Selector::new(&kind, &value).unwrap());
    prop::collection::vec(one, least..6).prop_map(|list| Selectors::new(list).unwrap())
}

fn any_domain() -> impl Strategy<Value = TrustDomain> {
    "[a-z0-9]{1,8}\\.[a-z]{2,3}".prop_map(|name| TrustDomain::parse(&name).unwrap())
}

pub(super) fn any_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![any::<i64>(), 0..4_000_000_000_i64].prop_map(Timestamp)
}

pub(super) fn any_entry() -> impl Strategy<Value = Entry> {
    let ids = ("[a-zA-Z0-9._-]{1,40}", any_id(), any_id(), any_selectors(1));
    let times = (
        any::<Option<u32>>(),
        any::<Option<u32>>(),
        prop::option::of(any_time()),
        any_time(),
        any::<i64>(),
    );
    let lists = (
        prop::collection::vec(any_domain(), 0..4),
        prop::collection::vec("[a-z]{1,8}\\.[a-z]{2,4}", 0..4),
        "[^\\p{Cc}]{0,30}",
    );
    (ids, times, lists, any::<[bool; 5]>()).prop_filter_map(
        "an entry that is none",
        |((id, spiffe_id, parent_id, selectors), times, lists, flags)| {
            let (x509_ttl, jwt_ttl, expires_at, created_at, revision) = times;
            let (federates_with, dns_names, hint) = lists;
            let [
                admin,
                downstream,
                store_svid,
                disable_x509_prefetch,
                jwt_include_jti,
            ] = flags;
            let fields = EntryFields {
                id: EntryId::parse(&id).unwrap(),
                spiffe_id,
                parent_id,
                selectors,
                x509_ttl: x509_ttl.map(Seconds),
                jwt_ttl: jwt_ttl.map(Seconds),
                federates_with,
                admin,
                downstream,
                expires_at,
                dns_names,
                revision,
                store_svid,
                hint,
                created_at,
                disable_x509_prefetch,
                jwt_include_jti,
            };
            Entry::new(fields, &td()).ok()
        },
    )
}

fn any_serial() -> impl Strategy<Value = CertificateSerial> {
    prop::collection::vec(any::<u8>(), 1..20).prop_map(|bytes| CertificateSerial::new(&bytes))
}

pub(super) fn any_node() -> impl Strategy<Value = Node> {
    let who = ("[a-z0-9]{1,20}", "[a-z0-9_]{1,12}", any_selectors(0));
    let svids = (
        any_serial(),
        any_time(),
        prop::option::of((any_serial(), any_time())),
    );
    let rest = (any::<bool>(), any::<bool>(), "\\PC{0,12}", any_time());
    (who, svids, rest).prop_map(
        |((name, attestor, selectors), (serial, expires_at, next), rest)| {
            let (banned, can_reattest, agent_version, attested_at) = rest;
            Node {
                id: SpiffeId::new(&td(), &format!("/spire/agent/{attestor}/{name}")).unwrap(),
                attestor,
                selectors,
                serial,
                expires_at,
                next,
                banned,
                can_reattest,
                agent_version,
                attested_at,
            }
        },
    )
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..60)
}

pub(super) fn any_bundle() -> impl Strategy<Value = Bundle> {
    let x509 = (any_bytes(), any::<bool>()).prop_map(|(der, tainted)| X509AuthorityCertificate {
        der: der.into(),
        tainted,
    });
    let jwt = || {
        (
            "\\PC{0,12}",
            any_bytes(),
            prop::option::of(any_time()),
            any::<bool>(),
        )
            .prop_map(|(key_id, spki, expires_at, tainted)| JwtAuthorityKey {
                key_id: key_id.into(),
                spki: spki.into(),
                expires_at,
                tainted,
            })
    };
    let lists = (
        prop::collection::vec(x509, 0..4),
        prop::collection::vec(jwt(), 0..4),
        prop::collection::vec(jwt(), 0..4),
    );
    (any_domain(), lists, any::<u64>(), any::<Option<u32>>()).prop_map(
        |(trust_domain, (x509_authorities, jwt_authorities, access_keys), sequence, hint)| Bundle {
            trust_domain,
            x509_authorities,
            jwt_authorities,
            access_keys,
            sequence,
            refresh_hint: hint.map(Seconds),
        },
    )
}

pub(super) fn any_token() -> impl Strategy<Value = JoinTokenRecord> {
    (
        any::<[u8; 32]>(),
        any_time(),
        prop::option::of(any_id()),
        any_time(),
        "[ -~]{0,40}",
    )
        .prop_map(
            |(sha256, expires_at, agent_alias, created_at, created_by)| JoinTokenRecord {
                sha256,
                expires_at,
                agent_alias,
                created_at,
                created_by,
            },
        )
}

pub(super) fn any_authority() -> impl Strategy<Value = AuthorityRecord> {
    let profile = prop_oneof![Just(AuthorityProfile::X509), Just(AuthorityProfile::Jwt)];
    let state = prop::sample::select(vec![
        AuthorityState::Prepared,
        AuthorityState::Published,
        AuthorityState::Active,
        AuthorityState::Retired,
        AuthorityState::Removed,
    ]);
    let texts = ("[0-9a-f]{0,40}", "\\PC{0,20}", "\\PC{0,20}");
    let bytes = (prop::collection::vec(any_bytes(), 0..3), any_bytes());
    let times = (any_time(), any_time(), any_time(), any_time());
    (profile, state, texts, bytes, times, any::<bool>()).prop_map(
        |(profile, state, (id, key_id, server), (chain, spki), times, tainted)| AuthorityRecord {
            profile,
            id,
            state,
            key_id,
            chain,
            spki,
            server,
            not_before: times.0,
            not_after: times.1,
            since: times.2,
            last_expiry: times.3,
            tainted,
        },
    )
}

pub(super) fn any_revocation() -> impl Strategy<Value = Revocation> {
    let what = prop_oneof![
        "[1-9a-f][0-9a-f]{0,38}".prop_map(|hex| ("serial", hex)),
        "[!-~]{1,40}".prop_map(|jti| ("jti", jti)),
        any_id().prop_map(|id| ("id", id.to_string())),
    ];
    let what = what.prop_map(|(kind, value)| Revoked::parse(kind, &value, &td()).unwrap());
    let times = (any_time(), any_time(), any::<bool>());
    (what, times, "[0-9a-f]{0,40}", "\\PC{0,80}").prop_map(
        |(what, (at, until, lifted), authority, reason)| {
            let until_lifted = lifted && matches!(what, Revoked::Id(_));
            Revocation {
                what,
                at,
                until: (!until_lifted).then_some(until),
                authority: authority.into(),
                reason: reason.into(),
            }
        },
    )
}

pub(super) fn any_trust() -> impl Strategy<Value = TrustRecord> {
    let owner = prop_oneof![
        Just(TrustOwner::Administrator),
        Just(TrustOwner::Unrecorded),
        "[a-zA-Z0-9._-]{1,40}".prop_map(|id| TrustOwner::Entry(EntryId::parse(&id).unwrap())),
    ];
    let how = (any_time(), "\\PC{0,12}", "\\PC{0,12}");
    (owner, prop::option::of(any_id()), any_bundle(), how).prop_map(
        |(owner, spiffe_id, bundle, (since, by, why))| {
            let x509 = bundle.x509_authorities.into_iter();
            let jwt = bundle.jwt_authorities.into_iter();
            TrustRecord {
                owner,
                spiffe_id,
                x509: x509.map(|it| owned(it, since, &by, &why)).collect(),
                jwt: jwt.map(|it| owned(it, since, &by, &why)).collect(),
            }
        },
    )
}

fn owned<T>(authority: T, since: Timestamp, by: &str, why: &str) -> Owned<T> {
    Owned {
        authority,
        since,
        by: by.to_owned(),
        why: why.to_owned(),
    }
}
