//! Name constraints on URIs: RFC 5280 section 4.2.1.10, X509-SVID section 4.2. The
//! second opinion is openssl's.

use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, CustomExtension, SanType};
use verify::{X509Fault, verify_x509_svid};

use crate::kit::{
    Ca, DNS, NOW, URI, bundle, ca_params, constraints, constraints_of, leaf_params, san,
};

fn constrained(name: &str, extension: CustomExtension) -> CertificateParams {
    let mut params = ca_params("f.test", name);
    params.custom_extensions.push(extension);
    params
}

/// A leaf of that trust domain below an intermediate with those constraints.
fn below(extension: CustomExtension, trust_domain: &str) -> Result<(), X509Fault> {
    let root = Ca::of("f.test");
    let middle = root.intermediate(constrained("middle", extension));
    let leaf = middle.leaf(&leaf_params(&format!("spiffe://{trust_domain}/web")));
    let bundle = bundle(trust_domain, &[&root.der]);
    verify_x509_svid(&[&leaf, &middle.der], &bundle, NOW).map(|_| ())
}

const OUTSIDE: &str = "a name lies outside an authority's constraints";

fn path_fault(what: &str) -> Result<(), X509Fault> {
    Err(X509Fault::Path(what.to_owned()))
}

/// An irrelevant authority beside the chain changed who judged it: webpki, or our own
/// search where somebody constrains URIs. Whoever presents a chain chose that way.
#[test]
fn a12_an_added_certificate_does_not_choose_the_judge() {
    let root = Ca::of("f.test");
    let stranger = Ca::root(constrained(
        "stranger",
        constraints(&[(URI, "f.test")], &[]),
    ));
    let middle = root.intermediate(constrained("middle", constraints(&[(DNS, "f.test")], &[])));
    let mut outside = leaf_params("spiffe://f.test/web");
    let name = "web.other.test".to_owned().try_into().unwrap();
    outside.subject_alt_names.push(SanType::DnsName(name));
    let bundle = bundle("f.test", &[&root.der]);
    for params in [outside, leaf_params("spiffe://f.test/web")] {
        let leaf = middle.leaf(&params);
        let alone = verify_x509_svid(&[&leaf, &middle.der], &bundle, NOW).map(|_| ());
        let added = [&leaf[..], &middle.der, &stranger.der];
        let added = verify_x509_svid(&added, &bundle, NOW).map(|_| ());
        assert_eq!(alone, added);
    }
}

/// Permitted, excluded, trust domain, verdict.
const CASES: &[(&[&str], &[&str], &str, bool)] = &[
    (&["f.test"], &[], "f.test", true),
    (&["f.test"], &[], "web.f.test", false),
    (&["f.test"], &[], "other.test", false),
    (&["f.test"], &[], "xf.test", false),
    (&["f.test"], &[], "f.test.evil", false),
    (&["F.TEST"], &[], "f.test", true),
    (&[".f.test"], &[], "web.f.test", true),
    (&[".f.test"], &[], "a.b.f.test", true),
    (&[".f.test"], &[], "f.test", false),
    (&[".f.test"], &[], "xf.test", false),
    (&["other.test", "f.test"], &[], "f.test", true),
    (&["f.test", ".f.test"], &[], "web.f.test", true),
    (&[], &["f.test"], "f.test", false),
    (&[], &["f.test"], "other.test", true),
    (&[], &["f.test"], "web.f.test", true),
    (&[], &[".f.test"], "web.f.test", false),
    (&[], &[".f.test"], "f.test", true),
    (&[".f.test"], &["web.f.test"], "db.f.test", true),
    (&[".f.test"], &["web.f.test"], "web.f.test", false),
    (&["my_td"], &[], "my_td", true),
    (&["prod"], &[], "prod", true),
];

fn uris<'a>(bases: &[&'a str]) -> Vec<(u8, &'a str)> {
    bases.iter().map(|base| (URI, *base)).collect()
}

