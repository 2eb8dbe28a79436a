//! Keys in a KMS that nobody here wrote: moto's, which checks the signature of each
//! request as AWS does. `tests/run peers` sets it up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and has randomness and time of its own"
)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use aws_kms::{CredentialsFrom, Endpoint, KmsKeys, KmsOptions, Secret};
use keys::{KeyStorage, KeyType, Protection, SignError, StorageError};
use ring::rand::SystemRandom;

const REGION: &str = "eu-central-1";

/// A running moto with a user of its own; killed when dropped.
struct Moto {
    process: Child,
    port: u16,
}

impl Moto {
    fn start(args: &[&str], unchecked_calls: u32) -> Self {
        let peer = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../.peers/moto/bin/moto_server"
        );
        assert!(Path::new(peer).exists(), "run `tests/run peers` first");
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new(peer);
        command
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if unchecked_calls > 0 {
            command.env("INITIAL_NO_AUTH_ACTION_COUNT", unchecked_calls.to_string());
        }
        let process = command.spawn().unwrap();
        let moto = Self { process, port };
        let patience = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < patience, "moto does not start");
            thread::yield_now();
        }
        moto
    }

    /// One that turns away whoever does not sign as its user does: (it, id, secret).
    fn strict() -> (Self, String, String) {
        let moto = Self::start(&[], 3);
        let may = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A\
                   %22Allow%22%2C%22Action%22%3A%22kms%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
        moto.iam("Action=CreateUser&UserName=bulla");
        moto.iam(&format!(
            "Action=PutUserPolicy&UserName=bulla&PolicyName=p&PolicyDocument={may}"
        ));
        let made = moto.iam("Action=CreateAccessKey&UserName=bulla");
        let field = |name: &str| {
            let (_, rest) = made.split_once(&format!("<{name}>")).expect("a field");
            rest.split('<').next().unwrap().to_owned()
        };
        let (id, secret) = (field("AccessKeyId"), field("SecretAccessKey"));
        (moto, id, secret)
    }

    fn iam(&self, form: &str) -> String {
        let form = format!("{form}&Version=2010-05-08");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/iam/aws4_request, \
             SignedHeaders=host, Signature=0\r\n\r\n{form}",
            form.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn options(&self, credentials: CredentialsFrom) -> KmsOptions {
        KmsOptions {
            region: REGION.to_owned(),
            endpoint: format!("http://127.0.0.1:{}", self.port).parse().unwrap(),
            authorities: None,
            credentials,
            alias_prefix: "bulla/example/org".to_owned(),
            budget: Duration::from_secs(3),
            now: Box::new(now),
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}

fn fixed(id: &str, secret: &str) -> CredentialsFrom {
    CredentialsFrom::Fixed {
        access_key: id.to_owned(),
        secret: Secret::new(secret.to_owned()),
        token: None,
    }
}

#[test]
fn keys_live_in_kms_and_requests_are_signed_as_aws_wants() {
    let (moto, id, secret) = Moto::strict();
    let open = || KmsKeys::open(moto.options(fixed(&id, &secret)));
    let rng = SystemRandom::new();
    let keys = open().unwrap();
    assert_eq!(keys.protection(), Protection::AwsKms);
    let types = [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048];
    let made = types.map(|kind| keys.create(kind.name(), kind, &rng).unwrap());
    let again = keys.create("ec-p256", KeyType::EcP256, &rng).map(|_| ());
    assert!(matches!(again, Err(StorageError::Exists(_))), "{again:?}");
    drop(keys);
    let keys = open().unwrap();
    assert_eq!(keys.list().unwrap(), ["ec-p256", "ec-p384", "rsa-2048"]);
    for (kind, made) in types.into_iter().zip(made) {
        let loaded = keys.load(kind.name()).unwrap().unwrap();
        assert!(loaded.is_remote());
        assert_eq!(loaded.public_key().key_type(), kind);
        assert_eq!(loaded.public_key(), made.public_key());
        let signature = loaded.sign(b"message").unwrap();
        made.public_key().verify(b"message", &signature).unwrap();
        assert!(made.public_key().verify(b"massage", &signature).is_err());
        // What is removed is found no more, and its name is free again.
        keys.remove(kind.name()).unwrap();
        keys.remove(kind.name()).unwrap();
        assert!(keys.load(kind.name()).unwrap().is_none());
    }
    assert!(keys.list().unwrap().is_empty());
    let new = keys.create("ec-p256", KeyType::EcP256, &rng).unwrap();
    assert!(new.sign(b"m").is_ok());

    // Wrong credentials are said, and never shown.
    let wrong = KmsKeys::open(moto.options(fixed(&id, "hush-hush"))).map(|_| ());
    let text = wrong.unwrap_err().to_string();
    assert!(text.contains("credentials or clock are wrong"), "{text}");
    assert!(!text.contains("hush"), "{text}");

    // So they are from a file, for the profile that has them.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    let text = format!(
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = x\n\n\
         [bulla]\naws_access_key_id = {id}\naws_secret_access_key={secret}\n"
    );
    std::fs::write(&path, text).unwrap();
    let from = |profile: &str| CredentialsFrom::File {
        path: path.clone(),
        profile: profile.to_owned(),
    };
    let keys = KmsKeys::open(moto.options(from("bulla"))).unwrap();
    assert_eq!(keys.list().unwrap(), ["ec-p256"]);
    assert!(KmsKeys::open(moto.options(from("default"))).is_err());
    assert!(KmsKeys::open(moto.options(from("nobody"))).is_err());

    instances_and_containers_are_given_credentials(&moto, &id, &secret);
    whoever_does_not_answer_is_unavailable_within_the_budget(moto, &id, &secret);
}

/// A platform that hands credentials out for a while; it counts how often.
fn platform(id: &str, secret: &str, lifetime: i64) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let given = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&given);
    let body = format!(
        "{{\"AccessKeyId\":\"{id}\",\"SecretAccessKey\":\"{secret}\",\"Expiration\":\"{}\"}}",
        written(now() + lifetime)
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let authorised = head.contains("authorization: let-me-in")
                || head.contains("x-aws-ec2-metadata-token: session");
            let answer = match head.split(' ').nth(1) {
                Some("/latest/api/token") if head.starts_with("put") => "session".to_owned(),
                Some("/latest/meta-data/iam/security-credentials/") if authorised => "role".into(),
                Some("/creds?v=1" | "/latest/meta-data/iam/security-credentials/role")
                    if authorised =>
                {
                    counted.fetch_add(1, Ordering::SeqCst);
                    body.clone()
                }
                _ => panic!("{head}"),
            };
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            )
            .unwrap();
        }
    });
    (port, given)
}

