//! The sample that ships parses and states the defaults; each bad value is refused
//! by name.

use std::path::PathBuf;

use super::*;

const SAMPLE: &str = include_str!("../../../../deploy/server.toml");

fn minimal(extra: &str) -> Result<Settings, ConfigError> {
    Config::parse(&format!("trust_domain = \"example.org\"\n{extra}"))?.check()
}

#[test]
fn the_sample_parses_and_equals_the_defaults() {
    let sample = Config::parse(SAMPLE).unwrap().check().unwrap();
    let defaults = minimal("").unwrap();
    assert_eq!(format!("{sample:?}"), format!("{defaults:?}"));
}

#[test]
fn the_nested_sample_parses_and_names_the_server_above() {
    let sample = include_str!("../../../../deploy/nested-server.toml");
    let settings = Config::parse(sample).unwrap().check().unwrap();
    let above = UpstreamSettings::WorkloadApi {
        server: "root.example.org:8081".to_owned(),
        socket: PathBuf::from("/run/bulla/agent/workload.sock"),
        spiffe_id: None,
    };
    assert_eq!(settings.upstream, Some(above));
    let both = format!("{sample}[upstream.disk]\ncertificate_file = \"/a\"\nkey_file = \"/b\"\n");
    let refused = Config::parse(&both).unwrap().check().unwrap_err();
    assert!(refused.to_string().contains("at most one"), "{refused}");
}

