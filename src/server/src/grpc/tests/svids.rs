//! Issuance: contents from the entry, keys from the caller, a status for each item
//! and a record for each decision.

use api::issuance::{IssueX509Request, issue_x509_request};
use api::svid::{
    BatchNewX509svidRequest, MintJwtsvidRequest, MintX509svidRequest, NewDownstreamX509caRequest,
    NewJwtsvidRequest, NewX509svidParams,
};
use bytes::Bytes;
use identity::X509Svid;
use rcgen::{CertificateParams, KeyPair, SanType};
use records::{AuditKind, AuditOutcome};
use tonic::Code;

use super::*;
use crate::rig::{ADMIN, csr};

fn params(entry_id: &str, csr: impl Into<Bytes>) -> NewX509svidParams {
    NewX509svidParams {
        entry_id: entry_id.into(),
        csr: csr.into(),
    }
}

fn csr_for(key: &KeyPair, sans: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = sans;
    params.serialize_request(key).unwrap().der().to_vec()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn received(svid: &types::X509svid) -> X509Svid {
    let id = svid.id.as_ref().unwrap();
    X509Svid {
        spiffe_id: SpiffeId::parse(&format!("spiffe://{}{}", id.trust_domain, id.path)).unwrap(),
        chain: svid
            .cert_chain
            .iter()
            .map(|der| der.as_ref().into())
            .collect(),
        not_before: Timestamp(0),
        not_after: Timestamp(svid.expires_at),
    }
}

#[tokio::test]
async fn a_batch_of_csrs_is_decided_item_by_item() {
    let rig = Rig::memory().await;
    let (mine, other) = (rig.agent().await, rig.agent().await);
    let web = rig
        .create(rig.entry_with(&mine.id, "web", |entry| entry.hint = "h".into()))
        .await;
    let db = rig.create(rig.entry(&other.id, "db")).await;
    let mut agent = connect(&rig, Who::agent(&mine)).await;
    // What a CSR asks for has no effect.
    let greedy = csr_for(
        &KeyPair::generate().unwrap(),
        vec![
            uri("spiffe://example.org/spire/server"),
            SanType::DnsName("evil.test".try_into().unwrap()),
        ],
    );
    let mut forged = csr();
    *forged.last_mut().unwrap() ^= 1;
    let request = BatchNewX509svidRequest {
        params: vec![
            params(web.id.as_str(), greedy),
            params(db.id.as_str(), csr()),
            params("unknown", csr()),
            params(web.id.as_str(), forged),
            params(web.id.as_str(), "no csr"),
            params("a b", csr()),
            params(web.id.as_str(), csr()),
        ],
    };
    let results = agent
        .svids
        .batch_new_x509svid(request)
        .await
        .unwrap()
        .into_inner()
        .results;
    let codes: Vec<_> = results.iter().map(|r| code(r.status.as_ref())).collect();
    use Code::{InvalidArgument, Ok, PermissionDenied};
    let expected = [
        Ok,
        PermissionDenied,
        PermissionDenied,
        InvalidArgument,
        InvalidArgument,
        InvalidArgument,
        Ok,
    ];
    assert_eq!(codes, expected);
    for result in [&results[0], &results[6]] {
        let svid = result.svid.as_ref().unwrap();
        assert_eq!(svid.hint, "h");
        let svid = received(svid);
        assert_eq!(svid.spiffe_id, web.spiffe_id);
        assert!(rig.verifies(&svid));
    }
    assert_eq!(rig.count(AuditKind::IssueX509, AuditOutcome::Granted), 2);
    assert_eq!(rig.count(AuditKind::IssueX509, AuditOutcome::Refused), 5);
}

#[tokio::test]
async fn vouched_keys_need_no_csr() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let web = rig.create(rig.entry(&node.id, "web")).await;
    let mut agent = connect(&rig, Who::agent(&node)).await;
    let item = |entry_id: &str, spki: Vec<u8>| issue_x509_request::Item {
        entry_id: entry_id.into(),
        spki: spki.into(),
    };
    let spki = |key: &KeyPair| rcgen::PublicKeyData::subject_public_key_info(key);
    let request = IssueX509Request {
        items: vec![
            item(web.id.as_str(), spki(&KeyPair::generate().unwrap())),
            item(
                web.id.as_str(),
                spki(&KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()),
            ),
            item("other", spki(&KeyPair::generate().unwrap())),
        ],
    };
    let results = agent
        .issuance
        .issue_x509(request)
        .await
        .unwrap()
        .into_inner()
        .results;
    let codes: Vec<_> = results.iter().map(|r| code(r.status.as_ref())).collect();
    assert_eq!(
        codes,
        [Code::Ok, Code::InvalidArgument, Code::PermissionDenied]
    );
    let svid = X509Svid {
        spiffe_id: web.spiffe_id.clone(),
        chain: results[0]
            .chain
            .iter()
            .map(|der| der.as_ref().into())
            .collect(),
        not_before: Timestamp(results[0].not_before),
        not_after: Timestamp(results[0].expires_at),
    };
    assert!(rig.verifies(&svid));
    let too_many = IssueX509Request {
        items: vec![item("x", Vec::new()); 501],
    };
    assert_eq!(
        agent
            .issuance
            .issue_x509(too_many)
            .await
            .unwrap_err()
            .code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_banned_agent_gets_nothing_more_on_its_open_connection() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let web = rig.create(rig.entry(&node.id, "web")).await;
    let mut agent = connect(&rig, Who::agent(&node)).await;
    let request = || NewJwtsvidRequest {
        entry_id: web.id.as_str().into(),
        audience: vec!["db".into()],
    };
    let svid = agent
        .svids
        .new_jwtsvid(request())
        .await
        .unwrap()
        .into_inner()
        .svid
        .unwrap();
    assert!(svid.issued_at > 0 && svid.issued_at < svid.expires_at);
    assert_eq!(svid.token.split('.').count(), 3);
    rig.server.attestation.ban(&ADMIN, &node.id).await.unwrap();
    let error = agent.svids.new_jwtsvid(request()).await.unwrap_err();
    assert_eq!(
        api::status::denial_reason(&error),
        Some(types::permission_denied_details::Reason::AgentBanned)
    );
}

#[tokio::test]
async fn tokens_need_an_audience_and_an_entry_of_the_agents_own() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let web = rig.create(rig.entry(&node.id, "web")).await;
    let mut agent = connect(&rig, Who::agent(&node)).await;
    let cases = [
        (web.id.as_str(), vec![], Code::InvalidArgument),
        (web.id.as_str(), vec![String::new()], Code::InvalidArgument),
        (
            web.id.as_str(),
            vec!["a".to_owned(); 10_000],
            Code::InvalidArgument,
        ),
        ("other", vec!["db".to_owned()], Code::PermissionDenied),
        ("a b", vec!["db".to_owned()], Code::InvalidArgument),
    ];
    for (entry_id, audience, expected) in cases {
        let asked = audience.len();
        let request = NewJwtsvidRequest {
            entry_id: entry_id.into(),
            audience,
        };
        let error = agent.svids.new_jwtsvid(request).await.unwrap_err();
        assert_eq!(error.code(), expected, "{entry_id} for {asked}: {error}");
    }
    assert_eq!(rig.count(AuditKind::IssueJwt, AuditOutcome::Refused), 5);
}

