//! The docker attestor against control groups and answers in the forms that
//! Docker, Podman, containerd and CRI-O write them.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::battery::{Ask, StillProcess, workload};
use contract::{ControlGroup, Inspect, InspectError, ProcessError};
use proptest::prelude::*;

use super::*;

const ID: &str = "3c1d0ab2f5c94b1d8e6f7a8b9c0d1e2f3a4b5c6d7e8f90112233445566778899";
const OTHER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
const DOCKER: &[u8] = include_bytes!("../fixtures/docker.json");
const PODMAN: &[u8] = include_bytes!("../fixtures/podman.json");

struct Recorded(&'static [u8]);

impl Engine for Recorded {
    fn container(
        &self,
        id: &ContainerId,
        may_wait: bool,
    ) -> Result<Option<Arc<Container>>, InspectError> {
        if !may_wait {
            return Err(ProcessError::WouldBlock.into());
        }
        if self.0.is_empty() {
            return Err(InspectError::Unavailable("no engine".to_owned()));
        }
        if id.as_str() != ID {
            return Ok(None);
        }
        Ok(Some(Arc::new(Container::from_json(self.0, id).unwrap())))
    }
}

fn attestor(kind: Kind, answer: &'static [u8]) -> Docker {
    Docker::new(kind, Arc::new(Recorded(answer)), vec!["TIER".to_owned()])
}

fn group(hierarchy: u32, controllers: &str, path: &str) -> ControlGroup {
    ControlGroup {
        hierarchy,
        controllers: controllers.to_owned(),
        path: path.to_owned(),
    }
}

fn process(path: &str) -> StillProcess {
    StillProcess {
        control_groups: vec![group(0, "", &path.replace("ID", ID))],
        ..StillProcess::default()
    }
}

fn found(path: &str) -> Option<Naming> {
    let path = path.replace("ID", ID);
    let found = container_of(&[group(0, "", &path)]).unwrap()?;
    assert_eq!(found.id.as_str(), ID);
    Some(found.naming)
}

#[test]
fn passes_the_battery() {
    let process = process("/system.slice/docker-ID.scope");
    workload(
        &attestor(Kind::Docker, DOCKER),
        &process,
        &[Ask::ControlGroups],
    );
}

#[test]
fn states_what_spire_states_and_in_the_same_words() {
    let stated = |kind, answer, path| -> Vec<String> {
        let stated = attestor(kind, answer).inspect(&process(path)).unwrap();
        stated.iter().map(|s| s.as_str().to_owned()).collect()
    };
    let digest = "sha256:a72860cb95fd59e9c696c66441c64f18e66915fa26b249911e83c3854477ed9a";
    let expected = [
        "docker:label:com.docker.compose.project:shop".to_owned(),
        "docker:label:com.docker.compose.service:web".to_owned(),
        "docker:env:TIER=web".to_owned(),
        "docker:image_id:registry.example.org/shop/web:1.4".to_owned(),
        format!("docker:image_config_digest:{digest}"),
    ];
    let path = "/system.slice/docker-ID.scope";
    assert_eq!(stated(Kind::Docker, DOCKER, path), expected);
    let expected = [
        "podman:label:tier:web".to_owned(),
        "podman:image_id:docker.io/library/nginx:1.27".to_owned(),
        format!("podman:image_config_digest:{digest}"),
    ];
    let path = "/machine.slice/libpod-ID.scope/container";
    assert_eq!(stated(Kind::Podman, PODMAN, path), expected);
}

#[test]
fn containers_are_known_by_every_runtimes_naming() {
    let pod = "kubepods-burstable-pod7d7d2c1c_5a34_4a4e_9d0e_0a1b2c3d4e5f.slice";
    let v2 = |leaf: &str| format!("/kubepods.slice/kubepods-burstable.slice/{pod}/{leaf}");
    let cgroupfs = "/kubepods/burstable/pod7d7d2c1c-5a34-4a4e-9d0e-0a1b2c3d4e5f";
    for (path, naming) in [
        ("/system.slice/docker-ID.scope".to_owned(), Naming::Docker),
        ("/docker/ID".to_owned(), Naming::Docker),
        ("/docker/ID/init.scope".to_owned(), Naming::Docker),
        ("/machine.slice/libpod-ID.scope".to_owned(), Naming::Podman),
        (
            "/machine.slice/libpod-ID.scope/container".to_owned(),
            Naming::Podman,
        ),
        ("/libpod_parent/libpod-ID".to_owned(), Naming::Podman),
        (v2("cri-containerd-ID.scope"), Naming::Containerd),
        (v2("crio-ID.scope"), Naming::Crio),
        (v2("docker-ID.scope"), Naming::Docker),
        (format!("{cgroupfs}/ID"), Naming::Bare),
        (format!("{cgroupfs}/crio-ID"), Naming::Crio),
        ("/kubepods/pod1/ID".to_owned(), Naming::Bare),
    ] {
        assert_eq!(found(&path), Some(naming), "{path}");
    }
}

#[test]
fn a_name_made_below_a_delegated_group_is_no_container() {
    for path in [
        // What a user can make with the manager that systemd delegates to them.
        "/user.slice/user-1000.slice/user@1000.service/docker-ID.scope",
        "/user.slice/user-1000.slice/user@1000.service/system.slice/docker-ID.scope",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
        "/system.slice/attacker.service/docker/ID",
        "/system.slice/attacker.service/docker-ID.scope",
        // Helpers outside the container.
        "/machine.slice/libpod-conmon-ID.scope",
        "/kubepods.slice/crio-conmon-ID.scope",
        // Not as any runtime writes it.
        "/",
        "/ID",
        "/docker-ID.scope",
        "/system.slice/docker-ID.scope.d",
        "/system.slice/docker-ID",
        "/system.slice/docker/ID",
        "/docker/docker/ID",
        "/docker/buildkit/ID",
        "/kubepods/ID",
        "/kubepods/burstable/ID",
        "/kubepods/besteffort/burstable/pod1/ID",
        "/../docker/ID",
        "/docker/../docker/ID",
        "/docker/IDa",
    ] {
        assert_eq!(found(path), None, "{path}");
    }
    let upper = ID.to_uppercase();
    assert_eq!(
        container_of(&[group(0, "", &format!("/docker/{upper}"))]),
        Ok(None)
    );
}

#[test]
fn the_shallowest_container_wins_over_those_it_made_itself() {
    let path = format!("/docker/ID/docker/{OTHER}");
    assert_eq!(found(&path), Some(Naming::Docker));
}

#[test]
fn v1_hierarchies_agree_or_the_call_fails() {
    let docker = format!("/docker/{ID}");
    let mut groups = vec![
        group(12, "pids", &docker),
        group(4, "memory", &docker),
        group(1, "name=systemd", &docker),
        group(0, "", "/"),
    ];
    assert_eq!(container_of(&groups).unwrap().unwrap().id.as_str(), ID);
    groups.push(group(3, "cpu,cpuacct", &format!("/docker/{OTHER}")));
    assert_eq!(container_of(&groups), Err(Contradiction));
    let process = StillProcess {
        control_groups: groups,
        ..StillProcess::default()
    };
    let outcome = attestor(Kind::Docker, DOCKER).inspect(&process);
    assert!(matches!(outcome, Err(InspectError::Unavailable(_))));
}

#[test]
fn a_failing_or_forgetful_engine_fails_the_call() {
    let path = "/system.slice/docker-ID.scope";
    let outcome = attestor(Kind::Docker, b"").inspect(&process(path));
    assert!(matches!(outcome, Err(InspectError::Unavailable(_))));
    let forgotten = path.replace("ID", OTHER);
    let outcome = attestor(Kind::Docker, DOCKER).inspect(&process(&forgotten));
    assert!(matches!(outcome, Err(InspectError::Unavailable(_))));
    let nobody_may_wait = StillProcess {
        may_wait: false,
        ..process(path)
    };
    let outcome = attestor(Kind::Docker, DOCKER).inspect(&nobody_may_wait);
    assert_eq!(outcome, Err(ProcessError::WouldBlock.into()));
}

#[test]
fn no_container_or_another_runtimes_has_no_selectors_and_the_engine_may_be_away() {
    let outside = process("/system.slice/cron.service");
    assert_eq!(
        attestor(Kind::Docker, b"").inspect(&outside),
        Ok(Vec::new())
    );
    let path = format!("/kubepods.slice/cri-containerd-{OTHER}.scope");
    assert_eq!(
        attestor(Kind::Docker, DOCKER).inspect(&process(&path)),
        Ok(Vec::new())
    );
}

#[test]
fn answers_about_another_container_or_none_are_refused() {
    let id = ContainerId::parse(ID).unwrap();
    let other = ContainerId::parse(OTHER).unwrap();
    assert!(Container::from_json(DOCKER, &id).is_ok());
    assert!(Container::from_json(DOCKER, &other).is_err());
    for text in [
        "",
        "{}",
        "[]",
        "{\"Id\":\"x\"}",
        "{\"message\":\"no such container\"}",
    ] {
        assert!(
            Container::from_json(text.as_bytes(), &id).is_err(),
            "{text}"
        );
    }
    let tag = String::from_utf8_lossy(DOCKER).replace("sha256:a728", "nginx:a728");
    assert!(Container::from_json(tag.as_bytes(), &id).is_err());
}

#[test]
fn ambiguous_and_unspeakable_labels_are_left_out_and_secrets_are_not_shown() {
    let container = Container {
        labels: BTreeMap::from([
            ("a:b".to_owned(), "c".to_owned()),
            ("new".to_owned(), "line\nunix:uid:0".to_owned()),
            ("long".to_owned(), "x".repeat(5000)),
            ("good".to_owned(), "b:c".to_owned()),
        ]),
        env: BTreeMap::from([("PASSWORD".to_owned(), "hunter2".to_owned())]),
        ..Container::default()
    };
    let stated = attestor(Kind::Docker, DOCKER).state(&container);
    let stated: Vec<_> = stated.iter().map(|s| s.as_str()).collect();
    assert_eq!(stated, ["docker:label:good:b:c"]);
    assert!(!format!("{container:?}").contains("hunter2"));
}

proptest! {
    // No name below a group that is not root's makes a container.
    #[test]
    fn nothing_below_a_service_counts(below in "(/(docker|system\\.slice|kubepods|pod1|libpod_parent|docker-ID\\.scope|ID)){0,5}") {
        let path = format!("/system.slice/attacker.service{below}");
        prop_assert_eq!(found(&path), None);
        let inside = found(&format!("/docker/{OTHER}{below}").replace(OTHER, "ID"));
        prop_assert_eq!(inside, Some(Naming::Docker));
    }

    #[test]
    fn no_answer_panics(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
        let id = ContainerId::parse(ID).unwrap();
        let _ = Container::from_json(&answer, &id);
    }
}
