//! A stock PostgreSQL takes each new certificate while programs connect to it all the
//! time, each with a certificate of its own, and no connection fails.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bulla_tests::{Domain, Process, Ran, eventually, free_port};
use nix::sys::signal::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

const ROTATIONS: usize = 10;
/// Connections of one run of pgbench.
const BATCH: usize = 80;

/// Lets other users pass through a domain's folder: PostgreSQL does not run as root.
pub(crate) fn let_others_pass(domain: &Domain) {
    let mode = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(domain.path(""), mode).unwrap();
}

/// Where Debian has the newest PostgreSQL's programs.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL: run tests/run");
    let newest = versions.map(|version| version.unwrap().path()).max();
    newest.expect("PostgreSQL: run tests/run").join("bin")
}

/// A program of PostgreSQL, as its user when this one is root.
fn as_postgres(program: &str) -> Command {
    let program = programs().join(program);
    if !nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        "postgres",
        "--regid",
        "postgres",
        "--clear-groups",
    ]);
    command.arg(program);
    command
}

/// The user the database runs as.
fn owner() -> String {
    let us = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .unwrap()
        .unwrap();
    if us.uid.is_root() {
        "postgres".into()
    } else {
        us.name
    }
}

struct Database {
    domain: Domain,
    entry: String,
    port: u16,
    keeper: Process,
    postgres: Process,
}

impl Database {
    fn start() -> Self {
        let domain = Domain::start();
        let_others_pass(&domain);
        let entry = domain.register("/db", ["--dns-name", "db.example.org"]);
        domain.register("/reports", ["--dns-name", "reports.example.org"]);
        domain.await_svid("/reports");
        let (id, client) = (domain.id("/reports"), domain.path("client"));
        let folder = client.to_str().unwrap();
        let _ = domain
            .fetch(["x509", "--spiffe-id", &id, "--write", folder])
            .ok();
        let (data, tls) = (domain.path("db"), domain.path("db-tls"));
        Self::initialise(&data, &tls, &domain);
        let hook = format!("kill -HUP $(head -1 {}/postmaster.pid)", data.display());
        let (db, owner) = (domain.id("/db"), owner());
        let more = ["--spiffe-id", &db, "--owner", &owner, "--debounce-ms", "0"];
        let keeper = crate::files::keeper(
            &domain,
            &["x509"],
            &tls,
            &[
                &more[..],
                &[
                    "--exec",
                    &format!("test ! -e {}/postmaster.pid || {hook}", data.display()),
                ],
            ]
            .concat(),
        );
        eventually("the first certificate", || {
            tls.join("svid-key.pem").exists().then_some(())
        });
        let port = free_port();
        let mut command = as_postgres("postgres");
        command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        let postgres = Process::start(&mut command, &domain.path("postgres.log"));
        let database = Self {
            domain,
            entry,
            port,
            keeper,
            postgres,
        };
        eventually("PostgreSQL serves", || database.served());
        let mut role = as_postgres("psql");
        role.arg("-h")
            .arg(data)
            .args(["-p", &port.to_string(), "-d", "postgres"]);
        let _ = Ran::of(role.args(["-c", "create role reports login"])).ok();
        database
    }

