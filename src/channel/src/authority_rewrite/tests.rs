//! Whatever a client encodes, and however it arrives: same bytes count, same
//! frames, same headers, and only unacceptable authorities changed. Encoded and
//! decoded by an HPACK implementation that is not ours.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use httlib_hpack::{Decoder, Encoder};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncRead, ReadBuf};

use super::frames::{MAX_HELD_BYTES, PREFACE, Rewriter};
use super::{AuthorityRewrite, READ_BYTES};

/// grpc-java's and grpc's C core's.
const JAVA: &str = "/tmp/a.sock";
const C_CORE: &str = "tmp%2Fa.sock";

type Header = (Vec<u8>, Vec<u8>);

/// A client's end that hands out its bytes in given pieces.
struct Pieces {
    bytes: Vec<u8>,
    sizes: Vec<usize>,
    next: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let size = this.sizes.get(this.next).copied().unwrap_or(usize::MAX);
        this.next += 1;
        let count = size.max(1).min(buf.remaining()).min(this.bytes.len());
        buf.put_slice(&this.bytes[..count]);
        this.bytes.drain(..count);
        Poll::Ready(Ok(()))
    }
}

/// All that the server sees of `bytes`, read `buffer` bytes at a time.
fn through(bytes: &[u8], sizes: Vec<usize>, buffer: usize) -> Vec<u8> {
    let pieces = Pieces {
        bytes: bytes.to_vec(),
        sizes,
        next: 0,
    };
    let mut stream = AuthorityRewrite::new(pieces, Vec::new());
    let mut seen = Vec::new();
    loop {
        let mut chunk = vec![0; buffer];
        let mut chunk = ReadBuf::new(&mut chunk);
        let polled =
            Pin::new(&mut stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut chunk);
        assert!(matches!(polled, Poll::Ready(Ok(()))));
        if chunk.filled().is_empty() {
            return seen;
        }
        seen.extend_from_slice(chunk.filled());
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// How one header block is laid out in frames.
#[derive(Clone, Debug)]
struct Layout {
    padding: Option<u8>,
    priority: bool,
    cuts: Vec<usize>,
}

fn block_frames(block: &[u8], layout: &Layout) -> Vec<u8> {
    let mut cuts: Vec<usize> = layout.cuts.iter().map(|c| c % (block.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(block.len());
    let mut out = Vec::new();
    let mut start = 0;
    for (nth, end) in cuts.iter().copied().enumerate() {
        let mut payload = block[start..end].to_vec();
        let mut flags = if end == block.len() && nth + 1 == cuts.len() {
            0x4
        } else {
            0
        };
        if nth == 0 && layout.priority {
            payload.splice(0..0, [0, 0, 0, 0, 15]);
            flags |= 0x20;
        }
        if let (0, Some(padding)) = (nth, layout.padding) {
            payload.insert(0, padding);
            payload.extend(vec![0; padding.into()]);
            flags |= 0x8;
        }
        out.extend(frame(if nth == 0 { 1 } else { 9 }, flags, 1, &payload));
        start = end;
    }
    out
}

/// The header lists in a client's bytes, by the independent decoder.
fn headers_of(bytes: &[u8]) -> Vec<Vec<Header>> {
    let mut decoder = Decoder::with_dynamic_size(4096);
    let mut lists = Vec::new();
    let mut block = Vec::new();
    let mut rest = &bytes[PREFACE.len()..];
    while !rest.is_empty() {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        let (kind, flags) = (rest[3], rest[4]);
        let mut payload = &rest[9..9 + length];
        rest = &rest[9 + length..];
        if kind != 1 && kind != 9 {
            continue;
        }
        if flags & 0x8 != 0 {
            payload = &payload[1..payload.len() - usize::from(payload[0])];
        }
        if flags & 0x20 != 0 {
            payload = &payload[5..];
        }
        block.extend_from_slice(payload);
        if flags & 0x4 != 0 {
            let mut list = Vec::new();
            decoder
                .decode(&mut std::mem::take(&mut block), &mut list)
                .unwrap();
            lists.push(list.into_iter().map(|(n, v, _)| (n, v)).collect());
        }
    }
    lists
}

fn valid(authority: &[u8]) -> bool {
    http::uri::Authority::try_from(authority).is_ok()
}

/// One header and how its client encodes it.
#[derive(Clone, Debug)]
struct Field {
    name: &'static str,
    value: String,
    flags: u8,
    by_index: bool,
}

/// One header block of a connection.
#[derive(Clone, Debug)]
struct Request {
    table_size: Option<u32>,
    fields: Vec<Field>,
    layout: Layout,
    then: Vec<u8>,
}

fn connection(requests: &[Request]) -> Vec<u8> {
    let mut encoder = Encoder::with_dynamic_size(4096);
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(4, 0, 0, &[0xfe, 0x03, 0, 0, 0, 1])); // C core's setting 65027
    for request in requests {
        let mut block = Vec::new();
        if let Some(size) = request.table_size {
            encoder.update_max_dynamic_size(size, &mut block).unwrap();
        }
        for field in &request.fields {
            let value = field.value.clone().into_bytes();
            if field.by_index && field.name == ":authority" {
                encoder
                    .encode((1u32, value, field.flags), &mut block)
                    .unwrap();
            } else {
                let name = field.name.as_bytes().to_vec();
                encoder
                    .encode((name, value, field.flags), &mut block)
                    .unwrap();
            }
        }
        bytes.extend(block_frames(&block, &request.layout));
        bytes.extend(frame(0, 0, 1, &request.then));
    }
    bytes
}

fn field() -> impl Strategy<Value = Field> {
    let authority = prop_oneof![
        3 => Just(JAVA.to_owned()),
        3 => Just(C_CORE.to_owned()),
        1 => Just("localhost".to_owned()),
        // Printable, but for those of more than 13 bits: see huffman::fill.
        2 => "[ -;=-\\[\\]_a-z|~]{1,60}",
    ];
    let name = prop_oneof![
        Just(":authority"),
        Just(":path"),
        Just("te"),
        Just("user-agent"),
        Just("x-a")
    ];
    let named = prop_oneof![
        3 => (Just(":authority"), authority),
        2 => (name, "[ -;=-\\[\\]_a-z|~]{0,300}"),
    ];
    let kind = prop_oneof![Just(0x4u8), Just(0x0), Just(0x8)];
    let best = prop_oneof![Just(0x10u8), Just(0)];
    (named, 0u8..4, kind, best, any::<bool>()).prop_map(
        |((name, value), huffman, kind, best, by_index)| Field {
            name,
            value,
            flags: huffman | kind | best,
            by_index,
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let table_size = proptest::option::weighted(0.2, prop_oneof![Just(0), 40..4096u32, Just(4096)]);
    let layout = (
        proptest::option::of(any::<u8>()),
        any::<bool>(),
        vec(any::<usize>(), 0..5),
    )
        .prop_map(|(padding, priority, cuts)| Layout {
            padding,
            priority,
            cuts,
        });
    (
        table_size,
        vec(field(), 1..12),
        layout,
        vec(any::<u8>(), 0..200),
    )
        .prop_map(|(table_size, fields, layout, then)| Request {
            table_size,
            fields,
            layout,
            then,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn only_unacceptable_authorities_change(
        requests in vec(request(), 1..8),
        sizes in vec(1..600usize, 0..60),
        buffer in 1..9000usize,
    ) {
        let sent = connection(&requests);
        let seen = through(&sent, sizes, buffer);
        prop_assert_eq!(seen.len(), sent.len());
        let (before, after) = (headers_of(&sent), headers_of(&seen));
        let first = before[0].iter().filter(|(name, _)| name == b":authority");
        let mut first = first.map(|(_, value)| valid(value));
        if first.all(|valid| valid) {
            prop_assert_eq!(seen, sent);
            return Ok(());
        }
        for (before, after) in before.iter().zip(&after) {
            prop_assert_eq!(before.len(), after.len());
            for (before, after) in before.iter().zip(after) {
                prop_assert_eq!(&before.0, &after.0);
                if before.0 == b":authority" && !before.1.is_empty() && !valid(&before.1) {
                    prop_assert!(valid(&after.1), "{:?} became {:?}", before, after);
                    prop_assert_eq!(before.1.len(), after.1.len());
                } else {
                    prop_assert_eq!(&before.1, &after.1);
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic_grow_or_vanish(
        preface in any::<bool>(),
        junk in vec(prop_oneof![any::<u8>().boxed(), prop_oneof![Just(0u8), Just(1), Just(4), Just(9), Just(0x41), Just(0x82)].boxed()], 0..3000),
        sizes in vec(1..300usize, 0..40),
    ) {
        let mut sent = if preface { PREFACE.to_vec() } else { Vec::new() };
        sent.extend(junk);
        prop_assert_eq!(through(&sent, sizes, 512).len(), sent.len());
    }

    #[test]
    fn hpack_like_junk_is_survived(
        blocks in vec((vec(any::<u8>(), 0..400), any::<bool>()), 1..6),
    ) {
        let java = Request { table_size: None, fields: vec![java()], layout: plain(), then: vec![] };
        let mut sent = connection(&[java]);
        for (block, whole) in blocks {
            sent.extend(frame(1, if whole { 4 } else { 0 }, 3, &block));
        }
        prop_assert_eq!(through(&sent, vec![], 4096).len(), sent.len());
    }
}

fn java() -> Field {
    Field {
        name: ":authority",
        value: JAVA.to_owned(),
        flags: 0x2 | 0x4 | 0x10,
        by_index: false,
    }
}

fn plain() -> Layout {
    Layout {
        padding: None,
        priority: false,
        cuts: vec![],
    }
}

fn two_requests(authority: &str) -> Vec<u8> {
    let field = Field {
        value: authority.to_owned(),
        ..java()
    };
    let request = |padding, cuts| Request {
        table_size: None,
        fields: vec![field.clone()],
        layout: Layout {
            padding,
            priority: true,
            cuts,
        },
        then: b"hello".to_vec(),
    };
    connection(&[request(Some(3), vec![1, 2]), request(None, vec![])])
}

#[test]
fn split_at_every_boundary() {
    for authority in [JAVA, C_CORE] {
        let sent = two_requests(authority);
        let whole = through(&sent, vec![], 9000);
        for headers in headers_of(&whole) {
            assert!(valid(&headers[0].1), "{headers:?}");
        }
        for cut in 1..sent.len() {
            assert_eq!(through(&sent, vec![cut], 9000), whole, "{authority} {cut}");
        }
        assert_eq!(through(&sent, vec![1; sent.len()], 1), whole);
    }
}

#[test]
fn steps_aside_for_an_acceptable_authority_and_for_http1() {
    let sent = two_requests("localhost");
    let mut rewriter = Rewriter::new(sent.clone());
    let ready = rewriter.ready().len();
    assert_eq!(ready, sent.len());
    rewriter.consume(ready);
    assert!(rewriter.is_spent());

    let mut rewriter = Rewriter::new(b"POST".to_vec());
    rewriter.consume(4);
    assert!(rewriter.is_spent());
}

#[test]
fn holds_no_more_than_its_bound_and_nothing_when_idle() {
    let mut rewriter = Rewriter::new(PREFACE.to_vec());
    rewriter.consume(PREFACE.len());
    assert_eq!(rewriter.held(), 0);
    // A header block that never ends.
    rewriter.push(&frame(1, 0, 1, &[0; 16 * 1024]));
    let mut given = 0;
    for _ in 0..100 {
        rewriter.push(&frame(9, 0, 1, &[0; READ_BYTES - 9]));
        assert!(rewriter.held() <= MAX_HELD_BYTES + READ_BYTES);
        let ready = rewriter.ready().len();
        rewriter.consume(ready);
        given += ready;
    }
    assert!(given > 0 && rewriter.is_spent());
}

#[test]
fn an_endless_row_of_empty_continuations_is_not_held() {
    let mut rewriter = Rewriter::new(PREFACE.to_vec());
    rewriter.push(&frame(1, 0, 1, &[]));
    for _ in 0..20 {
        rewriter.push(&frame(9, 0, 1, &[]));
    }
    let ready = rewriter.ready().len();
    rewriter.consume(ready);
    assert!(rewriter.is_spent());
}
