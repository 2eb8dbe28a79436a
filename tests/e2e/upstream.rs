//! An authority above the server, with real processes; and what a server below one
//! may not do there.

use std::process::Command;
use std::sync::Arc;

use api::agent::CountAgentsRequest;
use api::agent::agent_client::AgentClient;
use api::svid::NewDownstreamX509caRequest;
use api::svid::svid_client::SvidClient;
use bulla_tests::{Domain, Ran, Settings, now};
use channel::{ChannelOptions, Expect, LiveBundles, LiveIdentity, client_config, tls_channel};
use identity::{Bundle, PrivateKeyDer, SpiffeId, TrustDomain, X509AuthorityCertificate};
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use spiffe::WorkloadApiClient;
use tonic::Code;
use tonic::transport::Channel;

/// A root and, below it, an issuing CA, as openssl makes them, in a folder.
fn make_ca(folder: &std::path::Path) {
    let script = "
        set -e
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out root.key
        openssl req -x509 -new -key root.key -days 3650 -subj '/CN=Root' -out root.pem \
            -addext 'keyUsage=critical,keyCertSign,cRLSign'
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key
        chmod 0600 ca.key
        openssl req -new -key ca.key -subj '/CN=Issuing CA' -out ca.csr
        printf 'basicConstraints=critical,CA:true,pathlen:1\nkeyUsage=critical,keyCertSign\n\
subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' > ca.ext
        openssl x509 -req -in ca.csr -CA root.pem -CAkey root.key -CAcreateserial \
            -days 365 -extfile ca.ext -out ca.pem";
    let mut command = Command::new("bash");
    let _ = Ran::of(command.args(["-c", script]).current_dir(folder)).ok();
}

/// The root of openssl's is the root of everything: what a workload is given, what the
/// server shows, what is written to files.
#[test]
fn a_ca_in_files_stands_above_all_that_is_served() {
    let folder = tempfile::tempdir().unwrap();
    make_ca(folder.path());
    let at = |name: &str| folder.path().join(name);
    let domain = Domain::start_with(Settings {
        server: format!(
            "[upstream.disk]\ncertificate_file = {:?}\nkey_file = {:?}\nbundle_file = {:?}\n",
            at("ca.pem"),
            at("ca.key"),
            at("root.pem")
        ),
        ..Settings::default()
    });
    domain.register("/service", []);
    domain.await_svid("/service");
    let files = domain.path("files");
    let _ = domain
        .fetch(["x509", "--write", files.to_str().unwrap()])
        .ok();
    let openssl = |args: &[&str]| {
        let mut command = Command::new("openssl");
        Ran::of(command.args(args).current_dir(&files)).ok().out
    };
    let root = at("root.pem");
    let root = root.to_str().unwrap();
    let chain = [
        "verify",
        "-x509_strict",
        "-untrusted",
        "svid.pem",
        "-CAfile",
        root,
        "svid.pem",
    ];
    assert!(openssl(&chain).contains("svid.pem: OK"));
    let theirs = openssl(&["x509", "-in", root]);
    assert_eq!(openssl(&["x509", "-in", "bundle.pem"]), theirs);
    let svid = std::fs::read_to_string(files.join("svid.pem")).unwrap();
    assert_eq!(svid.matches("BEGIN CERTIFICATE").count(), 3);
    // The server's own TLS: openssl asks, and follows what is shown to the root.
    let port = domain.port();
    let ask = format!(
        "openssl s_client -connect 127.0.0.1:{port} -alpn h2 -CAfile {root} -verify_return_error \
         < /dev/null"
    );
    let mut command = Command::new("bash");
    let shown = Ran::of(command.args(["-c", &ask])).ok().out;
    assert!(shown.contains("Verify return code: 0"), "{shown}");
    let status = domain.admin(["keys", "status", "--json"]).ok().json();
    assert_eq!(status["upstream"]["kind"], "disk");
    assert_eq!(status["upstream"]["problem"], "");
    assert_eq!(domain.audit("ca_x509")[0]["result"], "granted");
}

/// A workload of the domain's agent, connected to the server.
async fn connect(domain: &Domain, chain: &[Vec<u8>], key: &[u8]) -> Channel {
    let client = WorkloadApiClient::connect_to(&domain.endpoint())
        .await
        .unwrap();
    let bundles = client.fetch_x509_bundles().await.unwrap();
    let td = spiffe::TrustDomain::new(Domain::NAME).unwrap();
    let mut bundle = Bundle::empty(TrustDomain::parse(Domain::NAME).unwrap());
    let theirs = bundles.get(&td).unwrap();
    let roots = theirs.authorities().iter();
    let roots = roots.map(|der| X509AuthorityCertificate {
        der: der.as_bytes().into(),
        tainted: false,
    });
    bundle.x509_authorities = roots.collect();
    let live = LiveBundles::empty();
    live.set(Arc::new(bundle));
    let chain: Vec<Arc<[u8]>> = chain.iter().map(|der| der.as_slice().into()).collect();
    let identity = LiveIdentity::empty();
    identity.set(&chain, &PrivateKeyDer::new(key)).unwrap();
    let expect = Expect {
        server: SpiffeId::parse(&domain.id("/spire/server")).unwrap(),
        bundles: live,
    };
    let clock = channel::Clock::new(now);
    let config = client_config(Some(identity), expect, clock).unwrap();
    let address = format!("127.0.0.1:{}", domain.port());
    tls_channel(&address, config, &ChannelOptions::default())
        .await
        .unwrap()
}

