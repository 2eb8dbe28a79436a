//! Deltas add up to the view: whatever happens to the registry, a follower that
//! applied what it was sent holds what a fresh look would give.

use api::convert::entry_to_wire;
use identity::{EntryId, SpiffeId};
use registry::ViewDigest;

use super::sync::{Follower, hello};
use super::*;
use crate::rig::ADMIN;
use crate::state::EntryEdit;

/// A small fixed generator: the same story for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % most
    }
}

/// One change of the registry, of which some concern the agent.
async fn change(rig: &Rig, random: &mut Random, parents: &[SpiffeId]) {
    let ids: Vec<EntryId> = rig
        .server
        .state
        .registry()
        .entries()
        .map(|e| e.id.clone())
        .collect();
    let some = |random: &mut Random| ids.get(random.below(ids.len().max(1))).cloned();
    match (random.below(10), some(random)) {
        (0..=1, Some(id)) => {
            rig.server.state.delete_entries(&ADMIN, vec![id]).await;
        }
        (2..=3, Some(id)) => {
            let hint = format!("h{}", random.below(1000));
            let edit: EntryEdit = Box::new(move |mut fields| {
                fields.hint.clone_from(&hint);
                Ok(fields)
            });
            rig.server
                .state
                .update_entries(&ADMIN, vec![(id, edit)])
                .await;
        }
        (4, Some(id)) => {
            // To another parent: for the agent an entry comes or goes.
            let parent = parents[random.below(parents.len())].clone();
            let edit: EntryEdit = Box::new(move |mut fields| {
                fields.parent_id = parent.clone();
                Ok(fields)
            });
            rig.server
                .state
                .update_entries(&ADMIN, vec![(id, edit)])
                .await;
        }
        _ => {
            let parent = &parents[random.below(parents.len())];
            let entries = (0..=random.below(4)).map(|_| {
                let name = format!("w{}", random.below(1_000_000));
                rig.entry(parent, &name)
            });
            let entries = entries.collect();
            rig.server.state.create_entries(&ADMIN, entries).await;
        }
    }
}

#[tokio::test]
async fn deltas_add_up_to_the_view() {
    for seed in 1..=3 {
        let rig = Rig::memory().await;
        let node = rig.agent().await;
        let parents = [node.id.clone(), rig.agent().await.id, rig.id("/group")];
        // Through this entry the agent has what hangs under /group.
        rig.create(rig.entry(&node.id, "group")).await;
        let mut clients = connect(&rig, Who::agent(&node)).await;
        let mut follower = Follower::start(&mut clients, hello()).await.unwrap();
        let mut random = Random(seed);
        for step in 0..120 {
            change(&rig, &mut random, &parents).await;
            if step % 7 == 0 {
                assert!(
                    caught_up(&rig, &node, &mut follower).await,
                    "seed {seed}, step {step}"
                );
            }
        }
        assert!(caught_up(&rig, &node, &mut follower).await, "seed {seed}");
    }
}

/// The comparison can fail: a follower that forgets removals is found out.
#[tokio::test]
async fn a_follower_that_forgets_removals_is_noticed() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let web = rig.create(rig.entry(&node.id, "web")).await;
    let mut clients = connect(&rig, Who::agent(&node)).await;
    let mut follower = Follower::start(&mut clients, hello()).await.unwrap();
    follower.forgets_removals = true;
    assert!(caught_up(&rig, &node, &mut follower).await);
    let deleted = rig
        .server
        .state
        .delete_entries(&ADMIN, vec![web.id.clone()])
        .await;
    assert!(deleted[0].is_ok());
    assert!(!caught_up(&rig, &node, &mut follower).await);
}

/// Reads on until the follower says it has the newest view; whether it holds that.
async fn caught_up(rig: &Rig, node: &Agent, follower: &mut Follower) -> bool {
    let view = rig.server.state.agent_view(&node.id, START).unwrap();
    let digest = ViewDigest::of(&view.entries).to_bytes();
    follower.until(|f| f.digest == digest.as_slice()).await;
    let mut expected: Vec<_> = view
        .entries
        .iter()
        .map(|entry| entry_to_wire(entry, None))
        .collect();
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    let held: Vec<_> = follower.held.values().cloned().collect();
    held == expected
}
