//! The attackers, one for each kind of caller. Each does everything that such a
//! caller can reach, at once and without end.

mod administrator;
mod delegate;
mod downstream;
mod node;
mod stranger;
mod workload;

use std::path::PathBuf;

use bulla_tests::ServerEndpoint;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Every attacker.
pub(crate) const NAMES: &[&str] = &[
    "stranger",
    "workload",
    "delegate",
    "node",
    "downstream",
    "administrator",
];

/// Where an attacker finds its victims.
#[derive(Clone)]
pub(crate) struct Target {
    /// The server's admin socket, for what an attacker must be given beforehand.
    pub(crate) admin: PathBuf,
    /// The server's address.
    pub(crate) address: String,
    /// The agent's workload socket.
    pub(crate) workload: PathBuf,
    /// The agent's admin socket.
    pub(crate) agent_admin: PathBuf,
}

/// Attacks until this process is killed.
pub(crate) fn attack(role: &str, arguments: &[String]) {
    let [admin, address, workload, agent_admin] = arguments else {
        panic!("an attacker needs four arguments");
    };
    let target = Target {
        admin: admin.into(),
        address: address.clone(),
        workload: workload.into(),
        agent_admin: agent_admin.into(),
    };
    // The lowest priority: see the top of this suite.
    rustix::process::nice(19).unwrap();
    if role == "workload" {
        workload::become_its_user();
    }
    Runtime::new().unwrap().block_on(async {
        let mut tasks = JoinSet::new();
        match role {
            "stranger" => stranger::attack(&target, &mut tasks).await,
            "workload" => workload::attack(&target, &mut tasks),
            "delegate" => delegate::attack(&target, &mut tasks).await,
            "node" => node::attack(&target, &mut tasks).await,
            "downstream" => downstream::attack(&target, &mut tasks).await,
            "administrator" => administrator::attack(&target, &mut tasks).await,
            _ => panic!("no attacker is named {role}"),
        }
        while tasks.join_next().await.is_some() {}
    });
}

impl Target {
    pub(crate) async fn server(&self) -> ServerEndpoint {
        ServerEndpoint::at(&self.admin, self.address.clone()).await
    }
}

/// Repeats what may fail without end, as several tasks.
pub(crate) fn forever<F>(
    tasks: &mut JoinSet<()>,
    count: usize,
    act: impl Fn(usize, u64) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    for task in 0..count {
        let act = act.clone();
        tasks.spawn(async move {
            for nth in 0.. {
                act(task, nth).await;
                tokio::task::yield_now().await;
            }
        });
    }
}
