//! What admins change: how soon a waiting workload sees it, and how much at once.

use std::time::Instant;

use api::entry::entry_client::EntryClient;
use api::entry::{BatchCreateEntryRequest, BatchDeleteEntryRequest};
use api::types::{Entry, Selector};
use api::workload::X509svidResponse;
use bulla_tests::Domain;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::figures::Figure;
use crate::observed::Observed;
use crate::workloads::stream;
use bulla_tests::{unix, wire_id};

/// Entries created and deleted before the eyes of an open stream.
const SEEN: u32 = 200;
/// Entries created as fast as can be, and how many at a time.
const MANY: u32 = 50_000;
const BATCH: u32 = 500;

pub(crate) async fn measure(domain: &Domain) {
    let admin = unix(&domain.admin_socket()).await;
    propagation(domain, &admin).await;
    load(domain, &admin).await;
}

fn entry(path: &str, parent: &str, selector: &str) -> Entry {
    Entry {
        spiffe_id: Some(wire_id(path)),
        parent_id: Some(wire_id(parent)),
        selectors: vec![Selector {
            r#type: "unix".into(),
            value: selector.into(),
        }],
        ..Entry::default()
    }
}

/// Creates an entry for this process; gives its id.
pub(crate) async fn create(admin: &Channel, path: &str, parent: &str) -> String {
    let selector = format!("uid:{}", nix::unistd::getuid());
    let ids = create_all(admin, vec![entry(path, parent, &selector)]).await;
    ids.into_iter().next().unwrap()
}

async fn create_all(admin: &Channel, entries: Vec<Entry>) -> Vec<String> {
    let request = BatchCreateEntryRequest {
        entries,
        ..BatchCreateEntryRequest::default()
    };
    let mut client = EntryClient::new(admin.clone());
    let answer = client.batch_create_entry(request).await.unwrap();
    let results = answer.into_inner().results.into_iter();
    results.map(|result| result.entry.unwrap().id).collect()
}

/// Waits until the stream's newest message has an identity, or no longer has it.
async fn wait(stream: &mut Streaming<X509svidResponse>, id: &str, has: bool) {
    loop {
        let message = stream.message().await.unwrap().unwrap();
        if message.svids.iter().any(|svid| svid.spiffe_id == id) == has {
            return;
        }
    }
}

async fn propagation(domain: &Domain, admin: &Channel) {
    let mut client = EntryClient::new(admin.clone());
    let mut stream = stream(&unix(&domain.workload_socket()).await)
        .await
        .unwrap();
    stream.message().await.unwrap();
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for n in 0..SEEN {
        let path = format!("/seen/{n}");
        let begun = Instant::now();
        let id = create(admin, &path, "/node").await;
        wait(&mut stream, &domain.id(&path), true).await;
        added.push(begun.elapsed());
        let begun = Instant::now();
        let request = BatchDeleteEntryRequest { ids: vec![id] };
        client.batch_delete_entry(request).await.unwrap();
        wait(&mut stream, &domain.id(&path), false).await;
        removed.push(begun.elapsed());
    }
    Figure::of("entry created or deleted to seen on a waiting stream")
        .with_latencies_named("created_", added)
        .with_latencies_named("deleted_", removed)
        .print();
}

async fn load(domain: &Domain, admin: &Channel) {
    let server = Observed::server(domain);
    let (memory, _) = server.memory_kib();
    let (cpu, start) = (server.cpu_seconds(), Instant::now());
    for first in (0..MANY).step_by(usize::try_from(BATCH).unwrap()) {
        let entries = (first..first + BATCH).map(|n| {
            // Two on each of many nodes.
            let (path, parent) = (
                format!("/ns/{}/sa/{n}", n % 97),
                format!("/fleet/{}", n / 2),
            );
            entry(&path, &parent, &format!("uid:{}", 1000 + n))
        });
        create_all(admin, entries.collect()).await;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let cpu = server.cpu_seconds() - cpu;
    let (after, _) = server.memory_kib();
    Figure::of("entries created in batches of 500")
        .with("entries", MANY.into())
        .with("per_s", f64::from(MANY) / elapsed)
        .with_text("process", server.name)
        .with("per_cpu_s", f64::from(MANY) / cpu)
        .with("kib_each", (after - memory) / f64::from(MANY))
        .print();
}
