//! Entries for admins: batches answer item by item, masks and filters are obeyed.

use api::entry::{
    BatchCreateEntryRequest, BatchDeleteEntryRequest, BatchUpdateEntryRequest, CountEntriesRequest,
    GetEntryRequest, ListEntriesRequest, batch_create_entry_response, list_entries_request,
};
use api::types::{EntryMask, SelectorMatch, selector_match::MatchBehavior};
use records::{AuditKind, AuditOutcome};
use tonic::Code;

use super::*;

async fn create(
    clients: &mut Clients,
    entries: Vec<types::Entry>,
) -> Vec<batch_create_entry_response::Result> {
    let request = BatchCreateEntryRequest {
        entries,
        output_mask: None,
    };
    clients
        .entries
        .batch_create_entry(request)
        .await
        .unwrap()
        .into_inner()
        .results
}

/// Entries that are refused, with a part of what is said.
fn refused_entries(good: &types::Entry) -> Vec<(types::Entry, &'static str)> {
    vec![
        (
            types::Entry {
                spiffe_id: None,
                ..good.clone()
            },
            "entry.spiffe_id",
        ),
        (
            types::Entry {
                spiffe_id: wire_id("web"),
                ..good.clone()
            },
            "entry.spiffe_id",
        ),
        (
            types::Entry {
                spiffe_id: wire_id("/spire/server"),
                ..good.clone()
            },
            "/spire/",
        ),
        (
            types::Entry {
                selectors: Vec::new(),
                ..good.clone()
            },
            "no selectors",
        ),
        (
            types::Entry {
                selectors: vec![wire_selector("a:b", "c")],
                ..good.clone()
            },
            "entry.selectors",
        ),
        (
            types::Entry {
                id: "a b".into(),
                ..good.clone()
            },
            "entry.id",
        ),
        (
            types::Entry {
                x509_svid_ttl: -1,
                ..good.clone()
            },
            "entry.x509_svid_ttl",
        ),
        (
            types::Entry {
                dns_names: vec!["127.0.0.1".into()],
                ..good.clone()
            },
            "DNS name",
        ),
        (
            types::Entry {
                spiffe_id: Some(types::Spiffeid {
                    trust_domain: "other.test".into(),
                    path: "/web".into(),
                }),
                ..good.clone()
            },
            "other.test",
        ),
    ]
}

#[tokio::test]
async fn each_item_of_a_batch_has_its_own_outcome() {
    let rig = Rig::memory().await;
    let parent = rig.id("/spire/agent/join_token/a");
    let mut admin = connect(&rig, Who::Local).await;
    let good = wire_entry(&parent, "web");
    let bad = refused_entries(&good);
    let mut batch = vec![good.clone(), good.clone()];
    batch.extend(bad.iter().map(|(entry, _)| entry.clone()));
    let results = create(&mut admin, batch).await;
    assert_eq!(code(results[0].status.as_ref()), Code::Ok);
    // The same again, even within one batch: it exists, and is answered.
    assert_eq!(code(results[1].status.as_ref()), Code::AlreadyExists);
    assert_eq!(results[1].entry, results[0].entry);
    for (result, (entry, part)) in results[2..].iter().zip(&bad) {
        let status = result.status.as_ref().unwrap();
        assert_eq!(code(Some(status)), Code::InvalidArgument, "{entry:?}");
        assert!(status.message.contains(part), "{part}: {}", status.message);
    }
    assert_eq!(rig.server.state.registry().counts().entries, 1);
    assert_eq!(rig.count(AuditKind::EntryCreate, AuditOutcome::Granted), 1);
    assert_eq!(
        rig.count(AuditKind::EntryCreate, AuditOutcome::Refused),
        bad.len()
    );
}

#[tokio::test]
async fn a_batch_has_a_limit() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let ids = (0..501).map(|n| n.to_string()).collect();
    let error = admin
        .entries
        .batch_delete_entry(BatchDeleteEntryRequest { ids })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("500"), "{error}");
}

