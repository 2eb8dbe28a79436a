//! Intermediates, one thing changed in each, name constraints above all.

use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    date_time_ymd,
};

use crate::kit::{DNS, URI, constraints};

pub(crate) fn uris(permitted: &[&'static str], excluded: &[&'static str]) -> CustomExtension {
    let tagged = |bases: &[&'static str]| -> Vec<(u8, &str)> {
        bases.iter().map(|base| (URI, *base)).collect()
    };
    constraints(&tagged(permitted), &tagged(excluded))
}

pub(crate) type Below = (&'static str, bool, &'static str, fn(&mut CertificateParams));

/// Intermediates above a good leaf, one thing changed.
pub(crate) const INTERMEDIATES: [Below; 17] = [
    ("middle", true, "one intermediate", |_| ()),
    ("middle-expired", false, "past its end", |p| {
        p.not_after = date_time_ymd(2026, 11, 23)
    }),
    ("middle-no-ca", false, "no authority", |p| {
        p.is_ca = IsCa::ExplicitNoCa
    }),
    (
        "middle-no-cert-sign",
        false,
        "may not sign certificates",
        |p| {
            p.key_usages = vec![KeyUsagePurpose::CrlSign];
        },
    ),
    (
        "middle-server-only",
        false,
        "its purposes lack clientAuth",
        |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        },
    ),
    ("permitted", true, "inside a URI constraint", |p| {
        p.custom_extensions.push(uris(&["f.test"], &[]));
    }),
    (
        "permitted-not-critical",
        true,
        "inside a URI constraint that is not critical",
        |p| {
            let mut extension = uris(&["f.test"], &[]);
            extension.set_criticality(false);
            p.custom_extensions.push(extension);
        },
    ),
    ("permitted-other", false, "outside a URI constraint", |p| {
        p.custom_extensions.push(uris(&["other.test"], &[]));
    }),
    (
        "permitted-other-not-critical",
        false,
        "outside one that is not critical",
        |p| {
            let mut extension = uris(&["other.test"], &[]);
            extension.set_criticality(false);
            p.custom_extensions.push(extension);
        },
    ),
    (
        "permitted-below",
        false,
        "a dot means all below the domain, not the domain",
        |p| {
            p.custom_extensions.push(uris(&[".f.test"], &[]));
        },
    ),
    (
        "permitted-parent",
        false,
        "without a dot it is one host alone",
        |p| {
            p.custom_extensions.push(uris(&["test"], &[]));
        },
    ),
    (
        "permitted-parents",
        true,
        "a dot means all below the domain",
        |p| {
            p.custom_extensions.push(uris(&[".test"], &[]));
        },
    ),
    ("excluded", false, "excluded", |p| {
        p.custom_extensions.push(uris(&[], &["f.test"]))
    }),
    ("excluded-other", true, "another is excluded", |p| {
        p.custom_extensions.push(uris(&[], &["other.test"]));
    }),
    (
        "permitted-and-excluded",
        false,
        "what is excluded stays so",
        |p| {
            p.custom_extensions.push(uris(&["f.test"], &["f.test"]));
        },
    ),
    (
        "constraint-with-scheme",
        false,
        "a constraint is a host name",
        |p| {
            p.custom_extensions.push(uris(&["spiffe://f.test"], &[]));
        },
    ),
    (
        "constraint-on-dns",
        true,
        "names of a kind the leaf has none of",
        |p| {
            p.custom_extensions
                .push(constraints(&[(DNS, "other.test")], &[]));
        },
    ),
];
