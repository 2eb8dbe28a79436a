//! What `bulla server validate` looks at beside the values: the files that the
//! configuration names, as the server itself would read them, and choices that work and
//! are seldom meant. Nothing is made or changed.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::config::{KeysAt, SecretAt, Settings, UpstreamSettings};
use crate::listeners::check_web_files;
use crate::{attest, secrets, upstream};

/// Something about one key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key, with its section, such as `keys.passphrase_file`.
    pub key: &'static str,
    /// What is wrong or noteworthy, and what to do.
    pub what: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// What would keep the server from starting.
    pub faults: Vec<Finding>,
    /// What works, and may not be meant.
    pub warnings: Vec<Finding>,
}

impl Inspection {
    fn fault(&mut self, key: &'static str, what: impl Into<String>) {
        let what = what.into();
        self.faults.push(Finding { key, what });
    }

    fn warn(&mut self, key: &'static str, what: impl Into<String>) {
        let what = what.into();
        self.warnings.push(Finding { key, what });
    }
}

/// Looks at the files that checked settings name, as the user who runs this.
#[must_use]
pub fn inspect(settings: &Settings) -> Inspection {
    let mut found = Inspection::default();
    data_dir(settings, &mut found);
    keys(settings, &mut found);
    if let Some(UpstreamSettings::Disk {
        certificate,
        key,
        bundle,
    }) = &settings.upstream
    {
        for (name, why) in upstream::unusable_files(certificate, key, bundle.as_deref()) {
            found.fault(name, why);
        }
    }
    if settings.x509_pop_cas.is_some()
        && let Err(failure) = attest::attestors(settings)
    {
        found.fault("attestors.x509_pop.ca_bundle_file", failure.message());
    }
    if let Some(public) = &settings.public
        && let Err(why) = check_web_files(public)
    {
        found.fault("public.certificate", why);
    }
    addresses(settings, &mut found);
    found
}

fn data_dir(settings: &Settings, found: &mut Inspection) {
    let path = &settings.data_dir;
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        if let Some(why) = cannot_be_made(path) {
            found.warn("data_dir", why);
        }
        return;
    };
    let mode = metadata.permissions().mode() & 0o7777;
    let shown = path.display();
    if !metadata.is_dir() {
        found.fault("data_dir", format!("{shown} is not a directory"));
    } else if mode & 0o077 != 0 {
        let what =
            format!("{shown} has mode {mode:04o}, which lets others in; run: chmod 0700 {shown}");
        found.fault("data_dir", what);
    } else if metadata.uid() != nix::unistd::geteuid().as_raw() {
        let what = format!(
            "{shown} belongs to uid {}; the server must run as that user",
            metadata.uid()
        );
        found.warn("data_dir", what);
    }
}

/// A directory that is not there is made at the start, if its parent can be entered.
fn cannot_be_made(path: &Path) -> Option<String> {
    let mut above = path.ancestors().skip(1);
    let nearest = above.find(|parent| parent.exists())?;
    (!nearest.is_dir()).then(|| {
        format!(
            "{} cannot be made: {} is not a directory",
            path.display(),
            nearest.display()
        )
    })
}

fn keys(settings: &Settings, found: &mut Inspection) {
    let (key, at, is_text) = match &settings.keys {
        KeysAt::FilesUnderPassphrase(at) => ("keys.passphrase_file", at, true),
        KeysAt::FilesUnderSecret(at) => ("keys.credential", at, false),
        KeysAt::Token(token) => {
            if !token.module.is_file() {
                let what = format!("there is no file {}", token.module.display());
                found.fault("keys.pkcs11.module", what);
            }
            let key = match token.pin {
                SecretAt::File(_) => "keys.pkcs11.pin_file",
                SecretAt::Credential(_) => "keys.pkcs11.pin_credential",
            };
            (key, &token.pin, true)
        }
        KeysAt::Files => {
            found.warn(
                "keys.storage",
                "signing keys are unsealed: file modes alone protect them; set \
                 keys.passphrase_file or keys.credential",
            );
            return;
        }
        KeysAt::Memory | KeysAt::Kms(_) => return,
    };
    match at {
        SecretAt::File(path) => {
            if let Err(failure) = secrets::read(key, at, is_text) {
                found.fault(key, format!("{}: {}", path.display(), failure.problem));
            }
        }
        SecretAt::Credential(name) => found.warn(
            key,
            format!("credential {name} is there only in the service itself, and was not looked at"),
        ),
    }
}

fn addresses(settings: &Settings, found: &mut Inspection) {
    if let Some(ops) = settings.ops_listen
        && ops.ip().is_unspecified()
    {
        let what = format!(
            "{ops} is every address of this machine: whoever reaches it can read metrics and the \
             reasons for what is late; use 127.0.0.1, or let a firewall keep others out"
        );
        found.warn("ops.listen", what);
    }
}

/// Two listeners that cannot both be bound.
pub(crate) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_host = one.ip() == other.ip()
        || (one.ip().is_unspecified() && other.ip().is_unspecified())
        || (one.is_ipv4() == other.is_ipv4()
            && (one.ip().is_unspecified() || other.ip().is_unspecified()));
    one.port() != 0 && one.port() == other.port() && same_host
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn inspected(change: impl FnOnce(&Path, &mut Config)) -> Inspection {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::for_domain("example.org", folder.path().join("data"));
        change(folder.path(), &mut config);
        inspect(&config.check().unwrap())
    }

    fn keys_of(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.key).collect()
    }

    #[test]
    fn a_plain_configuration_has_no_faults() {
        let found = inspected(|_, _| {});
        assert_eq!(found.faults, []);
        assert_eq!(keys_of(&found.warnings), ["keys.storage"]);
    }

    #[test]
    fn u8_files_that_are_missing_or_open_to_others_are_faults() {
        let found = inspected(|folder, config| {
            config.keys.passphrase_file = Some(folder.join("none"));
            config.upstream.disk = Some(crate::config::DiskUpstreamSection {
                certificate_file: folder.join("ca.pem"),
                key_file: folder.join("ca.key"),
                bundle_file: None,
            });
            config.jwt.issuer = Some("https://oidc.example.org".into());
            config.public.listen = Some("127.0.0.1:0".into());
            config.public.certificate = Some(folder.join("web.pem"));
            config.public.key = Some(folder.join("web.key"));
        });
        let keys = [
            "keys.passphrase_file",
            "upstream.disk.certificate_file",
            "upstream.disk.key_file",
            "public.certificate",
        ];
        assert_eq!(keys_of(&found.faults), keys);

        let found = inspected(|folder, config| {
            let path = folder.join("passphrase");
            std::fs::write(&path, "correct horse battery").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            config.keys.passphrase_file = Some(path);
        });
        assert!(found.faults[0].what.contains("chmod 0600"), "{found:?}");
    }

    #[test]
    fn u8_ops_on_every_address_is_warned_of() {
        let found = inspected(|_, config| config.ops.listen = Some("0.0.0.0:9090".into()));
        assert!(
            keys_of(&found.warnings).contains(&"ops.listen"),
            "{found:?}"
        );
        let found = inspected(|_, config| config.ops.listen = Some("127.0.0.1:9090".into()));
        assert!(!keys_of(&found.warnings).contains(&"ops.listen"));
    }

    #[test]
    fn listeners_collide_on_one_port_of_one_address() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("10.0.0.1:1", "127.0.0.1:1", false),
            ("[::]:1", "0.0.0.0:1", true),
            ("[::1]:1", "127.0.0.1:1", false),
        ] {
            assert_eq!(collide(at(one), at(other)), expected, "{one} {other}");
        }
    }
}
