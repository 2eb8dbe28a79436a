//! The generated code in `src/api/src/gen` is what `src/api/proto` says: this
//! test makes it again, without protoc, and compares byte by byte. After a
//! change to a proto run it once with `BULLA_REGENERATE=1`, which writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Messages that carry secrets: their `Debug` is written by hand
/// (`src/api/src/redacted.rs`).
const SECRET: &[&str] = &[
    ".X509SVID",
    ".JWTSVID",
    ".WITSVID",
    ".ValidateJWTSVIDRequest",
    ".spire.api.types.AttestationData",
    ".spire.api.types.JoinToken",
    ".spire.api.types.JWTSVID",
    ".spire.api.types.WITSVID",
    ".spire.api.agent.delegatedidentity.v1.X509SVIDWithKey",
    ".bulla.token.v1.MintResponse",
    ".bulla.workload.v1.TokenPair",
    ".spire.api.server.agent.v1.CreateJoinTokenRequest",
    ".envoy.service.discovery.v3.DiscoveryResponse",
    ".envoy.service.discovery.v3.Resource",
    ".envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
];

const DESCRIPTOR: &str = "descriptor.bin";

fn api_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/api")
}

fn protos(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            protos(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "proto") {
            found.push(path);
        }
    }
}

fn generate(out: &Path) {
    let root = api_dir().join("proto");
    let mut files = Vec::new();
    protos(&root, &mut files);
    let mut compiler = protox::Compiler::new([&root]).unwrap();
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(&files)
        .unwrap();
    tonic_prost_build::configure()
        .out_dir(out)
        .bytes(".")
        .btree_map(".")
        .emit_rerun_if_changed(false)
        .build_transport(false)
        .codec_path("crate::codec::LeanCodec")
        .skip_debug(SECRET)
        .compile_fds(compiler.file_descriptor_set())
        .unwrap();
    // The Workload API has no package, which makes for an odd file name.
    fs::rename(out.join("_.rs"), out.join("workload.rs")).unwrap();
    // For reflection and for the RPC x role table; comments are left out.
    compiler.include_source_info(false);
    let lean = compiler.encode_file_descriptor_set();
    fs::write(out.join(DESCRIPTOR), lean).unwrap();
}

fn read_all(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(dir) else {
        return BTreeMap::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect()
}

#[test]
fn generated_code_matches_the_protos() {
    let fresh_dir = tempfile::tempdir().unwrap();
    generate(fresh_dir.path());
    let fresh = read_all(fresh_dir.path());
    let committed_dir = api_dir().join("src/gen");
    if asked_by("BULLA_REGENERATE") {
        fs::create_dir_all(&committed_dir).unwrap();
        for name in read_all(&committed_dir).keys() {
            fs::remove_file(committed_dir.join(name)).unwrap();
        }
        for (name, bytes) in &fresh {
            fs::write(committed_dir.join(name), bytes).unwrap();
        }
        return;
    }
    let committed = read_all(&committed_dir);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&fresh),
        names(&committed),
        "the protos make other files than src/api/src/gen holds; run with BULLA_REGENERATE=1"
    );
    for (name, bytes) in &fresh {
        assert!(
            committed[name] == *bytes,
            "src/api/src/gen/{name} is not what the protos make; run with BULLA_REGENERATE=1"
        );
    }
}

/// Whether a test is asked to write instead of compare.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's switch, not configuration of the product"
)]
fn asked_by(name: &str) -> bool {
    std::env::var_os(name).is_some()
}