/// Every key that exists has a line in the sample, commented out or not.
#[test]
fn the_sample_documents_every_key() {
    let uncommented: String = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix("#: ") {
            Some(key) => format!("{key}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    Config::parse(&uncommented).unwrap().check().unwrap();
    let file = include_str!("file.rs");
    for line in file.lines() {
        let Some(rest) = line.strip_prefix("    pub ") else {
            continue;
        };
        let Some((name, _)) = rest.split_once(':') else {
            continue;
        };
        if rest.starts_with("fn") || name.contains(' ') {
            continue;
        }
        let documented = uncommented
            .lines()
            .any(|l| l.starts_with(&format!("{name} =")) || l == format!("[{name}]"));
        assert!(documented, "deploy/server.toml does not mention {name}");
    }
}

#[test]
fn unknown_keys_are_refused_by_name() {
    for (text, key) in [
        ("listn = \"x\"", "listn"),
        ("[ca]\nkeytype = \"ec-p256\"", "keytype"),
    ] {
        let error = minimal(text).unwrap_err();
        assert!(matches!(error, ConfigError::Syntax(_)));
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn bad_values_name_key_value_and_remedy() {
    for (text, key) in [
        ("data_dir = \"here\"", "data_dir"),
        ("listen = \"localhost:8081\"", "listen"),
        ("advertise = \"bulla.example.org\"", "advertise"),
        ("worker_threads = 0", "worker_threads"),
        ("server_number = 128", "server_number"),
        ("[store]\ncache_mib = 1", "store.cache_mib"),
        ("[ca]\nkey_type = \"dsa\"", "ca.key_type"),
        ("[ca]\nttl = \"1 day\"", "ca.ttl"),
        ("[svid]\nx509_ttl = \"48h\"", "svid.x509_ttl"),
        ("[svid]\nagent_ttl = \"0s\"", "svid.agent_ttl"),
        (
            "[rotation]\nschedule = \"every ten seconds\"",
            "rotation.schedule",
        ),
        ("[jwt]\nissuer = \"http://example.org\"", "jwt.issuer"),
        (
            "[attestation]\njoin_token_ttl = \"40d\"",
            "attestation.join_token_ttl",
        ),
        ("[ops]\nlisten = \"80\"", "ops.listen"),
        ("[log]\nlevel = \"loud\"", "log.level"),
    ] {
        match minimal(text).unwrap_err() {
            ConfigError::Value {
                key: named,
                problem,
                ..
            } => {
                assert_eq!(named, key);
                assert!(!problem.is_empty());
            }
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn a_foreign_trust_domain_name_is_refused() {
    let error = Config::parse("trust_domain = \"Example.org\"")
        .unwrap()
        .check()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("trust_domain = \"Example.org\""),
        "{error}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(&PathBuf::from("/nonexistent/server.toml")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/server.toml"));
}

#[test]
fn keys_are_kept_in_one_place_and_its_secrets_are_elsewhere() {
    let token = "[keys]\nstorage = \"pkcs11\"\n[keys.pkcs11]\nmodule = \"/usr/lib/hsm.so\"\n\
                 token = \"bulla\"\npin_file = \"/etc/bulla/pin\"\n";
    let settings = minimal(token).unwrap();
    let KeysAt::Token(found) = settings.keys else {
        panic!("{:?}", settings.keys)
    };
    assert_eq!(found.pin, SecretAt::File("/etc/bulla/pin".into()));
    assert_eq!(found.sessions, 8);
    let sealed = minimal("[keys]\ncredential = \"bulla-keys\"").unwrap();
    let credential = SecretAt::Credential("bulla-keys".into());
    assert_eq!(sealed.keys, KeysAt::FilesUnderSecret(credential));
    let in_memory = minimal("[store]\nengine = \"memory\"").unwrap();
    assert_eq!(in_memory.keys, KeysAt::Memory);
    let kms = |text: &str| format!("[keys]\nstorage = \"aws_kms\"\n[keys.aws_kms]\n{text}");
    let KeysAt::Kms(found) = minimal(&kms("region = \"eu-west-1\"")).unwrap().keys else {
        panic!("no KMS")
    };
    let endpoint = found.endpoint.to_string();
    assert_eq!(endpoint, "https://kms.eu-west-1.amazonaws.com");
    assert_eq!(found.credentials, KmsCredentials::Environment);
    for (text, key) in [
        ("[keys]\nstorage = \"memory\"", "keys.storage"),
        ("[keys]\nstorage = \"pkcs11\"", "keys.storage"),
        ("[keys]\ncredential = \"../x\"", "keys.credential"),
        ("[keys]\ntimeout = \"0s\"", "keys.timeout"),
        (
            "[keys]\ncredential = \"x\"\npassphrase_file = \"/p\"",
            "keys.credential",
        ),
        (&token.replace("pin_file", "# pin_file"), "keys.pkcs11"),
        (&token.replace("\"pkcs11\"", "\"file\""), "keys.pkcs11"),
        (&format!("{token}sessions = 0"), "keys.pkcs11.sessions"),
        (&token.replace("/usr", "usr"), "keys.pkcs11.module"),
        ("[keys]\nstorage = \"aws_kms\"", "keys.storage"),
        (&kms("region = \"Mars\""), "keys.aws_kms.region"),
        (
            &kms("region = \"x\"\nendpoint = \"http://kms.example.org\""),
            "keys.aws_kms.endpoint",
        ),
        (
            &kms("region = \"x\"\ncredentials = \"file\""),
            "keys.aws_kms.credentials",
        ),
        (
            &kms("region = \"x\"\nprofile = \"p\""),
            "keys.aws_kms.credentials",
        ),
        (
            &format!("[store]\nengine = \"memory\"\n{token}"),
            "keys.storage",
        ),
    ] {
        let refused = minimal(text).unwrap_err();
        assert!(refused.to_string().starts_with(key), "{text}: {refused}");
    }
}

/// What the sample cannot hold uncommented, for one storage excludes another.
#[test]
fn the_sample_mentions_every_key_of_every_key_storage() {
    for name in [
        "credential",
        "module",
        "token",
        "pin_file",
        "pin_credential",
        "sessions",
        "region",
        "endpoint",
        "ca_bundle_file",
        "credentials",
        "credentials_file",
        "profile",
    ] {
        let mentioned = SAMPLE.contains(&format!("# {name} = "));
        assert!(mentioned, "deploy/server.toml does not mention {name}");
    }
}
