//! What the cache costs a call: opening and closing streams, pushing a renewal,
//! matching; and what a view weighs. `cargo bench -p workload`
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench measures time and prints"
)]

use std::sync::Arc;
use std::time::Instant;

use identity::{
    Bundle, Entry, EntryFields, EntryId, PrivateKeyDer, Selector, Selectors, SpiffeId, Timestamp,
    TrustDomain, X509AuthorityCertificate, X509Svid,
};
use workload::{Cache, Issued, Jitter, Limits, Update};

const ENTRIES: u32 = 1_000;
const NOW: Timestamp = Timestamp(1_000_000);

fn main() {
    let td = TrustDomain::parse("example.org").unwrap();
    let mut cache = filled(&td);
    let callers: Vec<Selectors> = (0..ENTRIES).map(caller).collect();

    let one = callers.first().unwrap();
    per_call("matching                ", 200_000, |_| {
        cache.matching(one, NOW).len()
    });
    let _ = cache.subscribe(one, NOW).unwrap();
    per_call("stream of a known caller", 200_000, |_| {
        let (view, _) = cache.subscribe(one, NOW).unwrap();
        let state = cache.x509(view);
        cache.unsubscribe(view);
        state
    });
    let next = |n: u32| callers.get(usize::try_from(n % ENTRIES).unwrap()).unwrap();
    per_call("stream of a new caller  ", 100_000, |n| {
        let (view, _) = cache.subscribe(next(n), NOW).unwrap();
        let state = cache.x509(view);
        cache.unsubscribe(view);
        state
    });

    let before = resident_kib();
    for caller in &callers {
        let _ = cache.subscribe(caller, NOW).unwrap();
    }
    let grown = (resident_kib() - before) * 1024 / callers.len();
    println!("a distinct view          {grown} bytes resident, without its encoding");

    let entries: Vec<Arc<Entry>> = cache.entries().cloned().collect();
    let mut at = entries.iter().cycle();
    per_call("renewal to its view     ", 100_000, |_| {
        let entry = at.next().unwrap();
        cache.store_x509(entry, issued(entry), Jitter::NONE, NOW)
    });
    per_call("new bundle to 1000 views", 200, |n| {
        let own = bundle(&td, u8::try_from(n % 251).unwrap());
        cache.apply(
            Update::Bundles {
                own,
                federated: Vec::new(),
            },
            NOW,
        )
    });
}

fn per_call<T>(what: &str, calls: u32, mut call: impl FnMut(u32) -> T) {
    let started = Instant::now();
    for n in 0..calls {
        std::hint::black_box(call(n));
    }
    println!("{what} {:?}", started.elapsed() / calls);
}

/// Entry n is for uid n.
fn filled(td: &TrustDomain) -> Cache {
    let mut cache = Cache::new(Limits::default());
    let own = bundle(td, 0);
    let _ = cache.apply(
        Update::Bundles {
            own,
            federated: Vec::new(),
        },
        NOW,
    );
    let entries = (0..ENTRIES).map(|n| entry(td, n)).collect();
    let _ = cache.apply(Update::Snapshot(entries), NOW);
    for entry in cache.take_due(NOW, usize::MAX) {
        let _ = cache.store_x509(&entry, issued(&entry), Jitter::NONE, NOW);
    }
    cache
}

fn caller(n: u32) -> Selectors {
    let texts = [
        format!("unix:uid:{n}"),
        format!("unix:gid:{n}"),
        format!("unix:user:user-{n}"),
        format!("unix:group:group-{n}"),
        format!("unix:supplementary_gid:{n}"),
        "unix:path:/usr/bin/service".to_owned(),
    ];
    let one = |text: &String| Selector::parse(text).unwrap();
    Selectors::new(texts.iter().map(one).collect()).unwrap()
}

fn entry(td: &TrustDomain, n: u32) -> Arc<Entry> {
    let uid = Selector::parse(&format!("unix:uid:{n}")).unwrap();
    let fields = EntryFields {
        id: EntryId::in_order(i64::from(n), 0, [0; 8]),
        spiffe_id: SpiffeId::new(td, &format!("/service-{n}")).unwrap(),
        parent_id: SpiffeId::new(td, "/spire/agent/join_token/0").unwrap(),
        selectors: Selectors::new(vec![uid]).unwrap(),
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
        created_at: NOW,
        disable_x509_prefetch: false,
        jwt_include_jti: false,
    };
    Arc::new(Entry::new(fields, td).unwrap())
}

fn issued(entry: &Entry) -> Arc<Issued> {
    Arc::new(Issued {
        svid: X509Svid {
            spiffe_id: entry.spiffe_id.clone(),
            chain: vec![[0; 600].into()],
            not_before: NOW,
            not_after: Timestamp(NOW.0 + 3_600),
        },
        key: PrivateKeyDer::new(&[0; 138]),
        received_at: NOW,
    })
}

fn bundle(td: &TrustDomain, mark: u8) -> Arc<Bundle> {
    let mut bundle = Bundle::empty(td.clone());
    let der = [mark; 600].into();
    bundle.x509_authorities = vec![X509AuthorityCertificate {
        der,
        tainted: false,
    }];
    Arc::new(bundle)
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
