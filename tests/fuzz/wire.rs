//! Well-formed protobuf messages at random, by the descriptors of our services:
//! what passes the decoder, so that what stands behind it is tried as well.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use crate::chance::Chance;

/// Messages inside messages, at most so deep.
const DEEPEST: usize = 5;

/// Values that fields of many kinds understand.
const TEXTS: &[&str] = &[
    "",
    "example.org",
    "spiffe://example.org/web",
    "/web",
    "web",
    "unix",
    "uid:0",
    "join_token",
    "x509pop",
    "payments:refund.create",
    "https://db",
    "18446744073709551616",
    "*",
    "\u{0}",
    "ü/../%2e%2e",
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
];

/// One RPC.
pub(crate) struct Method {
    /// Its path, such as `/spire.api.server.agent.v1.Agent/BanAgent`.
    pub(crate) path: String,
    input: String,
}

/// The services and messages of the product.
pub(crate) struct Descriptors {
    /// Every RPC.
    pub(crate) methods: Vec<Method>,
    messages: BTreeMap<String, DescriptorProto>,
    enums: BTreeMap<String, Vec<i32>>,
}

/// The descriptors, read once.
pub(crate) fn descriptors() -> &'static Descriptors {
    static READ: OnceLock<Descriptors> = OnceLock::new();
    READ.get_or_init(|| {
        let set = FileDescriptorSet::decode(api::FILE_DESCRIPTOR_SET).unwrap();
        let mut read = Descriptors {
            methods: Vec::new(),
            messages: BTreeMap::new(),
            enums: BTreeMap::new(),
        };
        for file in set.file {
            let package = file.package().to_owned();
            for message in file.message_type {
                read.take(&format!(".{package}"), message);
            }
            for kind in file.enum_type {
                let numbers = kind.value.iter().map(|value| value.number()).collect();
                read.enums
                    .insert(format!(".{package}.{}", kind.name()), numbers);
            }
            for service in file.service {
                read.methods
                    .extend(service.method.iter().map(|method| Method {
                        path: format!("/{package}.{}/{}", service.name(), method.name()),
                        input: method.input_type().to_owned(),
                    }));
            }
        }
        read
    })
}

impl Descriptors {
    fn take(&mut self, within: &str, message: DescriptorProto) {
        let name = format!("{within}.{}", message.name());
        for nested in &message.nested_type {
            self.take(&name, nested.clone());
        }
        for kind in &message.enum_type {
            let numbers = kind.value.iter().map(|value| value.number()).collect();
            self.enums
                .insert(format!("{name}.{}", kind.name()), numbers);
        }
        self.messages.insert(name, message);
    }

    /// A random input of a method.
    pub(crate) fn input(&self, method: &Method, chance: &mut Chance) -> Vec<u8> {
        let mut out = Vec::new();
        self.message(&method.input, DEEPEST, chance, &mut out);
        out
    }

    fn message(&self, name: &str, depth: usize, chance: &mut Chance, out: &mut Vec<u8>) {
        let Some(message) = self.messages.get(name) else {
            return;
        };
        for field in &message.field {
            let count = match field.label() {
                Label::Repeated if chance.one_in(20) => 200,
                Label::Repeated => chance.below(3),
                _ => usize::from(!chance.one_in(4)),
            };
            for _ in 0..count {
                if out.len() > 32 << 10 {
                    return;
                }
                self.field(field, depth, chance, out);
            }
        }
    }

    fn field(
        &self,
        field: &FieldDescriptorProto,
        depth: usize,
        chance: &mut Chance,
        out: &mut Vec<u8>,
    ) {
        let number = u32::try_from(field.number()).unwrap();
        match field.r#type() {
            Type::Message if depth > 0 => {
                let mut inner = Vec::new();
                self.message(field.type_name(), depth - 1, chance, &mut inner);
                delimited(number, &inner, out);
            }
            Type::Message | Type::Group => {}
            Type::String => delimited(number, text(chance).as_bytes(), out),
            Type::Bytes => delimited(number, &bytes(chance), out),
            Type::Double | Type::Fixed64 | Type::Sfixed64 => {
                encode_key(number, WireType::SixtyFourBit, out);
                out.extend(chance.bits().to_le_bytes());
            }
            Type::Float | Type::Fixed32 | Type::Sfixed32 => {
                encode_key(number, WireType::ThirtyTwoBit, out);
                out.extend(&chance.bits().to_le_bytes()[..4]);
            }
            Type::Enum => {
                let known = self.enums.get(field.type_name());
                let known = known.map_or(0, |known| known[chance.below(known.len())]);
                encode_key(number, WireType::Varint, out);
                encode_varint(i64::from(known).cast_unsigned(), out);
            }
            _ => {
                let edges = [
                    0,
                    1,
                    60,
                    3600,
                    u64::from(u32::MAX),
                    i64::MAX.cast_unsigned(),
                    u64::MAX,
                ];
                encode_key(number, WireType::Varint, out);
                encode_varint(edges[chance.below(edges.len())], out);
            }
        }
    }
}

fn delimited(number: u32, content: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

fn text(chance: &mut Chance) -> String {
    let text = TEXTS[chance.below(TEXTS.len())];
    if chance.one_in(50) {
        return text.repeat(1 + chance.below(400));
    }
    text.to_owned()
}

fn bytes(chance: &mut Chance) -> Vec<u8> {
    match chance.below(4) {
        0 => text(chance).into_bytes(),
        1 => b"\x30\x82\x01\x00\x30\x80".to_vec(),
        2 => b"{\"certificates\":[\"AAAA\"]}".to_vec(),
        _ => (0..chance.below(64)).map(|_| chance.byte()).collect(),
    }
}
