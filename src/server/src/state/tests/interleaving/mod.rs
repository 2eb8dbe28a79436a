//! Every pair of operations against each other, in many interleavings, held to a
//! sequential model: what they answered and what they left behind must be what one
//! order of them would have, and the order in which they really came, when one ended
//! before the other began.

mod gate;
mod model;
mod world;

use std::sync::Arc;

use model::{ENTRIES, Model, NODES, Operation as Op, Svid};
use world::World;

use crate::failure::Kind;

/// Schedules with one preemption at each of the first accesses of either operation, and
/// those with two.
fn schedules() -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for first in [0, 1] {
        let other = 1 - first;
        for steps in 0..5 {
            all.push([vec![first; steps], vec![other; 16]].concat());
        }
        for (steps, then) in [(1, 1), (2, 1), (2, 2), (3, 1)] {
            let whole = vec![first; steps].into_iter().chain(vec![other; then]);
            all.push(whole.chain(vec![first; 16]).collect());
        }
    }
    all
}

/// Runs a pair by every schedule; what does not fit the model, in words.
async fn violations(world: &World, by_proof: bool, pair: [Op; 2], apart: bool) -> Vec<String> {
    let mut found = Vec::new();
    for schedule in schedules() {
        let case = Arc::new(world.case(by_proof).await);
        let before = world.observe(&case, &[Ok(None), Ok(None)]).await;
        let (answers, gate) = world.run(&case, pair, apart, &schedule).await;
        let after = world.observe(&case, &answers).await;
        let acknowledged = [0, 1].map(|n| answers[n].is_ok());
        let undecided = answers.iter().any(|answer| {
            let kind = answer.as_ref().err().map(crate::failure::Failure::kind);
            matches!(
                kind,
                Some(Kind::Unavailable | Kind::OutcomeUnknown | Kind::Internal)
            )
        });
        let orders = [[0, 1], [1, 0]].into_iter();
        let mut orders = orders.filter(|[first, second]| !gate.came_before(*second, *first));
        let fits = orders.any(|order| {
            let (outcomes, left) = in_order(&before, pair, order);
            outcomes == acknowledged && left == after
        });
        if undecided || !fits {
            found.push(format!(
                "{pair:?} by {schedule:?}: answers {answers:?}, left {after:?}, from {before:?}"
            ));
        }
    }
    found
}

fn in_order(before: &Model, pair: [Op; 2], order: [usize; 2]) -> ([bool; 2], Model) {
    let mut outcomes = [false; 2];
    let mut model = before.clone();
    for which in order {
        (outcomes[which], model) = model.after(pair[which], which);
    }
    (outcomes, model)
}

/// All pairs of one group, each operation with itself too.
fn pairs(group: &[Op]) -> Vec<[Op; 2]> {
    let each = |n: usize| group[n..].iter().map(move |other| [group[n], *other]);
    (0..group.len()).flat_map(each).collect()
}

async fn hold(by_proof: bool, apart: bool, pairs: Vec<[Op; 2]>) {
    let world = World::new().await;
    for pair in pairs {
        let found = violations(&world, by_proof, pair, apart).await;
        assert!(found.is_empty(), "{} violations: {}", found.len(), found[0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_of_operations_on_a_node_with_a_token_come_one_after_the_other() {
    let mut pairs = pairs(&NODES);
    // Only the server where a token was used up gives the answer again.
    pairs.retain(|pair| *pair != [Op::Attest; 2]);
    hold(false, true, pairs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_of_operations_on_a_node_with_a_proof_come_one_after_the_other() {
    hold(
        true,
        true,
        pairs(&[Op::Ban, Op::Evict, Op::Attest, Op::Status]),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_of_operations_on_an_entry_come_one_after_the_other() {
    hold(false, true, pairs(&ENTRIES)).await;
}

/// A mint reads memory, so both are on one server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_minted_was_allowed_then() {
    let others = [
        Op::Ban,
        Op::Evict,
        Op::Delete,
        Op::Apply,
        Op::Revoke,
        Op::Lift,
    ];
    hold(false, false, others.map(|other| [other, Op::Mint]).into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_comparison_finds_an_attestation_that_undoes_a_ban() {
    let world = World::new().await;
    let found = violations(&world, true, [Op::Ban, Op::PlantedAttest], true).await;
    assert!(!found.is_empty(), "the planted fault was not found");
    let undone = |text: &String| {
        let (told, _before) = text.split_once("from").unwrap();
        told.contains("banned: false")
    };
    assert!(found.iter().any(undone), "{found:?}");
}

#[test]
fn the_model_itself_bans_until_an_eviction() {
    let model = Model {
        by_proof: true,
        node: Some(model::Node {
            svid: Svid::First,
            next: None,
            banned: false,
            version: String::new(),
        }),
        entry: None,
        limits: None,
        revoked: false,
    };
    let ([banned, attested], left) = in_order(&model, [Op::Ban, Op::Attest], [0, 1]);
    assert!(banned && !attested && left.node.unwrap().banned);
    let ([evicted, attested], left) = in_order(&model, [Op::Evict, Op::Attest], [0, 1]);
    assert!(evicted && attested && left.node.unwrap().svid == Svid::By(1));
}