async fn count_agents(channel: Channel) -> Result<i32, Code> {
    let counted = AgentClient::new(channel)
        .count_agents(CountAgentsRequest::default())
        .await;
    counted
        .map(|answer| answer.into_inner().count)
        .map_err(|status| status.code())
}

/// A downstream authority can name anybody in the trust domain. Above it, that opens
/// nothing: not as an administrator, and not as an agent.
#[tokio::test]
async fn what_a_downstream_authority_signs_opens_nothing_above() {
    let domain = Domain::start();
    domain.register("/nested", ["--downstream"]);
    domain.register("/admin", ["--admin-workload"]);
    domain.await_svid("/admin");
    let client = WorkloadApiClient::connect_to(&domain.endpoint())
        .await
        .unwrap();
    let svids = client.fetch_all_x509_svids().await.unwrap();
    let of = |path: &str| {
        let id = domain.id(path);
        let svid = svids
            .iter()
            .find(|svid| svid.spiffe_id().to_string() == id)
            .unwrap();
        let chain = svid.cert_chain().iter().map(|der| der.as_bytes().to_vec());
        (
            chain.collect::<Vec<_>>(),
            svid.private_key().as_bytes().to_vec(),
        )
    };
    let (chain, key) = of("/admin");
    let real = connect(&domain, &chain, &key).await;
    assert_eq!(count_agents(real.clone()).await, Ok(1));
    let not_downstream = SvidClient::new(real)
        .new_downstream_x509ca(NewDownstreamX509caRequest::default())
        .await;
    assert_eq!(not_downstream.unwrap_err().code(), Code::PermissionDenied);

    let (chain, key) = of("/nested");
    let nested = connect(&domain, &chain, &key).await;
    assert_eq!(
        count_agents(nested.clone()).await,
        Err(Code::PermissionDenied)
    );
    let ca_key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default()
        .serialize_request(&ca_key)
        .unwrap();
    let mut nested = SvidClient::new(nested);
    let answer = nested.new_downstream_x509ca(NewDownstreamX509caRequest {
        csr: csr.der().to_vec().into(),
        preferred_ttl: 600,
    });
    let answer = answer.await.unwrap().into_inner();
    let ca = answer.ca_cert_chain.first().unwrap().to_vec();
    let (_, parsed) = x509_parser::parse_x509_certificate(&ca).unwrap();
    let constraints = parsed.basic_constraints().unwrap().unwrap().value;
    assert_eq!(
        (constraints.ca, constraints.path_len_constraint),
        (true, Some(0))
    );
    let life = parsed.validity().not_after.timestamp() - now().0;
    assert!((590..=600).contains(&life), "{life}");

    for path in ["/admin", "/spire/agent/join_token/00"] {
        let (leaf, forged_key) = forge(&domain.id(path), &ca, &ca_key);
        let forged = connect(&domain, &[leaf, ca.clone()], forged_key.serialized_der()).await;
        assert_eq!(
            count_agents(forged).await,
            Err(Code::PermissionDenied),
            "{path}"
        );
    }
}

/// A leaf with any name, signed by a downstream authority.
fn forge(id: &str, ca: &[u8], ca_key: &KeyPair) -> (Vec<u8>, KeyPair) {
    let (_, parsed) = x509_parser::parse_x509_certificate(ca).unwrap();
    let forged_key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::default();
    leaf.not_after = rcgen::date_time_ymd(1970, 1, 1)
        + std::time::Duration::from_secs(u64::try_from(now().0 + 300).unwrap());
    let uri = id.try_into().unwrap();
    leaf.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    leaf.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let issuer = issuer_of(parsed.subject(), ca_key);
    let leaf = leaf.signed_by(&forged_key, &issuer).unwrap().der().to_vec();
    (leaf, forged_key)
}

/// An issuer with the name that our server gave it.
fn issuer_of<'k>(
    name: &x509_parser::x509::X509Name<'_>,
    key: &'k KeyPair,
) -> Issuer<'static, &'k KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for attribute in name.iter_attributes() {
        let oid: Vec<u64> = attribute.attr_type().iter().unwrap().collect();
        let value = attribute.as_str().unwrap().try_into().unwrap();
        let kind = match oid.as_slice() {
            [2, 5, 4, 6] => rcgen::DnType::CountryName,
            [2, 5, 4, 10] => rcgen::DnType::OrganizationName,
            other => rcgen::DnType::CustomDnType(other.to_vec()),
        };
        params
            .distinguished_name
            .push(kind, rcgen::DnValue::PrintableString(value));
    }
    Issuer::new(params, key)
}
