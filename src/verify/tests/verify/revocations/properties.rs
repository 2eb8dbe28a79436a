//! What is revoked is never accepted, a list that was tampered with is never
//! believed, and the order in which lists arrive does not matter.

use identity::{CertificateSerial, Revocation, Revoked, Seconds, SpiffeId, Timestamp};
use proptest::prelude::*;
use verify::Revocations;

use super::{World, header, list_of, revoke};
use crate::kit::{NOW, token_of};

fn revoked() -> impl Strategy<Value = Revoked> {
    prop_oneof![
        (1u8..6).prop_map(|n| Revoked::Serial(CertificateSerial::new(&[n]))),
        (1u8..6).prop_map(|n| Revoked::Jti(format!("t{n}").into())),
        (1u8..6).prop_map(|n| {
            Revoked::Id(SpiffeId::parse(&format!("spiffe://f.test/w{n}")).unwrap())
        }),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Revocation>> {
    let entry = (revoked(), -50i64..50, any::<bool>()).prop_map(|(what, at, lifted)| {
        let until = NOW.plus(Seconds(600));
        let is_id = matches!(what, Revoked::Id(_));
        revoke(
            what,
            Timestamp(NOW.0 + at),
            (!(is_id && lifted)).then_some(until),
        )
    });
    proptest::collection::vec(entry, 0..12).prop_map(|entries| {
        let by_what = entries
            .into_iter()
            .map(|entry| (entry.what.clone(), entry))
            .collect::<std::collections::BTreeMap<_, _>>();
        by_what.into_values().collect()
    })
}

proptest! {
    /// Against a naive walk over the entries.
    #[test]
    fn revoked_is_never_accepted(
        entries in entries(), id in 1u8..6, unit in 1u8..6, issued in -60i64..60,
    ) {
        let list = Revocations::of(&list_of(entries.clone(), 1));
        let id = SpiffeId::parse(&format!("spiffe://f.test/w{id}")).unwrap();
        let issued = Timestamp(NOW.0 + issued);
        let serial = CertificateSerial::new(&[unit]);
        let jti = format!("t{unit}");
        let by_id = entries.iter().any(|e| {
            e.what == Revoked::Id(id.clone()) && (e.until.is_none() || issued <= e.at)
        });
        let by_serial = entries.iter().any(|e| e.what == Revoked::Serial(serial.clone()));
        let by_jti = entries.iter().any(|e| e.what == Revoked::Jti(jti.as_str().into()));
        prop_assert_eq!(list.check_certificate(&id, &serial, issued).is_err(), by_id || by_serial);
        prop_assert_eq!(list.check_token(&id, Some(&jti), Some(issued)).is_err(), by_id || by_jti);
    }

    /// Whatever arrives in whatever order, the newest is in force at the end.
    #[test]
    fn the_order_of_lists_is_irrelevant(order in Just((1u64..9).collect::<Vec<_>>()).prop_shuffle()) {
        let world = World::new();
        let mut held: Option<Revocations> = None;
        for sequence in order {
            if let Ok(read) = Revocations::read(&world.list(sequence), &world.bundle, held.as_ref()) {
                held = Some(read);
            }
        }
        prop_assert_eq!(held.map(|held| held.sequence()), Some(8));
    }

    /// One changed character anywhere, and the list is refused.
    #[test]
    fn a_changed_list_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.-]") {
        let world = World::new();
        let good = world.list(3);
        let at = at.index(good.len());
        let mut changed = good.clone();
        changed.replace_range(at..=at, &to);
        prop_assert_eq!(world.read(&changed).is_ok(), changed == good);
    }

    #[test]
    fn nothing_that_is_read_panics(text in "\\PC{0,200}") {
        let world = World::new();
        prop_assert!(world.read(&text).is_err());
        let signed = token_of(&world.key, "ES256", &header().to_string(), &text);
        prop_assert!(world.read(&signed).is_err());
    }
}
