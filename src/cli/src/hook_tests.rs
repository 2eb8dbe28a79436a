//! Hooks that go well, fail, hang, shout, and signals to whom they should reach.

use super::*;

fn args() -> WriteArgs {
    WriteArgs {
        write: Some("/".into()),
        exec: None,
        signal: Vec::new(),
        owner: None,
        group: None,
        key_mode: "0600".into(),
        debounce_ms: 0,
        exec_timeout: 10,
    }
}

fn exec(command: &str, timeout: u64) -> Hook {
    let args = WriteArgs {
        exec: Some(command.into()),
        exec_timeout: timeout,
        ..args()
    };
    Hook::parse(&args).unwrap().unwrap()
}

fn signal(pid_file: &Path, name: &str) -> Result<Hook, Failure> {
    let args = WriteArgs {
        signal: vec![pid_file.to_str().unwrap().into(), name.into()],
        ..args()
    };
    Hook::parse(&args).map(Option::unwrap)
}

#[tokio::test]
async fn failures_are_counted_and_set_a_later_and_later_retry() {
    let mut hook = exec("echo no; exit 7", 10);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let started = clock::instant();
        let failure = hook.run(Path::new("/")).await.unwrap_err();
        assert!(failure.what.contains("status 7"), "{failure}");
        pauses.push(hook.due.unwrap() - started);
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert_eq!((hook.runs, hook.failures, hook.in_a_row), (3, 3, 3));
    let mut fine = exec("test \"$BULLA_FOLDER\" = /", 10);
    fine.run(Path::new("/")).await.unwrap();
    assert_eq!((fine.runs, fine.failures, fine.due), (1, 0, None));
}

#[tokio::test]
async fn a_hook_that_hangs_is_ended_with_its_children() {
    let mut hook = exec("sleep 600 & sleep 600", 1);
    let started = clock::instant();
    let failure = hook.run(Path::new("/")).await.unwrap_err();
    assert!(failure.what.contains("longer than 1 s"), "{failure}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_hook_that_shouts_or_leaves_a_child_behind_does_not_block() {
    exec("head -c 5000000 /dev/zero", 30)
        .run(Path::new("/"))
        .await
        .unwrap();
    let mut leaves = exec("sleep 5 & exit 0", 30);
    let started = clock::instant();
    leaves.run(Path::new("/")).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_signal_goes_to_one_process_or_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    // Nobody there: it will read the new files when it starts.
    signal(&file, "HUP").unwrap().run(dir.path()).await.unwrap();
    for bad in ["", "x", "0", "1", "-5", "99999999999999"] {
        std::fs::write(&file, bad).unwrap();
        let failed = signal(&file, "hup").unwrap().run(dir.path()).await;
        assert!(failed.is_err(), "{bad:?}");
    }
    let mut child = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    std::fs::write(&file, format!("{}\n", child.id())).unwrap();
    signal(&file, "SIGTERM")
        .unwrap()
        .run(dir.path())
        .await
        .unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(signal(&file, "NOSUCH").is_err());
}