#[test]
fn a_constraint_is_a_host_or_with_a_dot_all_below_a_domain() {
    for (permitted, excluded, trust_domain, accepted) in CASES {
        let extension = constraints(&uris(permitted), &uris(excluded));
        let verdict = below(extension, trust_domain);
        let expected = if *accepted {
            Ok(())
        } else {
            path_fault(OUTSIDE)
        };
        assert_eq!(
            verdict, expected,
            "{permitted:?} {excluded:?} {trust_domain}"
        );
    }
}

/// RFC 5280 refuses what is no fully qualified name; so do we on either side.
#[test]
fn what_is_no_host_name_is_refused_under_a_constraint() {
    for trust_domain in ["10.0.0.1", "a..b", "f.test.", ".f.test"] {
        let excluded = constraints(&[], &[(URI, "other.test")]);
        assert_eq!(
            below(excluded, trust_domain),
            path_fault(OUTSIDE),
            "{trust_domain}"
        );
    }
    for base in [
        "spiffe://f.test",
        "f.test/web",
        "",
        "f.test.",
        "10.0.0.1",
        "*.test",
    ] {
        for extension in [
            constraints(&[(URI, base)], &[]),
            constraints(&[(URI, "f.test")], &[(URI, base)]),
        ] {
            let unread = path_fault("a name constraint cannot be read");
            assert_eq!(below(extension, "f.test"), unread, "{base}");
        }
    }
}

#[test]
fn malformed_constraints_are_refused() {
    let subtree = [0x30, 8, 0x86, 6, b'f', b'.', b't', b'e', b's', b't'];
    let list = |tag, more: &[u8]| {
        let length = u8::try_from(subtree.len() + more.len()).unwrap();
        [&[tag, length], &subtree[..], more].concat()
    };
    assert_eq!(
        below(constraints_of(&list(0xa0, &[])), "f.test"),
        Ok(()),
        "the good one"
    );
    let with_minimum = [&[0xa0, 13, 0x30, 11][..], &subtree[2..], &[0x80, 1, 0]].concat();
    for (what, content) in [
        ("empty", Vec::new()),
        ("empty lists", vec![0xa0, 0, 0xa1, 0]),
        ("a minimum", with_minimum),
        ("cut", list(0xa0, &[0x30])),
        ("no sequence", list(0xa0, &[0x31, 0])),
        ("an unknown list", list(0xa2, &[])),
        ("twice", [list(0xa0, &[]), list(0xa0, &[])].concat()),
        ("out of order", [list(0xa1, &[]), list(0xa0, &[])].concat()),
        ("no base", list(0xa0, &[0x30, 0])),
    ] {
        assert!(below(constraints_of(&content), "f.test").is_err(), "{what}");
    }
}

#[test]
fn critical_or_not_in_a_root_or_below_it_holds() {
    let refused = path_fault(OUTSIDE);
    for is_critical in [true, false] {
        let mut extension = constraints(&[(URI, "other.test")], &[]);
        extension.set_criticality(is_critical);
        assert_eq!(below(extension.clone(), "f.test"), refused);
        let root = Ca::root(constrained("root", extension));
        let leaf = root.leaf(&leaf_params("spiffe://f.test/web"));
        let verdict = verify_x509_svid(&[&leaf], &bundle("f.test", &[&root.der]), NOW);
        assert_eq!(verdict.map(|_| ()), refused);
    }
    let root = Ca::root(constrained("root", constraints(&[(URI, "f.test")], &[])));
    let middle = root.intermediate(ca_params("f.test", "middle"));
    let lower = middle.intermediate(constrained("lower", constraints(&[(URI, "f.test")], &[])));
    let leaf = lower.leaf(&leaf_params("spiffe://f.test/web"));
    let bundle = bundle("f.test", &[&root.der]);
    for chain in [
        [&leaf, &lower.der, &middle.der],
        [&leaf, &middle.der, &lower.der],
    ] {
        let chain = chain.map(Vec::as_slice);
        assert!(verify_x509_svid(&chain, &bundle, NOW).is_ok());
    }
    // An intermediate's own URI is below its issuers, too.
    let stray = root.intermediate(ca_params("other.test", "stray"));
    let leaf = stray.leaf(&leaf_params("spiffe://f.test/web"));
    let verdict = verify_x509_svid(&[&leaf, &stray.der], &bundle, NOW);
    assert_eq!(verdict.map(|_| ()), refused);
}

