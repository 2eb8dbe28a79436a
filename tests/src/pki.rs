//! An operator's CA, as openssl makes one, for nodes that prove themselves with
//! certificates.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::{Domain, Ran, Settings};

/// An operator's CA and one node's certificate, as openssl makes them.
pub struct Pki {
    folder: TempDir,
}

impl Pki {
    /// `key` is what `openssl genpkey` is told of the node's key.
    #[must_use]
    pub fn new(key: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("pki-").tempdir_in("/tmp");
        let pki = Self {
            folder: folder.unwrap(),
        };
        let ec = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
        pki.run(&[&["genpkey", "-out", "ca.key"], &ec[..]].concat());
        pki.run(&[
            "req",
            "-x509",
            "-key",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=Node CA",
        ]);
        pki.run(&[&["genpkey", "-out", "node.key"], key].concat());
        pki.run(&[
            "req",
            "-new",
            "-key",
            "node.key",
            "-out",
            "node.csr",
            "-subj",
            "/CN=node-1",
        ]);
        let extensions = "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n";
        std::fs::write(pki.path("extensions"), extensions).unwrap();
        let sign = [
            "x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
        ];
        let rest = [
            "-extfile",
            "extensions",
            "-out",
            "node.pem",
            "-set_serial",
            "4660",
        ];
        pki.run(&[&sign[..], &rest[..]].concat());
        pki
    }

    /// With a P-256 key.
    #[must_use]
    pub fn ec() -> Self {
        Self::new(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    /// One of its files: `ca.pem`, `node.pem`, `node.key`, or a test's own.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str]) -> String {
        let mut command = Command::new("openssl");
        Ran::of(command.args(args).current_dir(self.folder.path()))
            .ok()
            .out
    }

    /// SHA-1 of the node's certificate, which SPIRE puts into the agent's ID.
    fn fingerprint(&self) -> String {
        let shown = self.run(&["x509", "-in", "node.pem", "-noout", "-fingerprint", "-sha1"]);
        let (_, hex) = shown.trim().split_once('=').unwrap();
        hex.replace(':', "").to_lowercase()
    }

    /// The ID of the agent on that node.
    #[must_use]
    pub fn agent_id(&self) -> String {
        format!(
            "spiffe://{}/spire/agent/x509pop/{}",
            Domain::NAME,
            self.fingerprint()
        )
    }

    /// A server that trusts the CA, with more of its configuration and of the agent's.
    #[must_use]
    pub fn server(&self, more: &str, agent: &str) -> Domain {
        let roots = self.path("ca.pem");
        Domain::server_alone(Settings {
            server: format!("{more}\n[attestors.x509_pop]\nca_bundle_file = {roots:?}\n"),
            agent: agent.to_owned(),
            ..Settings::default()
        })
    }
}