#[tokio::test]
async fn updates_take_masked_fields_and_deletes_answer_each_id() {
    let rig = Rig::memory().await;
    let parent = rig.id("/spire/agent/join_token/a");
    let mut admin = connect(&rig, Who::Local).await;
    let made = create(&mut admin, vec![wire_entry(&parent, "web")])
        .await
        .remove(0)
        .entry
        .unwrap();
    let change = types::Entry {
        id: made.id.clone(),
        hint: "internal".into(),
        ..Default::default()
    };
    let unknown = types::Entry {
        id: "nope".into(),
        ..Default::default()
    };
    let request = BatchUpdateEntryRequest {
        entries: vec![change, unknown],
        input_mask: Some(EntryMask {
            hint: true,
            ..Default::default()
        }),
        output_mask: None,
    };
    let results = admin
        .entries
        .batch_update_entry(request)
        .await
        .unwrap()
        .into_inner()
        .results;
    let expected = types::Entry {
        hint: "internal".into(),
        revision_number: 1,
        ..made.clone()
    };
    assert_eq!(results[0].entry, Some(expected));
    assert_eq!(code(results[1].status.as_ref()), Code::NotFound);

    let ids = vec![made.id.clone(), "a b".into(), made.id.clone()];
    let request = BatchDeleteEntryRequest { ids: ids.clone() };
    let results = admin
        .entries
        .batch_delete_entry(request)
        .await
        .unwrap()
        .into_inner()
        .results;
    let codes: Vec<_> = results.iter().map(|r| code(r.status.as_ref())).collect();
    assert_eq!(codes, [Code::Ok, Code::InvalidArgument, Code::NotFound]);
    assert_eq!(results.into_iter().map(|r| r.id).collect::<Vec<_>>(), ids);
    let get = GetEntryRequest {
        id: made.id,
        output_mask: None,
    };
    assert_eq!(
        admin.entries.get_entry(get).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn lists_are_filtered_masked_and_paged() {
    let rig = Rig::memory().await;
    let parent = rig.id("/spire/agent/join_token/a");
    let mut admin = connect(&rig, Who::Local).await;
    let entries = (0..25).map(|n| types::Entry {
        selectors: vec![wire_selector("unix", &format!("uid:{}", n % 5))],
        ..wire_entry(&parent, &format!("w{n}"))
    });
    create(&mut admin, entries.collect()).await;
    let by_selector = |text: &str| list_entries_request::Filter {
        by_selectors: Some(SelectorMatch {
            selectors: vec![wire_selector("unix", text)],
            r#match: MatchBehavior::MatchExact.into(),
        }),
        // What stock tools always send.
        by_downstream: Some(false),
        ..Default::default()
    };
    let mut token = String::new();
    let mut seen = Vec::new();
    loop {
        let request = ListEntriesRequest {
            filter: Some(by_selector("uid:3")),
            output_mask: Some(EntryMask {
                spiffe_id: true,
                ..Default::default()
            }),
            page_size: 2,
            page_token: token,
        };
        let page = admin
            .entries
            .list_entries(request)
            .await
            .unwrap()
            .into_inner();
        assert!(page.entries.len() <= 2);
        assert!(
            page.entries
                .iter()
                .all(|entry| entry.selectors.is_empty() && entry.spiffe_id.is_some())
        );
        seen.extend(page.entries.into_iter().map(|entry| entry.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let whole = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((whole, seen.len()), (5, 5));
}

#[tokio::test]
async fn no_page_size_asks_for_all_and_odd_requests_are_refused() {
    let rig = Rig::memory().await;
    let parent = rig.id("/spire/agent/join_token/a");
    let mut admin = connect(&rig, Who::Local).await;
    let entries = (0..25).map(|n| wire_entry(&parent, &format!("w{n}")));
    create(&mut admin, entries.collect()).await;
    // Nothing is allocated by a client's number.
    for page_size in [0, -1, i32::MAX] {
        let request = ListEntriesRequest {
            page_size,
            ..Default::default()
        };
        let page = admin
            .entries
            .list_entries(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            (page.entries.len(), page.next_page_token.as_str()),
            (25, "")
        );
    }
    let bad_token = ListEntriesRequest {
        page_token: "no token".into(),
        ..Default::default()
    };
    assert_eq!(
        admin
            .entries
            .list_entries(bad_token)
            .await
            .unwrap_err()
            .code(),
        Code::InvalidArgument
    );
    let count = admin
        .entries
        .count_entries(CountEntriesRequest { filter: None })
        .await
        .unwrap();
    assert_eq!(count.into_inner().count, 25);
    let nothing_to_compare = ListEntriesRequest {
        filter: Some(list_entries_request::Filter {
            by_selectors: Some(SelectorMatch::default()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let error = admin
        .entries
        .list_entries(nothing_to_compare)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn d7_what_is_stored_elsewhere_has_selectors_of_one_type() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let mut entry = types::Entry {
        spiffe_id: wire_id("/stored"),
        parent_id: wire_id("/node"),
        selectors: vec![wire_selector("a", "1"), wire_selector("b", "2")],
        store_svid: true,
        ..Default::default()
    };
    let refused = create(&mut admin, vec![entry.clone()]).await.remove(0);
    assert_eq!(code(refused.status.as_ref()), Code::InvalidArgument);
    let why = refused.status.unwrap().message;
    assert!(why.contains("one type"), "{why}");
    entry.selectors = vec![wire_selector("a", "1"), wire_selector("a", "2")];
    let made = create(&mut admin, vec![entry.clone()]).await.remove(0);
    assert_eq!(code(made.status.as_ref()), Code::Ok, "{:?}", made.status);
}

/// The controller manager creates and deletes this at start, and switches features
/// off that the answer does not echo.
#[tokio::test]
async fn the_controller_managers_probe_is_echoed() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let id = wire_id("/spire-controller-manager/unsupported-fields-test");
    let probe = types::Entry {
        spiffe_id: id.clone(),
        parent_id: id,
        selectors: vec![wire_selector("a", "1")],
        x509_svid_ttl: 60,
        jwt_svid_ttl: 60,
        store_svid: true,
        hint: "hint".into(),
        ..Default::default()
    };
    let result = create(&mut admin, vec![probe.clone()]).await.remove(0);
    assert_eq!(
        code(result.status.as_ref()),
        Code::Ok,
        "{:?}",
        result.status
    );
    let echoed = result.entry.unwrap();
    let expected = types::Entry {
        id: echoed.id.clone(),
        created_at: echoed.created_at,
        ..probe
    };
    assert_eq!(echoed, expected);
    let ids = vec![echoed.id];
    let deleted = admin
        .entries
        .batch_delete_entry(BatchDeleteEntryRequest { ids })
        .await
        .unwrap();
    let results = deleted.into_inner().results;
    assert_eq!(code(results[0].status.as_ref()), Code::Ok);
}

#[tokio::test]
async fn d4_a_lifetime_beyond_the_longest_is_remarked_on() {
    let rig = Rig::memory().await;
    let parent = rig.id("/spire/agent/join_token/a");
    let mut admin = connect(&rig, Who::Local).await;
    let long = types::Entry {
        jwt_svid_ttl: 7_200,
        ..wire_entry(&parent, "web")
    };
    let made = create(&mut admin, vec![long, wire_entry(&parent, "db")]).await;
    let said = |n: usize| made[n].status.clone().unwrap();
    assert_eq!(said(0).code, 0);
    assert_eq!(
        said(0).message,
        "OK; jwt_svid_ttl is 7200 s, but SVIDs live at most 3600 s (svid.max_jwt_ttl)"
    );
    assert_eq!(said(1).message, "OK");
}
