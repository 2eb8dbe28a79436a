//! Finding a key's two halves by their label, and reading the public one.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use keys::{PublicKey, der, spki};

use crate::fault::Fault;
use crate::limits;

/// A key as it lies in the token.
pub(crate) struct Found {
    pub(crate) private: ObjectHandle,
    pub(crate) public_key: PublicKey,
}

/// Why a key that is there must not be used.
pub(crate) enum Lookup {
    Missing,
    Unfit(&'static str),
    Found(Found),
}

/// The objects of one class under a label; only what the token keeps.
pub(crate) fn objects(
    session: &Session,
    class: ObjectClass,
    label: &[u8],
) -> Result<Vec<ObjectHandle>, Fault> {
    let wanted = [
        Attribute::Class(class),
        Attribute::Token(true),
        Attribute::Label(label.to_vec()),
    ];
    collect(session, &wanted)
}

/// The labels of all private keys that begin with the prefix.
pub(crate) fn labels(session: &Session, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let wanted = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
    ];
    let mut labels = Vec::new();
    for object in collect(session, &wanted)? {
        let attributes = session.get_attributes(object, &[AttributeType::Label])?;
        labels.extend(attributes.into_iter().filter_map(|a| match a {
            Attribute::Label(label) => label.strip_prefix(prefix).map(<[u8]>::to_vec),
            _ => None,
        }));
    }
    Ok(labels)
}

fn collect(session: &Session, wanted: &[Attribute]) -> Result<Vec<ObjectHandle>, Fault> {
    let mut found = Vec::new();
    for object in session.iter_objects(wanted)? {
        found.push(object?);
        if found.len() > limits::MAX_OBJECTS {
            return Err(Fault::Refused("it holds too many keys".into()));
        }
    }
    Ok(found)
}

/// Both halves of the key with that label.
pub(crate) fn key(session: &Session, label: &[u8]) -> Result<Lookup, Fault> {
    let private = objects(session, ObjectClass::PRIVATE_KEY, label)?;
    let private = match private.as_slice() {
        [] => return Ok(Lookup::Missing),
        [one] => *one,
        _ => return Ok(Lookup::Unfit("there are two of that label")),
    };
    if !stays_inside(session, private)? {
        return Ok(Lookup::Unfit(
            "the token would give it out: it is extractable or not sensitive",
        ));
    }
    let public = objects(session, ObjectClass::PUBLIC_KEY, label)?;
    let [public] = public.as_slice() else {
        return Ok(Lookup::Unfit(
            "its public half is missing, or there are two",
        ));
    };
    let Some(public_key) = public_key(session, *public)? else {
        return Ok(Lookup::Unfit(
            "it is not of a type that this product signs with",
        ));
    };
    Ok(Lookup::Found(Found {
        private,
        public_key,
    }))
}

fn stays_inside(session: &Session, private: ObjectHandle) -> Result<bool, Fault> {
    let wanted = [AttributeType::Sensitive, AttributeType::Extractable];
    let attributes = session.get_attributes(private, &wanted)?;
    Ok(attributes.contains(&Attribute::Sensitive(true))
        && attributes.contains(&Attribute::Extractable(false)))
}

/// The public key, read strictly; the curve follows from the point's length, and the
/// point is checked to lie on it.
fn public_key(session: &Session, public: ObjectHandle) -> Result<Option<PublicKey>, Fault> {
    let wanted = [
        AttributeType::EcPoint,
        AttributeType::Modulus,
        AttributeType::PublicExponent,
    ];
    let (mut point, mut modulus, mut exponent) = (None, None, None);
    for attribute in session.get_attributes(public, &wanted)? {
        match attribute {
            Attribute::EcPoint(bytes) if !bytes.is_empty() => point = Some(bytes),
            Attribute::Modulus(bytes) if !bytes.is_empty() => modulus = Some(bytes),
            Attribute::PublicExponent(bytes) if !bytes.is_empty() => exponent = Some(bytes),
            _ => {}
        }
    }
    let spki = match (point, modulus, exponent) {
        (Some(point), None, _) => ec_spki(&point),
        (None, Some(n), Some(e)) => {
            let (n, e) = (der::strip_zeros(&n), der::strip_zeros(&e));
            let numbers = spki::check_rsa(n, e).ok();
            numbers.map(|numbers| spki::encode(&numbers))
        }
        _ => None,
    };
    Ok(spki.and_then(|spki| PublicKey::from_spki(&spki).ok()))
}

/// The standard wraps the point in an OCTET STRING (PKCS#11 v3.0, section 6.3.3); some
/// tokens give it bare.
fn ec_spki(point: &[u8]) -> Option<Vec<u8>> {
    let wrapped = der::take(point, der::OCTET_STRING);
    let bare = match wrapped {
        Some((inner, [])) => inner,
        _ => point,
    };
    spki::from_point(bare)
}
