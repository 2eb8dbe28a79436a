//! Budgets: a share for each source, one for all, nothing lost from the count.

use identity::SpiffeId;

use super::*;

const NODE: &str = "spiffe://example.org/spire/agent/a";
const NOW: Duration = Duration::from_secs(1_000);

fn budget() -> Budget {
    let allowance = |burst| Allowance {
        burst,
        each_second: burst / 10,
    };
    let shares = Shares {
        peer: allowance(10_000),
        entry: allowance(1_000),
    };
    Budget::new(shares, NOW)
}

fn stranger(address: &str) -> Caller {
    Caller::anonymous(address.parse().unwrap())
}

fn peer(path: &str) -> Caller {
    Caller::Spiffe(SpiffeId::parse(&format!("spiffe://example.org{path}")).unwrap())
}

fn recorded(budget: &Budget, caller: &Caller, entry: &str, calls: u64, at: Duration) -> u64 {
    let admitted = (0..calls).filter(|_| budget.may_record(caller, entry, (at, 7)));
    u64::try_from(admitted.count()).unwrap()
}

#[test]
fn s8_one_address_has_a_share_whatever_its_port() {
    let budget = budget();
    let burst = limits::ADDRESS_REFUSALS.burst;
    for port in 1..=burst {
        assert!(budget.may_record(&stranger(&format!("192.0.2.1:{port}")), "", (NOW, 7)));
    }
    assert_eq!(
        recorded(&budget, &stranger("192.0.2.1:9999"), "", 50, NOW),
        0
    );
    assert_eq!(recorded(&budget, &stranger("192.0.2.2:1"), "", 1, NOW), 1);
    let told = budget.take_unrecorded();
    let expected = Unrecorded {
        source: Source::Address("192.0.2.1".into()),
        count: 50,
        since_ms: 7,
    };
    assert_eq!(told, [expected]);
    assert!(budget.take_unrecorded().is_empty());
    let later = NOW + Duration::from_secs(3);
    let refilled = 3 * limits::ADDRESS_REFUSALS.each_second;
    assert_eq!(
        recorded(&budget, &stranger("192.0.2.1:1"), "", 50, later),
        refilled
    );
}

#[test]
fn s8_hosts_of_one_network_share_and_all_strangers_have_a_bound() {
    let budget = budget();
    let burst = limits::ADDRESS_REFUSALS.burst;
    assert_eq!(
        recorded(&budget, &stranger("[2001:db8::1]:1"), "", burst, NOW),
        burst
    );
    assert_eq!(
        recorded(&budget, &stranger("[2001:db8::2]:1"), "", 1, NOW),
        0
    );
    let of_many: u64 = (0..2_000_u32)
        .map(|n| {
            let address = stranger(&format!("[2001:db8:{n:x}:1::1]:1"));
            recorded(&budget, &address, "", 1, NOW)
        })
        .sum();
    assert_eq!(of_many + burst, limits::STRANGER_REFUSALS.burst);
    // Strangers take nothing from those who have a certificate.
    assert_eq!(recorded(&budget, &peer("/spire/agent/a"), "", 1, NOW), 1);
}

#[test]
fn s8_one_entry_leaves_its_node_a_share() {
    let budget = budget();
    let node = peer("/spire/agent/a");
    let burst = limits::ENTRY_REFUSALS.burst;
    assert_eq!(recorded(&budget, &node, "loud", burst + 10, NOW), burst);
    assert_eq!(recorded(&budget, &node, "quiet", 1, NOW), 1);
}

#[test]
fn s8_administrators_on_the_socket_and_the_server_have_no_bound() {
    let budget = budget();
    let admin = Caller::Local { uid: 0, pid: 1 };
    assert_eq!(recorded(&budget, &admin, "", 10_000, NOW), 10_000);
    assert_eq!(recorded(&budget, &Caller::Server, "", 10_000, NOW), 10_000);
}

#[test]
fn s8_the_table_is_bounded_and_forgets_whoever_owes_nothing() {
    let budget = budget();
    for n in 0..limits::MAX_BUDGET_ACCOUNTS + 500 {
        let _ = budget.may_record(&peer(&format!("/n/{n}")), "", (NOW, 7));
    }
    assert!(budget.accounts().of.len() <= limits::MAX_BUDGET_ACCOUNTS + 1);
    let later = NOW + Duration::from_secs(10_000);
    budget.take_unrecorded();
    assert_eq!(recorded(&budget, &peer("/new"), "", 1, later), 1);
    assert!(budget.accounts().of.len() < 10);
}

#[test]
fn a2_bytes_are_charged_to_the_entry_and_to_its_node() {
    let budget = budget();
    assert_eq!(budget.charge(NODE, "one", 900, NOW), Ok(()));
    let refused = budget.charge(NODE, "one", 200, NOW).unwrap_err();
    assert!(matches!(refused, Source::Entry(..)));
    for n in 0..9 {
        assert_eq!(budget.charge(NODE, &format!("e{n}"), 1_000, NOW), Ok(()));
    }
    let refused = budget.charge(NODE, "last", 200, NOW).unwrap_err();
    assert!(matches!(refused, Source::Peer(_)));
    // Another node has its own.
    assert_eq!(
        budget.charge("spiffe://example.org/spire/agent/b", "one", 900, NOW),
        Ok(())
    );
    let later = NOW + Duration::from_secs(5);
    assert_eq!(budget.charge(NODE, "one", 500, later), Ok(()));
}
