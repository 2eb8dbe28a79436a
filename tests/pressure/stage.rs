//! A trust domain, honest callers on it, and attackers beside them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bulla_tests::{Domain, ServerEndpoint, Settings};
use tokio::runtime::Runtime;

use crate::bounds::{self, Held, Times};
use crate::{FLAG, honest};

/// The user that the workload attacker runs as.
pub(crate) const ATTACKER_UID: u32 = 4321;

const CALLERS: [&str; 3] = ["workload", "node", "administrator"];

pub(crate) struct Stage {
    domain: Domain,
    runtime: Runtime,
    server: ServerEndpoint,
}

impl Stage {
    /// A server and an agent with entries for the honest workload and for attackers.
    pub(crate) fn set() -> Self {
        let delegate = format!("spiffe://{}/delegate", Domain::NAME);
        let domain = Domain::start_with(Settings {
            server: "[audit]\npeer_kib = 4\nentry_kib = 2\n".to_owned(),
            agent: format!(
                "[delegated_identity]\nauthorized_delegates = [{delegate:?}]\nattested_only = false\n"
            ),
            ..Settings::default()
        });
        for folder in ["", "agent"] {
            std::fs::set_permissions(domain.path(folder), Permissions::from_mode(0o755)).unwrap();
        }
        // Root is the honest workload, and the delegate: only root opens the admin socket.
        domain.register("/delegate", ["--selector", "unix:uid:0"]);
        let uid = format!("unix:uid:{ATTACKER_UID}");
        domain.register("/attacker", ["--selector", &uid]);
        domain.await_svid("/delegate");
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(ServerEndpoint::of(&domain));
        Self {
            domain,
            runtime,
            server,
        }
    }

    /// Measures the honest callers alone, then beside attackers; prints the figures
    /// and what is wrong with them.
    pub(crate) fn judge(&mut self, name: &str, roles: &[&str], span: Duration) -> bool {
        let alone = self.measure(span / 2);
        let before = Held::now(&self.domain);
        let attackers = Attackers(roles.iter().map(|role| self.start(role)).collect());
        let beside = self.measure(span);
        let mut held = Held::now(&self.domain);
        held.journal = (held.journal - before.journal) / span.as_secs().max(1);
        drop(attackers);
        let mut faults = bounds::held_faults(held);
        for (caller, (alone, beside)) in CALLERS.iter().zip(alone.iter().zip(&beside)) {
            bounds::line(name, caller, (alone, beside), held);
            faults.extend(bounds::faults(caller, alone, beside));
        }
        for process in [&mut self.domain.server, &mut self.domain.agent] {
            if let Some(status) = process.as_mut().unwrap().ended() {
                faults.push(format!("a process ended with {status}"));
            }
        }
        for fault in &faults {
            println!("  {name}: {fault}");
        }
        faults.is_empty()
    }

    fn measure(&self, span: Duration) -> [Times; 3] {
        let workload = honest::workload(self.domain.workload_socket(), span);
        let node = honest::node(self.server.clone(), span);
        let admin = self.domain.admin_socket();
        let administrator = honest::administrator(admin, self.server.clone(), span);
        let all = async { tokio::join!(workload, node, administrator) };
        self.runtime.block_on(all).into()
    }

    fn start(&self, role: &str) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg(format!("{FLAG}{role}"))
            .arg(self.domain.admin_socket())
            .arg(format!("127.0.0.1:{}", self.domain.port()))
            .arg(self.domain.workload_socket())
            .arg(self.domain.path("agent/admin.sock"))
            .stdout(Stdio::null())
            .stdin(Stdio::null());
        command.spawn().unwrap()
    }
}

/// Attackers, until they are dropped.
struct Attackers(Vec<Child>);

impl Drop for Attackers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ended_before = child.kill();
            let _status = child.wait();
        }
    }
}
