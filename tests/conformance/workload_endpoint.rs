//! The Workload Endpoint: the socket, the security header, and the codes.

use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use bulla_tests::{Domain, Ran, Settings, eventually, need_root};
use tonic::client::Grpc;
use tonic::{Code, Request};

use crate::rows::{NOTHING, rows};
use crate::world::{World, code};

const METHODS: [&str; 6] = [
    "/SpiffeWorkloadAPI/FetchX509SVID",
    "/SpiffeWorkloadAPI/FetchX509Bundles",
    "/SpiffeWorkloadAPI/FetchJWTSVID",
    "/SpiffeWorkloadAPI/FetchJWTBundles",
    "/SpiffeWorkloadAPI/ValidateJWTSVID",
    "/SpiffeWorkloadAPI/FetchWITSVID",
];
/// Clients of these cannot be made to send the header, as with SPIRE's agent.
const WITHOUT_HEADER: [&str; 4] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.health.v1.Health/Check",
    "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
];

#[test]
fn the_agents_rows_of_the_workload_endpoint() {
    let world = World::start();
    rows!(&world;
        wep_20_the_header_is_checked_before_anything_else,
        wep_23_no_identity_is_permission_denied,
    );
    world.domain.register("/service", []);
    world.domain.await_svid("/service");
    rows!(&world;
        wep_1_2_5_6_the_endpoint_is_a_unix_socket_and_nothing_else,
        wep_3_9_it_speaks_grpc_without_tls,
        wep_4_7_10_our_own_client_finds_the_endpoint_and_sends_the_header,
        wep_8_every_request_needs_the_exact_header,
        wep_11_12_13_14_15_16_addresses_are_checked,
        wep_17_18_19_callers_need_no_secret_and_cannot_lie,
        wep_24_25_26_reflection_shows_the_workload_api,
        wep_28_unknown_methods_are_unimplemented,
    );
}

#[test]
fn the_agents_row_of_readiness() {
    rows!(&NOTHING; wep_22_not_ready_is_unavailable);
}

fn wep_20_the_header_is_checked_before_anything_else(world: &World) {
    // This process has no identity yet, and is told of the header all the same.
    for method in METHODS {
        assert_eq!(world.raw(method, &[]), Code::InvalidArgument, "{method}");
    }
}

fn wep_23_no_identity_is_permission_denied(world: &World) {
    assert_eq!(code(world.x509()), Code::PermissionDenied);
}

fn wep_1_2_5_6_the_endpoint_is_a_unix_socket_and_nothing_else(world: &World) {
    let file = std::fs::metadata(world.domain.workload_socket()).unwrap();
    assert!(file.file_type().is_socket());
    let pid = world.domain.agent.as_ref().unwrap().pid();
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let sockets: Vec<String> = fds
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    // State 0A is a listener.
    for table in ["tcp", "tcp6"] {
        let table = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields[3] == "0A" && sockets.iter().any(|s| s == fields[9]);
            assert!(!listens, "the agent listens on TCP: {line}");
        }
    }
}

fn wep_3_9_it_speaks_grpc_without_tls(world: &World) {
    world.x509().unwrap();
}

/// Without the header it would be refused, as the next row shows.
fn wep_4_7_10_our_own_client_finds_the_endpoint_and_sends_the_header(world: &World) {
    let fetch = |socket: &std::path::Path| {
        let mut command = bulla_tests::bulla();
        command.args(["fetch", "x509"]).env(
            "SPIFFE_ENDPOINT_SOCKET",
            format!("unix://{}", socket.display()),
        );
        Ran::of(&mut command).code
    };
    assert_eq!(fetch(&world.domain.workload_socket()), 0);
    assert_ne!(fetch(&world.domain.path("nobody.sock")), 0);
}

fn wep_8_every_request_needs_the_exact_header(world: &World) {
    let bad: [&[&str]; 6] = [&[], &["True"], &["TRUE"], &["1"], &[""], &["true", "true"]];
    for method in METHODS {
        for header in bad {
            let refused = world.raw(method, header);
            assert_eq!(refused, Code::InvalidArgument, "{method} with {header:?}");
        }
    }
    for method in WITHOUT_HEADER {
        let [none, wrong @ ..] = bad;
        // Reflection itself refuses the empty message that is sent here.
        if !method.starts_with("/grpc.reflection.") {
            let answered = world.raw(method, none);
            assert_ne!(answered, Code::InvalidArgument, "{method} without it");
        }
        for header in wrong {
            let refused = world.raw(method, header);
            assert_eq!(refused, Code::InvalidArgument, "{method} with {header:?}");
        }
    }
}

