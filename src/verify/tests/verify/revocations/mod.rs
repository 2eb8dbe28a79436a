//! What a list of revocations refuses, and which list is believed.

mod properties;

use std::sync::Arc;

use identity::{
    Bundle, CertificateSerial, Revocation, RevocationList, Revoked, Seconds, SpiffeId, Timestamp,
};
use keys::KeyType;
use serde_json::{Value, json};
use verify::{
    JwtFault, RevocationCheck, RevocationListFault, Revocations, RevokedFault, ScopedToken,
    TokenProfile, X509Fault, verify_jwt_svid_not_revoked, verify_x509_svid_not_revoked,
};

use crate::kit::{
    Ca, JwtKey, NOW, b64, bundle, ca_params, good_claims, good_header, jwt_bundle, leaf_params, td,
    token_of,
};

const TYPE: &str = "bulla-revocations+jwt";

fn header() -> Value {
    json!({"alg": "ES256", "kid": "k1", "typ": TYPE})
}

fn claims(sequence: u64) -> Value {
    json!({
        "iss": "spiffe://f.test", "sequence": sequence, "iat": NOW.0, "next_update": NOW.0 + 600,
        "serials": [{"serial": "2a", "until": NOW.0 + 60}],
        "jtis": [{"jti": "t1", "until": NOW.0 + 60}],
        "ids": [
            {"spiffe_id": "spiffe://f.test/old", "issued_until": NOW.0, "until": NOW.0 + 60},
            {"spiffe_id": "spiffe://f.test/gone", "issued_until": NOW.0, "until_lifted": true},
        ],
    })
}

fn signed(key: &JwtKey, header: &Value, claims: &Value) -> String {
    token_of(key, "ES256", &header.to_string(), &claims.to_string())
}

struct World {
    key: JwtKey,
    bundle: Arc<Bundle>,
}

impl World {
    fn new() -> Self {
        let key = JwtKey::new(KeyType::EcP256);
        let bundle = jwt_bundle(&key);
        Self { key, bundle }
    }

    fn list(&self, sequence: u64) -> String {
        signed(&self.key, &header(), &claims(sequence))
    }

    fn read(&self, list: &str) -> Result<Revocations, RevocationListFault> {
        Revocations::read(list, &self.bundle, None)
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = good_claims();
        change(&mut claims);
        signed(&self.key, &good_header("ES256"), &claims)
    }
}

fn list_of(entries: Vec<Revocation>, sequence: u64) -> RevocationList {
    RevocationList {
        trust_domain: td("f.test"),
        sequence,
        issued_at: NOW,
        next_update: NOW.plus(Seconds(600)),
        entries: entries.into_iter().map(Arc::new).collect(),
    }
}

fn revoke(what: Revoked, at: Timestamp, until: Option<Timestamp>) -> Revocation {
    Revocation {
        what,
        at,
        until,
        authority: "".into(),
        reason: "".into(),
    }
}

#[test]
fn what_a_list_names_is_refused_and_nothing_else() {
    let world = World::new();
    let list = Some(Arc::new(world.read(&world.list(7)).unwrap()));
    let check = |token: &str| {
        let how = RevocationCheck::of(&list);
        verify_jwt_svid_not_revoked(token, "db", &world.bundle, how, NOW, Seconds(5)).map(|_| ())
    };
    assert_eq!(check(&world.token(|_| {})), Ok(()));
    let by_jti = check(&world.token(|c| c["jti"] = "t1".into()));
    assert_eq!(
        by_jti,
        Err(JwtFault::Revoked(RevokedFault::Jti("t1".into())))
    );
    assert_eq!(check(&world.token(|c| c["jti"] = "t2".into())), Ok(()));
    let of = |id: &str, iat: Value| {
        check(&world.token(|c| {
            c["sub"] = format!("spiffe://f.test/{id}").into();
            c["iat"] = iat;
        }))
    };
    let (before, after) = (json!(NOW.0), json!(NOW.0 + 1));
    assert!(matches!(
        of("old", before.clone()),
        Err(JwtFault::Revoked(RevokedFault::Issued { .. }))
    ));
    assert_eq!(of("old", after.clone()), Ok(()), "issued later is good");
    assert!(
        of("old", json!(NOW.0 as f64 + 0.9)).is_err(),
        "within the same second"
    );
    assert!(matches!(
        of("gone", after),
        Err(JwtFault::Revoked(RevokedFault::Id(_)))
    ));
    assert!(of("gone", before).is_err());
    let undated = world.token(|c| {
        c["sub"] = "spiffe://f.test/old".into();
        c.as_object_mut().unwrap().remove("iat");
    });
    assert!(
        check(&undated).is_err(),
        "what does not say when is as old as anything"
    );
}

