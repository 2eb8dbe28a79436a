//! A stock nginx takes each new certificate while it is under load, and nobody
//! notices but by the certificate.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bulla_tests::{Domain, Process, eventually, free_port};
use nix::sys::signal::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const NAME: &str = "web.example.org";
const ROTATIONS: usize = 10;
/// Connections for each rotation.
const VISITS_EACH: usize = 200;

fn configuration(folder: &Path, files: &Path, port: u16) -> String {
    let (at, files) = (folder.display(), files.display());
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(temporary, "  {kind}_temp_path {at}/{kind};").unwrap();
    }
    format!(
        "daemon off; pid {at}/nginx.pid; error_log {at}/error.log notice; worker_processes 2;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n  access_log off;\n{temporary}\
           server {{\n    listen 127.0.0.1:{port} ssl;\n    server_name {NAME};\n\
             ssl_certificate {files}/svid.pem;\n    ssl_certificate_key {files}/svid-key.pem;\n\
             location / {{ return 200 \"ok\\n\"; }}\n  }}\n}}\n"
    )
}

/// One connection of its own: handshake, request, whole answer. The certificate
/// that proved the server, or what went wrong.
fn visit(config: &Arc<ClientConfig>, port: u16) -> Result<Vec<u8>, String> {
    let name = ServerName::try_from(NAME).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).map_err(|e| format!("connect: {e}"))?;
    let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(tls, tcp);
    let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .map_err(|e| format!("request: {e}"))?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .map_err(|e| format!("answer: {e}"))?;
    if !answer.starts_with("HTTP/1.1 200") || !answer.ends_with("ok\n") {
        return Err(format!("half an answer: {answer}"));
    }
    let chain = stream.conn.peer_certificates().unwrap();
    Ok(chain[0].to_vec())
}

/// What the visitors share.
#[derive(Default)]
struct Visitors {
    over: AtomicBool,
    visits: AtomicUsize,
}

/// Visits until told to stop: all certificates seen, all failures.
fn load(
    config: &Arc<ClientConfig>,
    port: u16,
    visitors: &Visitors,
) -> (BTreeSet<Vec<u8>>, Vec<String>) {
    let (mut seen, mut failures) = (BTreeSet::new(), Vec::new());
    while !visitors.over.load(Ordering::Relaxed) {
        match visit(config, port) {
            Ok(certificate) => {
                seen.insert(certificate);
            }
            Err(failure) => failures.push(failure),
        }
        visitors.visits.fetch_add(1, Ordering::Relaxed);
    }
    (seen, failures)
}

fn trusting(bundle: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(bundle).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each visit is a whole handshake, with a certificate to look at.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// The processes of one set-up, so that nginx ends even when the test fails.
struct Web {
    keeper: Process,
    nginx: Process,
    port: u16,
}

fn start(domain: &Domain) -> Web {
    let (folder, files) = (domain.path("nginx"), domain.path("tls"));
    std::fs::create_dir(&folder).unwrap();
    let pid = folder.join("nginx.pid");
    let hook = [
        "--debounce-ms",
        "0",
        "--signal",
        pid.to_str().unwrap(),
        "HUP",
    ];
    let keeper = crate::files::keeper(domain, &["x509"], &files, &hook);
    eventually("the first certificate", || {
        files.join("svid-key.pem").exists().then_some(())
    });
    let port = free_port();
    let conf = folder.join("nginx.conf");
    std::fs::write(&conf, configuration(&folder, &files, port)).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(&conf).arg("-p").arg(&folder);
    command.arg("-e").arg(folder.join("error.log"));
    let nginx = Process::start(&mut command, &domain.path("nginx.log"));
    let config = trusting(&files.join("bundle.pem"));
    eventually("nginx serves", || visit(&config, port).ok());
    Web {
        keeper,
        nginx,
        port,
    }
}

/// Makes a new certificate and waits until nginx shows it and visitors have come
/// before, during and after.
fn rotate(domain: &Domain, entry: &str, web: &Web, config: &Arc<ClientConfig>, name: &str) {
    let chain = domain.path("tls/svid.pem");
    let leaf = || CertificateDer::from_pem_file(&chain).unwrap().to_vec();
    let before = leaf();
    let change = ["entry", "update", entry, "--dns-name", NAME, "--dns-name"];
    let _ = domain.admin([&change[..], &[name]].concat()).ok();
    eventually("a new certificate", || (leaf() != before).then_some(()));
    eventually("nginx shows it", || {
        (visit(config, web.port).ok()? == leaf()).then_some(())
    });
}

#[test]
fn nginx_reloads_rotated_certificates_under_load_without_one_failed_connection() {
    let domain = Domain::start();
    let entry = domain.register("/web", ["--dns-name", NAME]);
    domain.await_svid("/web");
    let web = start(&domain);
    let config = trusting(&domain.path("tls/bundle.pem"));
    let visitors = Visitors::default();
    let results = std::thread::scope(|scope| {
        let running: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| load(&config, web.port, &visitors)))
            .collect();
        for round in 1..=ROTATIONS {
            let name = format!("n{round}.example.org");
            rotate(&domain, &entry, &web, &config, &name);
            eventually("visitors after the rotation", || {
                let visits = visitors.visits.load(Ordering::Relaxed);
                (visits >= round * VISITS_EACH).then_some(())
            });
        }
        visitors.over.store(true, Ordering::Relaxed);
        let joined = running.into_iter().map(|visitor| visitor.join().unwrap());
        joined.collect::<Vec<_>>()
    });
    let failures: Vec<&String> = results.iter().flat_map(|result| &result.1).collect();
    let seen: BTreeSet<&Vec<u8>> = results.iter().flat_map(|result| &result.0).collect();
    assert!(failures.is_empty(), "{}: {failures:?}", failures.len());
    assert!(seen.len() >= ROTATIONS, "{} certificates", seen.len());
    let log = std::fs::read_to_string(domain.path("nginx/error.log")).unwrap();
    assert!(
        !log.contains("[emerg]") && !log.contains("[error]"),
        "{log}"
    );
    web.nginx.signal(Signal::SIGQUIT);
    let _ = web.nginx.wait("nginx ends");
    assert!(web.keeper.output().contains("\"ok\":true"));
}