    fn initialise(data: &Path, tls: &Path, domain: &Domain) {
        std::fs::create_dir(data).unwrap();
        let owned = Ran::of(Command::new("chown").arg(owner()).arg(data));
        let _ = owned.ok();
        let mut initdb = as_postgres("initdb");
        let _ = Ran::of(initdb.arg("-D").arg(data).args(["-A", "trust", "-N"])).ok();
        let (at, tls) = (data.display(), tls.display());
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{at}'\nssl = on\n\
             ssl_cert_file = '{tls}/svid.pem'\nssl_key_file = '{tls}/svid-key.pem'\n\
             ssl_ca_file = '{tls}/bundle.pem'\nfsync = off\n"
        );
        let users = "local all all peer\nhostssl all all 127.0.0.1/32 cert map=svid\n";
        std::fs::write(data.join("postgresql.auto.conf"), settings).unwrap();
        std::fs::write(data.join("pg_hba.conf"), users).unwrap();
        let map = "svid /^(.*)\\.example\\.org$ \\1\n";
        std::fs::write(data.join("pg_ident.conf"), map).unwrap();
        std::fs::write(domain.path("select.sql"), "select current_user;\n").unwrap();
    }

    /// A program that connects as `reports`, by certificate.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(programs().join(program));
        let own = |name: &str| self.domain.path("client").join(name);
        command
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", own("bundle.pem"))
            .env("PGSSLCERT", own("svid.pem"))
            .env("PGSSLKEY", own("svid-key.pem"))
            .env("PGHOST", "db.example.org")
            .env("PGHOSTADDR", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGDATABASE", "postgres")
            .env("PGUSER", "reports");
        command
    }

    /// The certificate that a new connection is shown.
    fn served(&self) -> Option<Vec<u8>> {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-starttls", "postgres", "-connect"]);
        let shown = Ran::of(command.arg(format!("127.0.0.1:{}", self.port))).out;
        let leaf = CertificateDer::from_pem_slice(shown.as_bytes()).ok()?;
        Some(leaf.to_vec())
    }

    /// Connects again and again, a connection for each transaction, until told to stop.
    fn load(&self, over: &AtomicBool, connections: &AtomicUsize) -> Vec<String> {
        let mut failures = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let mut command = self.client("pgbench");
            let each = (BATCH / 4).to_string();
            command.args(["-n", "-C", "-c", "4", "-j", "2", "-t", &each, "-f"]);
            let ran = Ran::of(command.arg(self.domain.path("select.sql")));
            let whole = format!("actually processed: {BATCH}/{BATCH}");
            if ran.code != 0 || !ran.out.contains(&whole) {
                failures.push(format!("{}\n{}", ran.out, ran.err));
            }
            connections.fetch_add(BATCH, Ordering::Relaxed);
        }
        failures
    }

    /// Makes a new certificate and waits until new connections see it.
    fn rotate(&self, name: &str) {
        let before = self.served().unwrap();
        let names = ["--dns-name", "db.example.org", "--dns-name", name];
        let change = [&["entry", "update", &self.entry], &names[..]].concat();
        let _ = self.domain.admin(change).ok();
        eventually("PostgreSQL shows a new certificate", || {
            (self.served()? != before).then_some(())
        });
    }
}

#[test]
fn postgresql_reloads_rotated_certificates_under_load_without_one_failed_connection() {
    let database = Database::start();
    let (over, connections) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures = std::thread::scope(|scope| {
        let load = scope.spawn(|| database.load(&over, &connections));
        for round in 1..=ROTATIONS {
            database.rotate(&format!("n{round}.example.org"));
            let before = connections.load(Ordering::Relaxed);
            eventually("connections after the rotation", || {
                (connections.load(Ordering::Relaxed) > before + BATCH).then_some(())
            });
        }
        over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    assert!(failures.is_empty(), "{}: {}", failures.len(), failures[0]);
    // The load is no fiction: nobody comes in by another name.
    let mut stranger = database.client("psql");
    let refused = Ran::of(stranger.env("PGUSER", "postgres").args(["-c", "select 1"]));
    assert!(
        refused.err.contains("certificate authentication failed"),
        "{}",
        refused.err
    );
    let log = database.postgres.output();
    assert!(log.matches("received SIGHUP").count() >= ROTATIONS, "{log}");
    assert!(!log.contains("could not load"), "{log}");
    assert!(database.keeper.output().contains("\"ok\":true"));
    // Immediate: nothing of it is wanted any more.
    database.postgres.signal(Signal::SIGQUIT);
    let _ = database.postgres.wait("PostgreSQL ends");
}