fn wep_11_12_13_14_15_16_addresses_are_checked(world: &World) {
    let socket = world.domain.workload_socket();
    let path = socket.display();
    let fetch = |endpoint: &str| {
        let mut command = bulla_tests::bulla();
        command
            .args(["fetch", "x509"])
            .env("SPIFFE_ENDPOINT_SOCKET", endpoint);
        Ran::of(&mut command).code
    };
    assert_eq!(fetch(&format!("unix://{path}")), 0);
    assert_eq!(fetch(&format!("unix:{path}")), 0);
    for bad in [
        format!("http://{path}"),
        format!("npipe:{path}"),
        format!("unix://host{path}"),
        "unix:rel.sock".to_owned(),
        format!("unix://{path}?x"),
        format!("unix://{path}#x"),
        format!("unix://u@{path}"),
        "tcp://localhost:1".to_owned(),
        "tcp://127.0.0.1".to_owned(),
        "tcp://127.0.0.1:1/foo".to_owned(),
        "tcp://127.0.0.1:1/".to_owned(),
    ] {
        assert_ne!(fetch(&bad), 0, "{bad}");
    }
}

fn wep_17_18_19_callers_need_no_secret_and_cannot_lie(world: &World) {
    // Nothing but the header and the request; and a child that inherits the
    // environment but not the identity of another user.
    assert_eq!(world.raw(METHODS[0], &["true"]), Code::Ok);
    need_root("starts a process of another user");
    let copy = world.domain.path("for-all");
    std::fs::copy(bulla_tests::program("bulla"), &copy).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.domain.path(""), std::fs::Permissions::clone(&open)).unwrap();
    std::fs::set_permissions(world.domain.path("agent"), open).unwrap();
    let mut command = Command::new(&copy);
    command
        .args(["fetch", "x509"])
        .env("SPIFFE_ENDPOINT_SOCKET", world.domain.endpoint())
        .uid(65534)
        .gid(65534);
    let ran = Ran::of(&mut command);
    assert!(ran.err.contains("no identity issued"), "{}", ran.err);
}

/// A reflection request for the list of services, and its answer.
#[derive(Clone, PartialEq, prost::Message)]
struct ListServices {
    #[prost(string, tag = "7")]
    list_services: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Services {
    #[prost(bytes = "vec", tag = "6")]
    list: Vec<u8>,
}

fn wep_24_25_26_reflection_shows_the_workload_api(world: &World) {
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let list = ListServices {
            list_services: "*".to_owned(),
        };
        let mut request = Request::new(tokio_stream::once(list));
        let header = "true".parse().unwrap();
        request.metadata_mut().insert("workload.spiffe.io", header);
        let channel = world.channel();
        let answer = world.wait(async {
            let mut grpc = Grpc::new(channel);
            grpc.ready().await.unwrap();
            let codec = tonic_prost::ProstCodec::<ListServices, Services>::default();
            let path = path.as_str().parse().unwrap();
            let mut stream = grpc
                .streaming(request, path, codec)
                .await
                .unwrap()
                .into_inner();
            stream.message().await.unwrap().unwrap()
        });
        let list = String::from_utf8_lossy(&answer.list).into_owned();
        assert!(list.contains("SpiffeWorkloadAPI"), "{list}");
    }
    // What is ours beside it has names of its own.
    let methods = [
        "/SpiffeWorkloadAPI/StreamSecrets",
        "/SpiffeWorkloadAPI/Check",
    ];
    for extended in methods {
        assert_eq!(world.raw(extended, &["true"]), Code::Unimplemented);
    }
}

fn wep_28_unknown_methods_are_unimplemented(world: &World) {
    for path in ["/SpiffeWorkloadAPI/Foo", "/some.other.Service/Method"] {
        assert_eq!(world.raw(path, &["true"]), Code::Unimplemented);
    }
}

fn wep_22_not_ready_is_unavailable((): &()) {
    // An agent that has never reached its server.
    let mut domain = Domain::server_alone(Settings::default());
    let token = domain
        .admin([
            "token",
            "create",
            "--spiffe-id",
            &domain.id("/node"),
            "--json",
        ])
        .ok()
        .json();
    domain.server.take().unwrap().kill();
    domain.start_agent(Some(&token));
    let mut world = World::of(domain);
    assert_eq!(code(world.x509()), Code::Unavailable);
    assert_eq!(code(world.jwt(&["a"], "")), Code::Unavailable);
    world.domain.start_server();
    world.domain.register("/late", []);
    eventually("it is served in the end", || world.x509().ok());
}
