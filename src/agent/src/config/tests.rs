//! What a configuration may and may not say.

use super::check::parse_pin;
use super::{Config, ConfigError, JoinToken};

type Spoil = fn(&mut Config);

fn minimal() -> Config {
    Config::new("example.org", "127.0.0.1:8081")
}

#[test]
fn the_sample_parses_and_passes_the_check() {
    let sample = include_str!("../../../../deploy/agent.toml");
    let config = Config::from_toml(sample).unwrap();
    config.check().unwrap();
    // Every key with a default states that default, so the sample is its documentation.
    let default = minimal();
    assert_eq!(config.limits, default.limits);
    assert_eq!(config.data_dir, default.data_dir);
    assert_eq!(config.workload_socket, default.workload_socket);
    assert_eq!(config.admin_socket, default.admin_socket);
}

#[test]
fn unknown_keys_are_errors() {
    for text in [
        "trust_domain = \"a\"\ntrust_domian = \"b\"\n[server]\naddress = \"a:1\"",
        "trust_domain = \"a\"\n[server]\naddress = \"a:1\"\n[limits]\nconnection = 3",
        "trust_domain = \"a\"\njoin_token = \"t\"\n[server]\naddress = \"a:1\"",
    ] {
        let refused = Config::from_toml(text).unwrap_err();
        assert!(matches!(refused, ConfigError::Toml(_)), "{refused}");
    }
}

#[test]
fn values_that_do_not_fit_are_named() {
    let bad: [(&str, Spoil); 9] = [
        ("trust_domain", |c| c.trust_domain = "a b".into()),
        ("server.address", |c| c.server.address = "host".into()),
        ("limits", |c| c.limits.views = 0),
        ("delegated_identity.authorized_delegates", |c| {
            c.delegated_identity.authorized_delegates = vec!["spiffe://other.org/proxy".into()];
        }),
        ("ops.listen", |c| {
            c.ops.listen = Some(([10, 0, 0, 1], 80).into())
        }),
        ("trust.bundle_sha256", |c| {
            c.trust.bundle_sha256 = vec!["ab".into()]
        }),
        ("workload_api.socket_mode", |c| {
            c.workload_api.socket_mode = "999".into()
        }),
        ("workload_api.x509_key_type", |c| {
            c.workload_api.x509_key_type = "rsa".into()
        }),
        ("storage.seal_key_file", |c| {
            c.storage.seal_key_file = Some(c.data_dir.join("key"));
        }),
    ];
    for (key, spoil) in bad {
        let mut config = minimal();
        spoil(&mut config);
        let refused = config.check().unwrap_err().to_string();
        assert!(refused.starts_with(key), "{key}: {refused}");
    }
    minimal().check().unwrap();
}

#[test]
fn pins_come_in_the_usual_spellings() {
    let digits = "ab".repeat(32);
    let colons = vec!["AB"; 32].join(":");
    for text in [digits.clone(), format!("sha256:{digits}"), colons] {
        assert_eq!(parse_pin(&text).unwrap(), [0xab; 32]);
    }
}

#[test]
fn a_token_is_never_shown() {
    let token = JoinToken::new(" 6c1b-secret-0123456789abcdef\n").unwrap();
    assert_eq!(token.secret(), "6c1b-secret-0123456789abcdef");
    assert!(!format!("{token:?}").contains("secret"));
    assert!(JoinToken::new("  ").is_err());
    assert!(JoinToken::new("two words").is_err());
}

fn external(name: &str) -> super::ExternalConfig {
    super::ExternalConfig {
        name: name.to_owned(),
        path: "/opt/attestors/rack".into(),
        sha256: "ab".repeat(32),
        config: String::new(),
        optional: false,
    }
}

#[test]
fn attestors_outside_the_tree_have_names_of_their_own_and_a_hash() {
    let check = |externals: Vec<super::ExternalConfig>| {
        let mut config = minimal();
        config.attestors.external = externals;
        config.check().map_err(|error| error.to_string())
    };
    check(vec![external("rack"), external("hall_2")]).unwrap();
    for name in [
        "",
        "unix",
        "docker",
        "spiffe_id",
        "a:b",
        "a/b",
        "..",
        "Rack",
    ] {
        let refused = check(vec![external(name)]).unwrap_err();
        assert!(
            refused.starts_with("attestors.external"),
            "{name}: {refused}"
        );
    }
    assert!(check(vec![external("rack"), external("rack")]).is_err());
    assert!(check(vec![external("rack"); 17]).is_err());
    let mut bad = external("rack");
    bad.sha256 = "ab".to_owned();
    assert!(
        check(vec![bad])
            .unwrap_err()
            .contains("sha256sum /opt/attestors/rack")
    );
    let mut bad = external("rack");
    bad.path = "rack".into();
    assert!(check(vec![bad]).is_err());
}
