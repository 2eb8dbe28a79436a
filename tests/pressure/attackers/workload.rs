//! A workload of another user with an entry of its own: streams that it never
//! reads, tokens for audiences nobody has, connections and long polls by the hundred.

use std::time::Duration;

use api::workload::JwtsvidRequest;
use api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use bulla_tests::with_header;
use channel::{ChannelOptions, uds_channel};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::{Target, forever};
use crate::stage::ATTACKER_UID;

/// Gives root's rights up.
pub(crate) fn become_its_user() {
    let (uid, gid) = (Uid::from_raw(ATTACKER_UID), Gid::from_raw(ATTACKER_UID));
    setgroups(&[gid]).unwrap();
    setresgid(gid, gid, gid).unwrap();
    setresuid(uid, uid, uid).unwrap();
}

pub(crate) fn attack(target: &Target, tasks: &mut JoinSet<()>) {
    let socket = target.workload.clone();
    forever(tasks, 300, move |_, _| {
        let socket = socket.clone();
        async move {
            if let Ok(mut stream) = UnixStream::connect(socket).await {
                let _cut = stream.write_all(&opened_and_never_read()).await;
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let socket = target.workload.clone();
    forever(tasks, 300, move |_, _| {
        let socket = socket.clone();
        async move {
            if let Ok(mut stream) = UnixStream::connect(socket).await {
                let poll = "GET /v1/svid/x509 HTTP/1.1\r\nhost: a\r\nworkload.spiffe.io: true\r\nif-none-match: *\r\nprefer: wait=30\r\n\r\n";
                let _cut = stream.write_all(poll.as_bytes()).await;
                let _cut = stream.read(&mut [0; 256]).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let socket = target.workload.clone();
    forever(tasks, 8, move |task, nth| {
        let socket = socket.clone();
        async move {
            let Ok(channel) = uds_channel(&socket, &ChannelOptions::default()).await else {
                return tokio::time::sleep(Duration::from_millis(50)).await;
            };
            let mut client = SpiffeWorkloadApiClient::new(channel);
            for turn in 0..100_u64 {
                let long = format!("{task}-{nth}-{turn}-{}", "x".repeat(900));
                let wanted = JwtsvidRequest {
                    audience: (0..16).map(|n| format!("{n}-{long}")).collect(),
                    ..JwtsvidRequest::default()
                };
                let _answer = client.fetch_jwtsvid(with_header(wanted)).await;
            }
        }
    });
}

/// The frames of a client that opens a FetchX509SVID stream with a window of nothing.
fn opened_and_never_read() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS: INITIAL_WINDOW_SIZE (4) = 0.
    bytes.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (":path", "/SpiffeWorkloadAPI/FetchX509SVID"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("workload.spiffe.io", "true"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.bytes());
        }
    }
    let length = u8::try_from(block.len()).unwrap();
    bytes.extend([0, 0, length, 1, 4, 0, 0, 0, 1]);
    bytes.extend(block);
    // DATA, end of stream: an empty message.
    bytes.extend([0, 0, 5, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    bytes
}
