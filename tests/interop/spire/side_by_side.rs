//! Two servers of one trust domain: the authorities of each in the bundle of both.

use std::path::Path;

use bulla_tests::{Domain, now};
use identity::{Bundle, TrustDomain, X509AuthorityCertificate};
use spiffe::X509Svid;

use super::stock::StockAgent;

/// Adds each server's authorities to the other's bundle.
pub(super) fn join_bundles(domain: &Domain, spire: &Path) {
    let spire = spire.to_str().unwrap();
    let show = ["bundle", "show", "--format", "spiffe"];
    let ours = domain.admin(show).ok().out;
    let theirs = domain.admin([&show[..], &["--admin-socket", spire]].concat());
    let [ours, theirs] =
        [("ours.json", ours), ("theirs.json", theirs.ok().out)].map(|(name, text)| {
            std::fs::write(domain.path(name), text).unwrap();
            domain.path(name).to_str().unwrap().to_owned()
        });
    let _ = domain.admin(["bundle", "append", &theirs]).ok();
    let append = ["bundle", "append", &ours, "--admin-socket", spire];
    let _ = domain.admin(append).ok();
}

/// Checks that what an agent tells its workloads to trust covers an SVID.
pub(super) async fn trusts(agent: &StockAgent, svid: &X509Svid) {
    let client = agent.workload_api().await;
    let bundles = client.fetch_x509_bundles().await.unwrap();
    let bundle = bundles.get(svid.spiffe_id().trust_domain()).unwrap();
    let authorities = bundle.authorities().iter();
    let authorities = authorities.map(|der| X509AuthorityCertificate {
        der: der.as_bytes().into(),
        tainted: false,
    });
    let mut trusted = Bundle::empty(TrustDomain::parse(Domain::NAME).unwrap());
    trusted.x509_authorities = authorities.collect();
    let chain = svid.cert_chain().iter();
    let chain: Vec<&[u8]> = chain.map(|der| der.as_bytes()).collect();
    let verified = verify::verify_x509_svid(&chain, &trusted, now()).unwrap();
    assert_eq!(verified.spiffe_id.as_str(), svid.spiffe_id().to_string());
}