#[test]
fn a_revoked_certificate_of_the_chain_is_refused() {
    let root = Ca::of("f.test");
    let mut params = ca_params("f.test", "middle");
    params.serial_number = Some(vec![0x31; 18].into());
    let middle = root.intermediate(params);
    let leaf = middle.leaf(&leaf_params("spiffe://f.test/web"));
    let bundle = bundle("f.test", &[&root.der]);
    let chain: [&[u8]; 2] = [&leaf, &middle.der];
    let check = |what: Option<Revoked>| {
        let entries = what.map(|what| revoke(what, NOW, Some(NOW.plus(Seconds(60)))));
        let list = Revocations::of(&list_of(entries.into_iter().collect(), 1));
        let list = Some(Arc::new(list));
        let how = RevocationCheck::of(&list);
        verify_x509_svid_not_revoked(&chain, &bundle, how, NOW).map(|_| ())
    };
    assert_eq!(check(None), Ok(()));
    let serial = |byte| Revoked::Serial(CertificateSerial::new(&[byte; 18]));
    assert_eq!(check(Some(serial(0x2b))), Ok(()));
    for byte in [0x2a, 0x31] {
        let refused = check(Some(serial(byte)));
        assert!(matches!(
            refused,
            Err(X509Fault::Revoked(RevokedFault::Serial(_)))
        ));
    }
    let id = SpiffeId::parse("spiffe://f.test/web").unwrap();
    assert!(check(Some(Revoked::Id(id))).is_err(), "it began before");
}

#[test]
fn a_list_that_is_missing_or_old_refuses_only_when_it_must_be_fresh() {
    let world = World::new();
    let token = world.token(|_| {});
    let known = Some(Arc::new(world.read(&world.list(1)).unwrap()));
    let check = |list: &Option<Arc<Revocations>>, required, max_age, after| {
        let how = RevocationCheck {
            lists: list,
            required,
            max_age,
        };
        let now = NOW.plus(Seconds(after));
        verify_jwt_svid_not_revoked(&token, "db", &world.bundle, how, now, Seconds(5)).map(|_| ())
    };
    assert_eq!(check(&None, false, None, 0), Ok(()));
    let required = check(&None, true, None, 0);
    assert_eq!(
        required,
        Err(JwtFault::Revoked(RevokedFault::NoList(td("f.test"))))
    );
    assert_eq!(check(&known, true, None, 200), Ok(()));
    assert_eq!(check(&known, true, Some(Seconds(200)), 200), Ok(()));
    let stale = check(&known, true, Some(Seconds(199)), 200);
    assert!(matches!(
        stale,
        Err(JwtFault::Revoked(RevokedFault::Stale { age: 200, .. }))
    ));
}

#[test]
fn a_scoped_token_is_refused_like_any_other() {
    let world = World::new();
    let list = Some(Arc::new(world.read(&world.list(1)).unwrap()));
    let check = |jti: &str, id: &str, iat: i64| {
        let claims = json!({ "iat": iat });
        let token = ScopedToken {
            profile: TokenProfile::JwtSvid,
            spiffe_id: SpiffeId::parse(id).unwrap(),
            expires_at: NOW.plus(Seconds(60)),
            jti: Some(jti.to_owned()),
            permissions: std::collections::BTreeSet::new(),
            authorization_details: Vec::new(),
            confirmation: None,
            proof: None,
            claims: claims.as_object().unwrap().clone(),
        };
        RevocationCheck::of(&list).scoped(&token, NOW)
    };
    let (web, old) = ("spiffe://f.test/web", "spiffe://f.test/old");
    assert_eq!(check("t2", web, NOW.0), Ok(()));
    assert!(check("t1", web, NOW.0).is_err());
    assert!(check("t2", old, NOW.0).is_err());
    assert_eq!(check("t2", old, NOW.0 + 1), Ok(()));
}