#[test]
fn an_authority_that_is_not_needed_constrains_nothing() {
    let root = Ca::of("f.test");
    let wrong = Ca::root(constrained(
        "root",
        constraints(&[(URI, "other.test")], &[]),
    ));
    let middle = root.intermediate(ca_params("f.test", "middle"));
    let unneeded = root.intermediate(constrained(
        "unneeded",
        constraints(&[(URI, "other.test")], &[]),
    ));
    let leaf = middle.leaf(&leaf_params("spiffe://f.test/web"));
    let bundle = bundle("f.test", &[&wrong.der, &root.der]);
    let verdict = verify_x509_svid(&[&leaf, &unneeded.der, &middle.der], &bundle, NOW);
    assert!(verdict.is_ok(), "{verdict:?}");
    // And the same key certified twice: the certificate that allows the name is found.
    let mut narrow = constrained("middle", constraints(&[(URI, "other.test")], &[]));
    narrow.serial_number = Some(vec![7].into());
    let narrow = root.sign(&narrow, &middle.pair);
    for order in [[&narrow, &middle.der], [&middle.der, &narrow]] {
        let verdict = verify_x509_svid(&[&leaf, order[0], order[1]], &bundle, NOW);
        assert!(verdict.is_ok(), "{verdict:?}");
    }
    let verdict = verify_x509_svid(&[&leaf, &narrow], &bundle, NOW);
    assert_eq!(verdict.map(|_| ()), path_fault(OUTSIDE));
}

#[test]
fn other_kinds_beside_uris_are_compared_or_refused() {
    let check = |more: (u8, &str), name: Option<SanType>| {
        let extension = constraints(&[(URI, "f.test"), more], &[]);
        let root = Ca::root(constrained("root", extension));
        let mut params = leaf_params("spiffe://f.test/web");
        params.subject_alt_names.extend(name);
        let leaf = root.leaf(&params);
        verify_x509_svid(&[&leaf], &bundle("f.test", &[&root.der]), NOW).is_ok()
    };
    let dns = |name: &str| Some(SanType::DnsName(name.to_owned().try_into().unwrap()));
    assert!(check((DNS, "f.test"), None));
    assert!(check((DNS, "f.test"), dns("web.f.test")));
    assert!(!check((DNS, "f.test"), dns("other.test")));
    assert!(
        !check((DNS, "f.test"), dns("*.f.test")),
        "wildcards are refused"
    );
    let ip = || Some(SanType::IpAddress([10, 0, 0, 1].into()));
    let network = "\u{a}\0\0\0\u{7f}\0\0\0";
    assert!(check((7, network), None));
    assert!(
        !check((7, network), ip()),
        "addresses beside URIs are refused"
    );
    let mail = || Some(SanType::Rfc822Name("a@f.test".try_into().unwrap()));
    assert!(check((1, "f.test"), None));
    assert!(!check((1, "f.test"), mail()));
    assert!(!check((4, ""), None), "directory names are refused");
}

