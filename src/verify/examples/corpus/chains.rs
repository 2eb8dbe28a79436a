//! X.509 chains. All are signed with RSA, whose signatures come out the same each time.

use keys::KeyType;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use serde_json::{Value, json};

use crate::intermediates::{INTERMEDIATES, uris};
use crate::kit::{Ca, NOW, ca_params, leaf_params, san};
use crate::{key, pem, write, write_index};

const ID: &str = "spiffe://f.test/web";

/// One case of the index.
#[derive(Clone)]
struct Case {
    name: &'static str,
    accept: bool,
    why: &'static str,
    roots: Vec<Vec<u8>>,
    chain: Vec<Vec<u8>>,
}

fn pair(name: &str, key_type: KeyType) -> KeyPair {
    KeyPair::try_from(&key(name, key_type)[..]).unwrap()
}

fn root_of(mut params: CertificateParams, key_name: &str) -> Ca {
    params.serial_number = Some(SerialNumber::from(1));
    let pair = pair(key_name, KeyType::Rsa2048);
    let der = params.self_signed(&pair).unwrap().der().to_vec();
    Ca { params, pair, der }
}

fn root() -> Ca {
    root_of(ca_params("f.test", "root"), "root")
}

fn below(issuer: &Ca, mut params: CertificateParams, key_name: &str) -> Ca {
    params.serial_number = Some(SerialNumber::from(2));
    let pair = pair(key_name, KeyType::Rsa2048);
    let der = issuer.sign(&params, &pair);
    Ca { params, pair, der }
}

fn leaf(issuer: &Ca, edit: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = leaf_params(ID);
    edit(&mut params);
    issuer.sign(&params, &pair("leaf", KeyType::EcP256))
}

type Edit = fn(&mut CertificateParams);

/// Leaves below the root, one thing changed.
const LEAVES: [(&str, bool, &str, Edit); 21] = [
    ("good", true, "as it should be", |_| ()),
    ("dns-name", true, "names of other kinds are free", |p| {
        let name = SanType::DnsName("web.f.test".try_into().unwrap());
        p.subject_alt_names.push(name);
    }),
    ("no-eku", true, "extended key usage may be absent", |p| {
        p.extended_key_usages.clear();
    }),
    ("two-ids", false, "two URIs", |p| {
        p.subject_alt_names.push(san("spiffe://f.test/b"))
    }),
    ("url-beside", false, "two URIs", |p| {
        p.subject_alt_names.insert(0, san("https://f.test"))
    }),
    ("no-uri", false, "no URI", |p| p.subject_alt_names.clear()),
    ("url", false, "not a SPIFFE ID", |p| {
        p.subject_alt_names = vec![san("https://f.test/web")]
    }),
    ("no-path", false, "an ID without a path", |p| {
        p.subject_alt_names = vec![san("spiffe://f.test")];
    }),
    ("slash", false, "a trailing slash", |p| {
        p.subject_alt_names = vec![san("spiffe://f.test/")]
    }),
    ("upper-case", false, "a trust domain in upper case", |p| {
        p.subject_alt_names = vec![san("spiffe://F.test/web")];
    }),
    (
        "other-domain",
        false,
        "of a trust domain that is not the root's",
        |p| {
            p.subject_alt_names = vec![san("spiffe://other.test/web")];
        },
    ),
    ("ca", false, "may sign certificates", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
    }),
    ("cert-sign", false, "key usage keyCertSign", |p| {
        p.key_usages.push(KeyUsagePurpose::KeyCertSign);
    }),
    ("crl-sign", false, "key usage cRLSign", |p| {
        p.key_usages.push(KeyUsagePurpose::CrlSign)
    }),
    ("server-only", false, "no clientAuth", |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }),
    ("client-only", false, "no serverAuth", |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    }),
    ("expired", false, "past its end", |p| {
        p.not_after = date_time_ymd(2026, 11, 23)
    }),
    ("not-yet", false, "before its start", |p| {
        p.not_before = date_time_ymd(2026, 11, 25)
    }),
    (
        "unknown-critical",
        false,
        "a critical extension nobody knows",
        |p| {
            let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            extension.set_criticality(true);
            p.custom_extensions.push(extension);
        },
    ),
    (
        "unknown",
        true,
        "an extension nobody knows and anybody may skip",
        |p| {
            p.custom_extensions
                .push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]));
        },
    ),
    ("long-path", true, "an ID of 2048 bytes", |p| {
        p.subject_alt_names = vec![san(&format!("spiffe://f.test/{}", "a".repeat(2032)))];
    }),
];