#[test]
fn only_a_list_that_its_trust_domain_signed_is_believed() {
    let world = World::new();
    let good = world.list(1);
    assert!(world.read(&good).is_ok());
    let stranger = JwtKey::new(KeyType::EcP256);
    let refused = [
        signed(&stranger, &header(), &claims(1)),
        signed(
            &world.key,
            &json!({"alg": "ES256", "kid": "k2", "typ": TYPE}),
            &claims(1),
        ),
        signed(
            &world.key,
            &json!({"alg": "RS256", "kid": "k1", "typ": TYPE}),
            &claims(1),
        ),
        signed(
            &world.key,
            &json!({"alg": "none", "kid": "k1", "typ": TYPE}),
            &claims(1),
        ),
        signed(
            &world.key,
            &json!({"alg": "ES256", "kid": "k1", "typ": TYPE, "crit": []}),
            &claims(1),
        ),
        // A token is no list, whoever signed it, and a list is no token.
        signed(&world.key, &good_header("ES256"), &claims(1)),
        world.token(|_| {}),
        String::new(),
        "a.b.c".to_owned(),
        format!("{good}."),
        format!("{}.{}.", b64(header().to_string()), b64("{}")),
    ];
    for list in &refused {
        assert!(world.read(list).is_err(), "{list}");
    }
    let as_token = verify::verify_jwt_svid(&good, "db", &world.bundle, NOW, Seconds(5));
    assert!(matches!(as_token, Err(JwtFault::Header(_))));
    let mut tainted = Bundle::clone(&world.bundle);
    tainted.jwt_authorities[0].tainted = true;
    assert_eq!(
        Revocations::read(&good, &tainted, None),
        Err(RevocationListFault::Tainted("k1".into()))
    );
    let mut other = Bundle::clone(&world.bundle);
    other.trust_domain = td("g.test");
    assert!(Revocations::read(&good, &other, None).is_err());
}

#[test]
fn a_list_is_read_whole_or_not_at_all() {
    let world = World::new();
    let read = |change: fn(&mut Value)| {
        let mut claims = claims(1);
        change(&mut claims);
        world.read(&signed(&world.key, &header(), &claims))
    };
    let bad: [fn(&mut Value); 12] = [
        |c| c["sequence"] = json!("7"),
        |c| c["sequence"] = json!(-1),
        |c| c["iat"] = Value::Null,
        |c| c["iss"] = json!("spiffe://g.test"),
        |c| c["serials"] = json!({}),
        |c| c["serials"][0] = json!({"serial": "no hex"}),
        |c| c["serials"][0] = json!("2a"),
        |c| c["jtis"][0] = json!({"jti": ""}),
        |c| c["ids"][0] = json!({"spiffe_id": "spiffe://g.test/x", "issued_until": 1}),
        |c| c["ids"][0] = json!({"spiffe_id": "spiffe://f.test/x"}),
        |c| c["ids"][1]["until_lifted"] = json!("true"),
        |c| {
            c["jtis"] = (0..=verify::MAX_LIST_ENTRIES)
                .map(|n| json!({"jti": n.to_string()}))
                .collect();
        },
    ];
    for (n, change) in bad.into_iter().enumerate() {
        assert!(read(change).is_err(), "{n}");
    }
    let known = read(|c| c["more"] = json!("of a later version")).unwrap();
    assert_eq!((known.sequence(), known.len()), (1, 4));
    let twice = read(|c| {
        c["ids"] = json!([
            {"spiffe_id": "spiffe://f.test/x", "issued_until": 5, "until_lifted": true},
            {"spiffe_id": "spiffe://f.test/x", "issued_until": 9},
        ]);
    });
    let id = SpiffeId::parse("spiffe://f.test/x").unwrap();
    assert!(twice.unwrap().bars(&id), "revoked by both");
}

#[test]
fn an_older_list_takes_nothing_back() {
    let world = World::new();
    let held = world.read(&world.list(7)).unwrap();
    for sequence in [0, 6, 7] {
        let again = Revocations::read(&world.list(sequence), &world.bundle, Some(&held));
        assert_eq!(
            again,
            Err(RevocationListFault::NotNewer { sequence, held: 7 })
        );
    }
    let newer = Revocations::read(&world.list(8), &world.bundle, Some(&held));
    assert_eq!(newer.unwrap().sequence(), 8);
    let kept = Revocations::reread(&world.list(7), &td("f.test"));
    assert_eq!(
        kept,
        Ok(held),
        "what was believed before is read again without its key"
    );
}
