//! Whose key verifies what, and for how long: keys of others never verify access
//! tokens, and go with the entry that published them.

use axum::body::Body;
use identity::Revoked;
use tower::ServiceExt as _;

use super::*;
use crate::state::EntryEdit;

async fn web_keys(rig: &Rig) -> String {
    let router = crate::listeners::public::router(Arc::clone(&rig.server));
    let request = Request::get("/keys").body(Body::empty()).unwrap();
    let answer = router.oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20)
        .await
        .unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn s3_access_tokens_are_verified_by_the_servers_own_keys_alone() {
    let rig = Rig::memory().await;
    let (_, mut nested) = below(&rig, "nested").await;
    let mine = spki(&rig);
    let access = rig
        .server
        .authorities
        .access()
        .unwrap()
        .key_id()
        .to_string();
    let end = START.0 + DAY;
    // Not under the access key's id, and not under the id of its successor.
    assert_eq!(
        publish(&mut nested, key(&access, &mine, end)).await,
        Err(Code::AlreadyExists)
    );
    let next = rig
        .server
        .authorities
        .prepare(&ADMIN, AuthorityProfile::Access)
        .await
        .unwrap();
    assert_eq!(
        publish(&mut nested, key(&next.id, &mine, end)).await,
        Err(Code::AlreadyExists)
    );
    let appended = append(&rig, &[], vec![key(&access, &mine, end)]).await;
    assert_eq!(appended, Err(Code::AlreadyExists));
    // Under an id of its own it verifies JWT-SVIDs, and no access tokens.
    publish(&mut nested, key("theirs", &mine, end))
        .await
        .unwrap();
    assert!(has(&rig, "theirs"));
    let keys = web_keys(&rig).await;
    assert!(!keys.contains("theirs"), "{keys}");
    assert_eq!(keys.matches(&access).count(), 1, "{keys}");
    let jwt = rig.server.authorities.jwt().unwrap().key_id().to_string();
    assert_eq!(keys.matches(&jwt).count(), 1, "{keys}");
    let bundle = bundle(&rig);
    let kids: Vec<_> = bundle.access_keys.iter().map(|key| &*key.key_id).collect();
    assert_eq!(kids, [&*access, &*next.id]);
}

#[tokio::test]
async fn s3_nobody_takes_the_key_id_of_another_downstream_server() {
    let rig = Rig::memory().await;
    let (_, mut nested) = below(&rig, "nested").await;
    let (_, mut other) = below(&rig, "other").await;
    let mine = spki(&rig);
    let end = START.0 + DAY;
    publish(&mut nested, key("theirs", &mine, end))
        .await
        .unwrap();
    for spki in [spki(&rig), mine.clone()] {
        let again = publish(&mut other, key("theirs", &spki, end)).await;
        assert_eq!(again, Err(Code::AlreadyExists));
    }
    publish(&mut nested, key("theirs", &mine, end))
        .await
        .unwrap();
    assert_eq!(
        append(&rig, &[], vec![key("theirs", &mine, end)]).await,
        Ok(())
    );
}

#[tokio::test]
async fn s3_a_downstream_key_goes_with_the_entry_that_published_it() {
    let rig = Rig::memory().await;
    let end = START.0 + DAY;
    let mut lost = Vec::new();
    for name in ["deleted", "ordinary", "revoked", "kept"] {
        let (entry, mut nested) = below(&rig, name).await;
        publish(&mut nested, key(name, &spki(&rig), end))
            .await
            .unwrap();
        lost.push(entry);
    }
    let before = bundle(&rig);
    let state = &rig.server.state;
    let deleted = state.delete_entries(&ADMIN, vec![lost[0].id.clone()]).await;
    assert!(deleted.iter().all(Result::is_ok));
    assert!(!has(&rig, "deleted"));
    let ordinary: EntryEdit = Box::new(|mut fields| {
        fields.downstream = false;
        Ok(fields)
    });
    let edits = vec![(lost[1].id.clone(), ordinary)];
    assert!(
        state
            .update_entries(&ADMIN, edits)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert!(!has(&rig, "ordinary"));
    let what = Revoked::Id(lost[2].spiffe_id.clone());
    let order = crate::revocation::Order {
        what,
        reason: "it was taken over".to_owned(),
        until_lifted: false,
        force: true,
    };
    rig.server.revocations.revoke(&ADMIN, &order).await.unwrap();
    assert!(!has(&rig, "revoked"));
    assert!(has(&rig, "kept"));
    assert!(
        bundle(&rig).sequence >= before.sequence + 3,
        "agents hear of it"
    );
    // The records go too; an entry of the same name later brings nothing back.
    let shown = bundle(&rig).sequence;
    rig.server.authorities.drop_orphans().await.unwrap();
    assert_eq!(rig.server.state.trust_records().len(), 1);
    assert!(bundle(&rig).sequence > shown);
    let rig = rig.restart_in_memory(60).await.unwrap();
    assert!(has(&rig, "kept") && !has(&rig, "deleted"));
}
