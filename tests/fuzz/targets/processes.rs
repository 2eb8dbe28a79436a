//! What the agent reads about local processes, from container engines and
//! plug-ins, and what local clients send before HTTP is understood.

use std::path::Path;

use channel::authority_rewrite::AuthorityRewrite;
use contract::ControlGroup;
use docker::{Container, ContainerId};
use external::Handshake;
use tokio::io::AsyncReadExt as _;

use super::{Target, judged};

const ID: &str = "4c01db0b339c4c01db0b339c4c01db0b339c4c01db0b339c4c01db0b339c0001";

pub(crate) const CONTROL_GROUPS: Target = Target {
    name: "control_groups",
    reads: "names of control groups, which workloads may choose in part",
    seeds: || {
        vec![
            b"/system.slice/nginx.service".to_vec(),
            format!("/system.slice/docker-{ID}.scope").into_bytes(),
            format!("/docker/{ID}/nested").into_bytes(),
            b"/user.slice/user-1000.slice/user@1000.service/app.slice/a.service".to_vec(),
        ]
    },
    words: &[
        b".service",
        b".slice",
        b".scope",
        b"/",
        b"\\x2d",
        b"@",
        b"docker-",
        b"libpod-",
        b"\n",
    ],
    generate: None,
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let groups: Vec<ControlGroup> = text
            .lines()
            .take(16)
            .map(|path| ControlGroup {
                hierarchy: 0,
                controllers: String::new(),
                path: path.to_owned(),
            })
            .collect();
        let unit = systemd::unit_of(&groups).map(|unit| unit.is_some());
        let container = docker::container_of(&groups).map(|found| found.is_some());
        format!("{unit:?} {container:?}")
    },
};

pub(crate) const CONTAINER: Target = Target {
    name: "container_answer",
    reads: "what a container engine answers about a container",
    seeds: || {
        let answer = serde_json::json!({
            "Id": ID, "Image": "sha256:00", "State": {"Running": true, "Pid": 7},
            "Config": {"Image": "web:1", "Labels": {"a": "b"}, "Env": ["A=B"]},
            "HostConfig": {"CgroupParent": ""},
        });
        vec![answer.to_string().into_bytes()]
    },
    words: &[
        b"\"Config\":",
        b"\"Labels\":{",
        b"\"Env\":[",
        b"null",
        b"\"Pid\":",
        b"\"Id\":",
    ],
    generate: None,
    run: |bytes| {
        judged(Container::from_json(
            bytes,
            &ContainerId::parse(ID).unwrap(),
        ))
    },
};

pub(crate) const PLUGIN_LINE: Target = Target {
    name: "plugin_line",
    reads: "the first line that an external attestor prints",
    seeds: || vec![b"1|1|unix|/run/plugin/p.sock|grpc|".to_vec()],
    words: &[b"|", b"unix", b"tcp", b"grpc", b"..", b"/"],
    generate: None,
    run: |bytes| {
        let line = String::from_utf8_lossy(bytes);
        judged(Handshake::parse(&line, Path::new("/run/plugin")))
    },
};

pub(crate) const HTTP2_FRAMES: Target = Target {
    name: "http2_frames",
    reads: "the first frames of local gRPC clients, whose :authority may be a path",
    seeds: || {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        // :method POST, :scheme http, :path /, :authority of eleven bytes.
        let block = [b"\x83\x86\x84\x41\x0b".as_slice(), b"/tmp/a.sock"].concat();
        let mut headers = vec![0, 0, block.len().try_into().unwrap(), 1, 4, 0, 0, 0, 1];
        headers.extend(block);
        vec![[preface.as_slice(), &settings, &headers].concat()]
    },
    words: &[
        b"\x00\x00\x04\x08",
        b"\x41\x8b",
        b"\x3f\xe1\x1f",
        b"\xff\xff\xff\xff",
        b"\x00\x40\x00\x01\x04",
    ],
    generate: None,
    run: |bytes| {
        let at = bytes.len() / 3;
        let (prefix, rest) = bytes.split_at(at);
        let mut stream =
            AuthorityRewrite::new(std::io::Cursor::new(rest.to_vec()), prefix.to_vec());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut read = Vec::new();
        runtime.block_on(stream.read_to_end(&mut read)).unwrap();
        // Whatever it is, no byte is lost or added.
        assert_eq!(read.len(), bytes.len());
        format!("{}", read == bytes)
    },
};
