//! Whoever does not acknowledge a new key is waited for, and not for ever.

use super::*;

#[tokio::test]
async fn a1_patience_with_an_agent_that_hangs_is_bounded_by_configuration() {
    let rig = Rig::with(|config| config.rotation.patience = "5m".into()).await;
    let agent = rig.agent().await;
    let _mute = rig.server.state.subscribe_agent(&agent.id).unwrap();
    rig.server.authorities.prepare(&ADMIN, X509).await.unwrap();
    let ready = || async {
        let order = Order {
            act: Act::Activate,
            profile: X509,
            id: "",
            force: false,
        };
        let plan = rig.server.authorities.plan(order).await.unwrap();
        plan.refused_because.is_empty()
    };
    // The publication interval of 30 s, and then five minutes.
    rig.pass(329).await;
    assert!(!ready().await);
    let behind = rig.server.state.agents_behind();
    assert_eq!(behind[0].agent, agent.id);
    rig.pass(1).await;
    assert!(ready().await);
}

/// One agent hangs, another left a moment ago, a third has only ever polled.
#[tokio::test]
async fn a1_after_a_taint_nobody_is_waited_for_longer_than_ten_seconds() {
    for profile in AuthorityProfile::ALL {
        let rig = Rig::with(|config| config.rotation.propagation = "1h".into()).await;
        let [hangs, left, polls] = [rig.agent().await, rig.agent().await, rig.agent().await];
        let state = &rig.server.state;
        let _mute = state.subscribe_agent(&hangs.id).unwrap();
        rig.pass(20).await;
        drop(state.subscribe_agent(&left.id).unwrap());
        state.note_poll(&polls.id);
        let active = |rig: &Rig| {
            let status = rig.server.authorities.status();
            let signs = |key: &&KeyStatus| key.profile == profile && key.state == "active";
            status.iter().find(signs).unwrap().id.clone()
        };
        let leaked = active(&rig);
        rig.server
            .authorities
            .taint(&ADMIN, profile, &leaked)
            .await
            .unwrap();
        assert_eq!(state.agents_behind().len(), 3);
        assert!(rig.server.authorities.tainted_key_signs());
        // It looks once a second.
        for _ in 0..10 {
            rig.pass(1).await;
        }
        assert_ne!(active(&rig), leaked, "{profile:?}");
        assert!(!rig.server.authorities.tainted_key_signs());
    }
}