/// A time of this century, as the platform writes it.
fn written(at: i64) -> String {
    let date = Command::new("date")
        .args(["-u", "-d", &format!("@{at}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

fn instances_and_containers_are_given_credentials(moto: &Moto, id: &str, secret: &str) {
    let folder = tempfile::tempdir().unwrap();
    let token_file: PathBuf = folder.path().join("token");
    std::fs::write(&token_file, "let-me-in\n").unwrap();
    for (lifetime, kept) in [(3_600, true), (60, false)] {
        for instance in [true, false] {
            let (port, given) = platform(id, secret, lifetime);
            let host = "127.0.0.1".to_owned();
            let from = if instance {
                CredentialsFrom::Instance { host, port }
            } else {
                CredentialsFrom::Container {
                    host,
                    port,
                    path: "/creds?v=1".to_owned(),
                    token_file: Some(token_file.clone()),
                }
            };
            let keys = KmsKeys::open(moto.options(from)).unwrap();
            for _ in 0..3 {
                assert_eq!(keys.list().unwrap(), ["ec-p256"]);
            }
            // Kept while they are good, fetched anew when they are about to end.
            let given = given.load(Ordering::SeqCst);
            assert_eq!(given == 1, kept, "given {given} times for {lifetime} s");
        }
    }
}

fn whoever_does_not_answer_is_unavailable_within_the_budget(moto: Moto, id: &str, secret: &str) {
    let keys = KmsKeys::open(moto.options(fixed(id, secret))).unwrap();
    let signer = keys.load("ec-p256").unwrap().unwrap();
    drop(moto);
    let begun = Instant::now();
    let signed = signer.sign(b"message");
    assert!(
        matches!(signed, Err(SignError::Unavailable(_))),
        "{signed:?}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn kms_is_reached_by_tls_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = [cert.to_str().unwrap(), key.to_str().unwrap()];
    let moto = Moto::start(&["-c", files[0], "-k", files[1]], 0);
    let endpoint: Endpoint = format!("https://localhost:{}", moto.port).parse().unwrap();
    let open = |authorities: Option<Vec<u8>>| {
        KmsKeys::open(KmsOptions {
            endpoint: endpoint.clone(),
            authorities,
            ..moto.options(fixed("id", "secret"))
        })
    };
    let keys = open(Some(made.cert.pem().into_bytes())).unwrap();
    let rng = SystemRandom::new();
    let signer = keys.create("k", KeyType::EcP256, &rng).unwrap();
    assert!(signer.sign(b"m").is_ok());
    let stranger = open(None).map(|_| ()).unwrap_err().to_string();
    assert!(stranger.contains("certificate"), "{stranger}");
}