#[test]
fn the_search_is_bounded() {
    // Six authorities of one name, each certified by all others: many ways, none up.
    let stranger = Ca::of("f.test");
    let root = Ca::root(constrained("root", constraints(&[(URI, "f.test")], &[])));
    let cas: Vec<Ca> = (0..7)
        .map(|_| Ca::root(ca_params("f.test", "root")))
        .collect();
    let leaf = cas[0].leaf(&leaf_params("spiffe://f.test/web"));
    let mut chain = vec![&leaf[..]];
    chain.extend(cas.iter().map(|ca| &ca.der[..]));
    let bundle = bundle("f.test", &[&root.der, &stranger.der]);
    assert!(verify_x509_svid(&chain, &bundle, NOW).is_err());
    // As many names as fit a certificate, against as many constraints.
    let hosts: Vec<String> = (0..600).map(|n| format!("h{n}.test")).collect();
    let bases: Vec<(u8, &str)> = hosts.iter().map(|host| (URI, host.as_str())).collect();
    let root = Ca::root(constrained("root", constraints(&[], &bases)));
    let mut params = ca_params("f.test", "middle");
    params.subject_alt_names = (0..600)
        .map(|n| san(&format!("https://n{n}.test")))
        .collect();
    let middle = root.intermediate(params);
    let leaf = middle.leaf(&leaf_params("spiffe://f.test/web"));
    let verdict = verify_x509_svid(
        &[&leaf, &middle.der],
        &crate::kit::bundle("f.test", &[&root.der]),
        NOW,
    );
    let expected = path_fault("too many name constraints to compare");
    assert_eq!(verdict.map(|_| ()), expected);
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn openssl(folder: &Path, arguments: &str) -> bool {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(folder);
    command.output().unwrap().status.success()
}

#[test]
fn openssl_agrees_on_every_case() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, der: &[u8]| {
        std::fs::write(folder.path().join(name), pem(der)).unwrap();
    };
    for (permitted, excluded, trust_domain, accepted) in CASES {
        let extension = constraints(&uris(permitted), &uris(excluded));
        let root = Ca::of("f.test");
        let middle = root.intermediate(constrained("middle", extension));
        let leaf = middle.leaf(&leaf_params(&format!("spiffe://{trust_domain}/web")));
        write("root.pem", &root.der);
        write("middle.pem", &middle.der);
        write("leaf.pem", &leaf);
        let now = NOW.0;
        let arguments =
            format!("verify -attime {now} -CAfile root.pem -untrusted middle.pem leaf.pem");
        assert_eq!(
            openssl(folder.path(), &arguments),
            *accepted,
            "{permitted:?} {excluded:?} {trust_domain}"
        );
    }
}

const OPENSSL_CONFIG: &str = "
[ req ]
distinguished_name = name
[ name ]
[ ca ]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectAltName = URI:spiffe://f.test
subjectKeyIdentifier = hash
[ constrained ]
basicConstraints = critical,CA:true,pathlen:0
keyUsage = critical,keyCertSign
subjectAltName = URI:spiffe://f.test
nameConstraints = critical,permitted;URI:f.test,permitted;URI:.f.test,excluded;URI:no.f.test
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ inside ]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = URI:spiffe://f.test/web
[ below ]
keyUsage = critical,digitalSignature
subjectAltName = URI:spiffe://web.f.test/web
[ excluded ]
keyUsage = critical,digitalSignature
subjectAltName = URI:spiffe://no.f.test/web
";

/// Real certificates, made by openssl alone.
#[test]
fn chains_that_openssl_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("cnf"), OPENSSL_CONFIG).unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let run = |arguments: String| assert!(openssl(path, &arguments), "openssl {arguments}");
    let make = |name: &str, issuer: Option<&str>| {
        let file = issuer.map_or_else(String::new, |ca| format!(" -CA {ca}.pem -CAkey {ca}.key"));
        run(format!(
            "req -x509 -config cnf -extensions {name} {key} -keyout {name}.key -subj /CN={name} \
             -days 30 -out {name}.pem{file}"
        ));
        run(format!("x509 -in {name}.pem -outform DER -out {name}.der"));
        std::fs::read(path.join(format!("{name}.der"))).unwrap()
    };
    let root = make("ca", None);
    let middle = make("constrained", Some("ca"));
    for (name, trust_domain, accepted) in [
        ("inside", "f.test", true),
        ("below", "web.f.test", true),
        ("excluded", "no.f.test", false),
    ] {
        let leaf = make(name, Some("constrained"));
        let begin = verify::leaf_identity(&leaf).unwrap().not_before;
        let bundle = bundle(trust_domain, &[&root]);
        let verdict = verify_x509_svid(&[&leaf, &middle], &bundle, begin);
        assert_eq!(verdict.is_ok(), accepted, "{name}: {verdict:?}");
        let arguments = format!("verify -CAfile ca.pem -untrusted constrained.pem {name}.pem");
        assert_eq!(openssl(path, &arguments), accepted, "openssl on {name}");
    }
}
