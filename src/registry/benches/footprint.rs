//! What 100,000 entries cost: memory, and the time of each operation.
//! `cargo bench -p registry`
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench measures time and prints"
)]

use std::sync::Arc;
use std::time::Instant;

use identity::{
    CertificateSerial, Entry, EntryFields, EntryId, Node, Selector, Selectors, SpiffeId, Timestamp,
    TrustDomain,
};
use registry::{Change, Registry};

const ENTRIES: usize = 100_000;
const AGENTS: usize = 1_000;

fn main() {
    let td = TrustDomain::parse("example.org").unwrap();
    let agents: Vec<SpiffeId> = (0..AGENTS)
        .map(|n| SpiffeId::new(&td, &format!("/spire/agent/join_token/{n:032x}")).unwrap())
        .collect();
    let mut registry = Registry::new(td.clone());
    for id in &agents {
        let _ = registry.apply(Change::PutNode(node(id)));
    }
    let before = resident_kib();
    let started = Instant::now();
    let mut making = std::time::Duration::ZERO;
    for n in 0..ENTRIES {
        let making_one = Instant::now();
        let parent = agents.get(n % AGENTS).unwrap();
        let entry = Arc::new(Entry::new(fields(&td, parent, n), &td).unwrap());
        making += making_one.elapsed();
        let _ = registry.apply(Change::PutEntry(entry));
    }
    let applied = started.elapsed().saturating_sub(making);
    println!("{ENTRIES} entries under {AGENTS} agents");
    println!("memory       {} KiB more resident", resident_kib() - before);
    println!(
        "apply        {:?} each",
        applied / u32::try_from(ENTRIES).unwrap()
    );
    let agent = agents.first().unwrap();
    let now = Timestamp(1);
    let view = registry.authorised(agent, now);
    per_call("authorised   ", 1_000, || {
        registry.authorised(agent, now).len()
    });
    let id = &view.last().unwrap().id;
    per_call("is_authorised", 100_000, || {
        registry.is_authorised(agent, id, now).is_some()
    });
    let other = agents.last().unwrap();
    per_call("is not       ", 100_000, || {
        registry.is_authorised(other, id, now).is_none()
    });
    println!("({} entries a view)", view.len());
}

fn per_call<T>(what: &str, calls: u32, mut call: impl FnMut() -> T) {
    let started = Instant::now();
    for _ in 0..calls {
        std::hint::black_box(call());
    }
    println!("{what} {:?} each", started.elapsed() / calls);
}

fn fields(td: &TrustDomain, parent: &SpiffeId, n: usize) -> EntryFields {
    let n_bytes = u64::try_from(n)
        .unwrap()
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .to_be_bytes();
    EntryFields {
        id: EntryId::in_order(i64::try_from(n).unwrap(), 0, n_bytes),
        spiffe_id: SpiffeId::new(td, &format!("/ns/prod/sa/service-{n}")).unwrap(),
        // Parsed anew, as a decoder does: sharing is the registry's doing.
        parent_id: SpiffeId::parse(parent.as_str()).unwrap(),
        selectors: Selectors::new(vec![
            Selector::new("unix", &format!("uid:{}", 1000 + n)).unwrap(),
            Selector::new("unix", "path:/usr/bin/service").unwrap(),
        ])
        .unwrap(),
        x509_ttl: None,
        jwt_ttl: None,
        federates_with: Vec::new(),
        admin: false,
        downstream: false,
        expires_at: None,
        dns_names: Vec::new(),
        revision: 0,
        store_svid: false,
        hint: String::new(),
        created_at: Timestamp(0),
        disable_x509_prefetch: false,
        jwt_include_jti: false,
    }
}

fn node(id: &SpiffeId) -> Arc<Node> {
    Arc::new(Node {
        id: id.clone(),
        attestor: "join_token".into(),
        selectors: Selectors::default(),
        serial: CertificateSerial::new(&[1]),
        expires_at: Timestamp(1),
        next: None,
        banned: false,
        can_reattest: false,
        agent_version: String::new(),
        attested_at: Timestamp(0),
    })
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