#[tokio::test]
async fn d6_minted_dns_names_keep_to_the_rules_of_entries() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let key = KeyPair::generate().unwrap();
    let mint = |names: &[&str]| {
        let dns = names
            .iter()
            .map(|name| SanType::DnsName((*name).try_into().unwrap()));
        let sans = std::iter::once(uri("spiffe://example.org/web")).chain(dns);
        MintX509svidRequest {
            csr: csr_for(&key, sans.collect()).into(),
            ttl: 60,
        }
    };
    for (names, part) in [
        (&["-bad-.example.org"][..], "-bad-.example.org"),
        (&["127.0.0.1"], "IP address"),
        (&["*.example.org", "a.example.org"], "stands for already"),
    ] {
        let error = admin.svids.mint_x509svid(mint(names)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{names:?}");
        assert!(error.message().contains(part), "{part}: {error}");
    }
    let doubled = mint(&["a.example.org", "a.example.org", "*.b.example.org"]);
    let minted = admin.svids.mint_x509svid(doubled).await.unwrap();
    let svid = received(&minted.into_inner().svid.unwrap());
    let (_, leaf) = x509_parser::parse_x509_certificate(&svid.chain[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let is_dns = |name: &&x509_parser::extensions::GeneralName<'_>| {
        matches!(name, x509_parser::extensions::GeneralName::DNSName(_))
    };
    assert_eq!(names.value.general_names.iter().filter(is_dns).count(), 2);
}

#[tokio::test]
async fn admins_mint_for_workloads_alone() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let key = KeyPair::generate().unwrap();
    let mint = |sans: Vec<SanType>, ttl: i32| MintX509svidRequest {
        csr: csr_for(&key, sans).into(),
        ttl,
    };
    let dns = || SanType::DnsName("web.test".try_into().unwrap());
    let minted = admin
        .svids
        .mint_x509svid(mint(vec![uri("spiffe://example.org/web"), dns()], -1))
        .await;
    let svid = received(&minted.unwrap().into_inner().svid.unwrap());
    assert!(rig.verifies(&svid));
    for (sans, part) in [
        (vec![], "exactly one SPIFFE ID"),
        (
            vec![uri("spiffe://example.org/a"), uri("spiffe://example.org/b")],
            "exactly one SPIFFE ID",
        ),
        (vec![uri("spiffe://example.org/spire/server")], "reserved"),
        (vec![uri("spiffe://other.test/web")], "other.test"),
        (vec![uri("https://example.org/web")], "csr"),
        (
            vec![
                uri("spiffe://example.org/web"),
                SanType::IpAddress([127, 0, 0, 1].into()),
            ],
            "neither a URI nor a DNS name",
        ),
    ] {
        let error = admin.svids.mint_x509svid(mint(sans, 0)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert_eq!(rig.count(AuditKind::MintX509, AuditOutcome::Refused), 6);

    let mint = |path: &str| MintJwtsvidRequest {
        id: wire_id(path),
        audience: vec!["db".into()],
        ttl: -5,
    };
    let svid = admin
        .svids
        .mint_jwtsvid(mint("/web"))
        .await
        .unwrap()
        .into_inner()
        .svid
        .unwrap();
    assert!(svid.expires_at > START.0);
    for path in ["/spire/agent/x/y", "web", ""] {
        let error = admin.svids.mint_jwtsvid(mint(path)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{path}");
    }
    // What this server does not do is said plainly, and to those alone who may ask.
    let error = admin
        .svids
        .new_downstream_x509ca(NewDownstreamX509caRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
}
