//! What is begun is a catalogue that loads, with every endpoint or why not.

use policy::{Catalogue, SourceFile};
use prost::Message as _;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};

use super::*;

const PETS: &str = "
openapi: 3.1.0
info: {title: Pets, version: '1'}
servers: [{url: 'https://pets.example.org/v1/'}]
paths:
  /pets:
    get: {summary: List, responses: {}}
    post: {responses: {}}
  /pets/{id}:
    parameters: []
    get: {responses: {}}
  /pets/mine:
    get: {responses: {}}
  /pets/{id}.png:
    get: {responses: {}}
  /owners/{id}:
    delete:
      security: [{oauth: ['pets:owner.remove']}]
  /owners/me:
    delete: {responses: {}}
";

fn begun(found: Vec<Found>) -> (String, Catalogue) {
    let args = ImportArgs {
        file: "api.yaml".into(),
        audience: "pets".into(),
        owner: "team: pets".into(),
    };
    let text = text(&args, found).unwrap();
    let file = SourceFile {
        name: "catalogue/pets.yaml".into(),
        text: text.clone(),
    };
    let catalogue = Catalogue::read(&[file]).expect("it loads");
    (text, catalogue)
}

#[test]
fn an_openapi_document_begins_a_catalogue() {
    let (text, catalogue) = begun(openapi::endpoints(PETS.as_bytes()).unwrap());
    let needs = |method, path| {
        catalogue
            .endpoint("pets", method, path)
            .map(ToString::to_string)
    };
    assert_eq!(needs("GET", "/v1/pets").as_deref(), Some("pets:pets.read"));
    assert_eq!(
        needs("GET", "/v1/pets/mine").as_deref(),
        Some("pets:pets.read")
    );
    assert_eq!(
        needs("POST", "/v1/pets").as_deref(),
        Some("pets:pets.write")
    );
    assert_eq!(
        needs("DELETE", "/v1/owners/7").as_deref(),
        Some("pets:owner.remove")
    );
    assert_eq!(needs("GET", "/pets"), None);
    assert!(text.contains("# Left out:"), "{text}");
    assert!(text.contains("/v1/pets/{id}.png"), "{text}");
    assert!(text.contains("DELETE /v1/owners/me (pets:owners.write) overlaps DELETE /v1/owners/{id} of pets:owner.remove"), "{text}");
}

#[test]
fn descriptors_begin_a_catalogue() {
    let method = |name: &str| MethodDescriptorProto {
        name: Some(name.into()),
        ..Default::default()
    };
    let set = FileDescriptorSet {
        file: vec![FileDescriptorProto {
            package: Some("pets.v1".into()),
            service: vec![ServiceDescriptorProto {
                name: Some("Pets".into()),
                method: vec![method("GetPet"), method("Getaway")],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    let (_, catalogue) = begun(descriptors::endpoints(&set.encode_to_vec()).unwrap());
    let needs = |path| {
        catalogue
            .endpoint("pets", "POST", path)
            .map(ToString::to_string)
    };
    assert_eq!(
        needs("/pets.v1.Pets/GetPet").as_deref(),
        Some("pets:pets.read")
    );
    assert_eq!(
        needs("/pets.v1.Pets/Getaway").as_deref(),
        Some("pets:pets.write")
    );
    assert_eq!(needs("/pets.v1.Pets/Feed"), None);
}

#[test]
fn what_describes_no_interface_is_refused() {
    assert!(openapi::endpoints(b"a: [").is_err());
    assert!(openapi::endpoints(b"title: none").is_err());
    assert!(openapi::endpoints(&[0xff, 0xfe]).is_err());
    assert!(descriptors::endpoints(b"\x0a\xff").is_err());
}