fn case(
    name: &'static str,
    accept: bool,
    why: &'static str,
    roots: &[&Ca],
    chain: &[&[u8]],
) -> Case {
    Case {
        name,
        accept,
        why,
        roots: roots.iter().map(|ca| ca.der.clone()).collect(),
        chain: chain.iter().map(|der| der.to_vec()).collect(),
    }
}

/// Several intermediates.
fn long() -> Vec<Case> {
    let root = root();
    let middle = below(&root, ca_params("f.test", "middle"), "middle");
    let lower = below(&middle, ca_params("f.test", "lower"), "lower");
    let good = leaf(&lower, |_| ());
    let mut zero = ca_params("f.test", "middle");
    zero.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let zero = below(&root, zero, "middle");
    let under = below(&zero, ca_params("f.test", "lower"), "lower");
    let low = leaf(&under, |_| ());
    let too_long: [&[u8]; 3] = [&low, &under.der, &zero.der];
    vec![
        case(
            "two-intermediates",
            true,
            "in order",
            &[&root],
            &[&good, &lower.der, &middle.der],
        ),
        case(
            "out-of-order",
            true,
            "in any order",
            &[&root],
            &[&good, &middle.der, &lower.der],
        ),
        case(
            "gap",
            false,
            "an intermediate is missing",
            &[&root],
            &[&good, &lower.der],
        ),
        case(
            "path-length",
            false,
            "too many authorities",
            &[&root],
            &too_long,
        ),
    ]
}

/// Roots of all kinds above one leaf.
fn roots() -> Vec<Case> {
    let root = root();
    let plain = leaf(&root, |_| ());
    let chain: &[&[u8]] = &[&plain];
    let stranger = root_of(ca_params("f.test", "root"), "stranger");
    let mut expired = ca_params("f.test", "root");
    expired.not_after = date_time_ymd(2026, 11, 23);
    let expired = root_of(expired, "root");
    let mut narrow = ca_params("f.test", "root");
    narrow.custom_extensions.push(uris(&["other.test"], &[]));
    let narrow = root_of(narrow, "root");
    let mut flipped = plain.clone();
    *flipped.last_mut().unwrap() ^= 1;
    vec![
        case(
            "no-root",
            false,
            "the trust domain has no authority",
            &[],
            chain,
        ),
        case(
            "stranger",
            false,
            "a root of the same name",
            &[&stranger],
            chain,
        ),
        case(
            "two-roots",
            true,
            "one of two roots signed",
            &[&stranger, &root],
            chain,
        ),
        case(
            "root-expired",
            false,
            "the root is past its end",
            &[&expired],
            chain,
        ),
        case(
            "root-constrained",
            false,
            "outside the root's constraint",
            &[&narrow],
            chain,
        ),
        case(
            "root-either",
            true,
            "one root allows it",
            &[&narrow, &root],
            chain,
        ),
        case(
            "flipped",
            false,
            "the signature does not verify",
            &[&root],
            &[&flipped],
        ),
        case(
            "root-as-leaf",
            false,
            "an authority authenticates nobody",
            &[&root],
            &[&root.der],
        ),
    ]
}

pub(crate) fn write_all() {
    let root = root();
    let mut cases = [long(), roots()].concat();
    cases.extend(LEAVES.map(|(name, accept, why, edit)| Case {
        name,
        accept,
        why,
        roots: vec![root.der.clone()],
        chain: vec![leaf(&root, edit)],
    }));
    cases.extend(INTERMEDIATES.map(|(name, accept, why, edit)| {
        let mut params = ca_params("f.test", "middle");
        edit(&mut params);
        let middle = below(&root, params, "middle");
        let chain = vec![leaf(&middle, |_| ()), middle.der];
        let roots = vec![root.der.clone()];
        Case {
            name,
            accept,
            why,
            roots,
            chain,
        }
    }));
    let index: Vec<Value> = cases.iter().map(write_case).collect();
    write_index("chains.json", &index);
}

fn write_case(case: &Case) -> Value {
    let pems =
        |ders: &[Vec<u8>]| -> String { ders.iter().map(|der| pem("CERTIFICATE", der)).collect() };
    let (chain, roots) = (
        format!("chains/{}.pem", case.name),
        format!("chains/{}.roots.pem", case.name),
    );
    write(&chain, &pems(&case.chain));
    write(&roots, &pems(&case.roots));
    json!({
        "name": case.name, "accept": case.accept, "why": case.why, "now": NOW.0,
        "trust_domain": "f.test", "chain": chain, "roots": roots,
    })
}
