//! Texts that nest deep: none ends the process, whatever it is that nests, and what
//! the limits let through is loaded, decided, tested, compared and dropped on the
//! stacks that there are.

use std::thread;

use policy::limits::{POLICY_DEPTH_MAX, POLICY_NESTING_MAX, STACK_BYTES};
use proptest::prelude::*;

use super::*;
use crate::shape::measure;
use crate::{difference, rules};

/// A condition that nests so many times, for each construct that can.
type Construct = (&'static str, fn(usize) -> String);

const CONSTRUCTS: &[Construct] = &[
    ("parentheses", |n| around("(", "true", ")", n)),
    ("sets", |n| {
        let set = around("[", "1", "]", n);
        format!("{set} == {set}")
    }),
    ("records", |n| {
        let record = around("{a: ", "1", "}", n);
        format!("{record} == {record}")
    }),
    ("minus signs", |n| {
        format!("{} < 7", around("-(", "1", ")", n))
    }),
    ("negations", |n| around("!(", "true", ")", n)),
    ("else if", |n| {
        around("if context.pop then true else ", "false", "", n)
    }),
    ("if in if", |n| {
        around("if (", "true", ") then true else false", n)
    }),
    ("then", |n| {
        around("if context.pop then ", "true", " else false", n)
    }),
    ("and", |n| row("context.pop", " && ", n)),
    ("or", |n| row("context.pop", " || ", n)),
    ("plus", |n| format!("{} > 7", row("context.ttl", " + ", n))),
    ("times", |n| format!("{} > 7", row("context.ttl", " * ", n))),
    ("calls in a row", |n| {
        let calls = ".offset(duration(\"1s\"))".repeat(n);
        format!("context.now{calls} > context.now")
    }),
    ("calls in calls", |n| {
        let offset = around(
            "context.now.offset(",
            "duration(\"1s\")",
            ".durationSince(context.now))",
            n,
        );
        format!("{offset} == context.now")
    }),
    ("attributes", |n| {
        let record = around("{a: ", "true", "}", n);
        format!("{record}{}", ".a".repeat(n))
    }),
    ("indexes", |n| {
        let record = around("{a: ", "true", "}", n);
        format!("{record}{}", "[\"a\"]".repeat(n))
    }),
    ("has", |n| {
        format!("context has breakGlass{}", ".ticket".repeat(n))
    }),
    ("conditions", |n| {
        format!("true }} {}when {{ true", "when { context.pop } ".repeat(n))
    }),
    ("comparisons in parentheses", |n| {
        around("(true == ", "true", ")", n)
    }),
    ("open brackets alone", |n| "(".repeat(n)),
    ("brackets that do not match", |n| "( ] ".repeat(n)),
    ("negations in a row", |n| format!("{}true", "!".repeat(n))),
    ("minus signs in a row", |n| {
        format!("{}1 == 1", "-".repeat(n))
    }),
];

fn around(before: &str, inside: &str, after: &str, n: usize) -> String {
    format!("{}{inside}{}", before.repeat(n), after.repeat(n))
}

fn row(item: &str, between: &str, n: usize) -> String {
    vec![item; n.max(1)].join(between)
}

fn policy_with(condition: &str) -> String {
    format!(
        "@id(\"deep\") @owner(\"o\") @rationale(\"r\")\n\
         permit (principal, action == Action::\"shop:read\", resource == Audience::\"shop\")\n\
         when {{ {condition} }};\n"
    )
}

/// Loads a set on a small stack and does everything with it that a server does.
fn use_it(policies: String, stack: usize) -> Result<(), Vec<policy::Fault>> {
    let thread = thread::Builder::new().stack_size(stack);
    let used = thread.spawn(move || {
        let mut sources = small(&policies, "");
        sources.tests = vec![SourceFile {
            name: "tests/deep.json".into(),
            text: r#"[{"request": {"principal": "Workload::\"spiffe://example.org/x\"",
                "action": "Action::\"shop:read\"", "resource": "Audience::\"shop\"",
                "context": {"now": "2026-11-24T09:30:00Z"}}, "decision": "deny"}]"#
                .into(),
        }];
        let engine = Engine::load(&sources)?;
        let _report = engine.run_tests();
        let who = principal("spiffe://example.org/x", TUESDAY);
        let _decision = decide(
            &engine,
            &who,
            &context(TUESDAY),
            &asking("shop", &["shop:read"]),
        );
        let _survey = engine.what_can(&who, &context(TUESDAY));
        let nothing = Engine::load(&small("", "")).unwrap();
        let _difference = difference(&nothing, &engine, &[who], &context(TUESDAY));
        Ok(())
    });
    used.unwrap().join().unwrap()
}

/// How often a construct may nest at most.
fn most(construct: fn(usize) -> String) -> usize {
    let fits = |n: usize| measure("f", &policy_with(&construct(n))).is_ok();
    (1..2 * POLICY_DEPTH_MAX).take_while(|n| fits(*n)).count()
}

#[test]
fn u1_nothing_that_nests_overflows_the_stack() {
    for (name, construct) in CONSTRUCTS {
        for n in [130, 1_000, 20_000] {
            let found = use_it(policy_with(&construct(n)), 2 << 20);
            if n > POLICY_DEPTH_MAX {
                let faults = found.expect_err(name);
                assert_eq!(faults[0].file, "policies/shop.cedar", "{name}");
                assert!(faults[0].line.is_some(), "{name}: {}", faults[0]);
            }
        }
    }
}

#[test]
fn u1_what_the_limits_let_through_works_on_ordinary_stacks() {
    let mut used = 0;
    for (name, construct) in CONSTRUCTS {
        let n = most(*construct);
        if n == 0 {
            continue;
        }
        // Some do not validate, such as a record with too many attributes read.
        match use_it(policy_with(&construct(n)), 1 << 20) {
            Ok(()) => used += 1,
            Err(faults) => println!("{name}, {n}: {}", faults[0]),
        }
    }
    assert!(used >= 14, "only {used} constructs were used");
}

/// A sixteenth of the stack is enough for the deepest policy of every kind.
#[test]
fn u1_the_stack_has_a_margin() {
    for (_, construct) in CONSTRUCTS {
        let policies = policy_with(&construct(most(*construct)));
        let thread = thread::Builder::new().stack_size(STACK_BYTES / 16);
        let read = thread.spawn(move || {
            let catalogue = policy::Catalogue::read(&small("", "").catalogue).unwrap();
            let mut reader = rules::Reader::new(&catalogue);
            let file = SourceFile {
                name: "policies/deep.cedar".into(),
                text: policies,
            };
            reader.read(&file, crate::Layer::Team);
            let text = crate::schema::text(&catalogue);
            let _checked = crate::validate::strictly(&catalogue, &text, &reader.rules);
            for rule in reader.rules.values() {
                let _printed = rule.policy.to_pst().map(|pst| pst.to_string());
            }
        });
        read.unwrap().join().unwrap();
    }
}

#[test]
fn u1_strings_and_comments_hide_no_brackets_and_count_none() {
    let brackets = "(".repeat(POLICY_NESTING_MAX * 2);
    let flat = [
        format!("\"{brackets}\" == \"a\""),
        format!("\"\\\"{brackets}\" == \"a\" // {brackets}\n"),
        format!("true // \" {brackets}\n"),
    ];
    for condition in flat {
        let shape = measure("f", &policy_with(&condition)).unwrap();
        assert!(shape.nesting <= 2, "{condition}: {shape:?}");
    }
    let deep = around("(", "true", ")", POLICY_NESTING_MAX * 2);
    for condition in [
        format!("\"\\\\\" == \"a\" && {deep}"),
        format!("// \"\n {deep}"),
        format!("\"//\" == \"a\" && {deep}"),
    ] {
        let fault = measure("f", &policy_with(&condition)).unwrap_err();
        assert!(fault.what.contains("nests too deep"), "{fault}");
    }
    let fault = measure("f", "permit (principal, action,\n resource) when { [1 };").unwrap_err();
    assert_eq!(fault.line, Some(2), "{fault}");
    assert_eq!(
        measure("f", "permit(principal,action,resource);")
            .unwrap()
            .policies,
        1
    );
}

/// Expressions as anybody might nest them, and torn ones.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("1".to_owned()),
        Just("context.pop".to_owned()),
        Just("principal.selectors".to_owned()),
        Just("\"a(\\\"[{\"".to_owned()),
        Just("context has breakGlass".to_owned()),
    ];
    leaf.prop_recursive(48, 256, 4, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.clone().prop_map(|e| format!("({e})")),
            inner.clone().prop_map(|e| format!("[{e}, {e}]")),
            inner.clone().prop_map(|e| format!("{{a: {e}}}.a")),
            inner.clone().prop_map(|e| format!("!({e})")),
            inner.clone().prop_map(|e| format!("-{e}")),
            two.clone().prop_map(|(a, b)| format!("{a} && {b}")),
            two.clone().prop_map(|(a, b)| format!("({a} || {b})")),
            two.clone()
                .prop_map(|(a, b)| format!("if {a} then {b} else {a}")),
            two.prop_map(|(a, b)| format!("[{a}].contains({b})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is read, the process lives; and no tree is deeper than was measured.
    #[test]
    fn u1_random_nested_texts_never_overflow(
        condition in expression(),
        cut in any::<prop::sample::Index>(),
        torn in any::<bool>(),
    ) {
        let mut text = policy_with(&condition);
        if torn {
            let at = cut.index(text.len());
            text.remove(at);
        }
        let measured = measure("f", &text);
        if let Ok(shape) = measured {
            let parsed = text.parse::<cedar_policy::PolicySet>();
            for policy in parsed.iter().flat_map(cedar_policy::PolicySet::policies) {
                let depth = tree_depth(&policy.to_json().unwrap());
                prop_assert!(depth <= shape.depth + 2, "{depth} > {shape:?}: {text}");
            }
        }
        let _used = use_it(text, 2 << 20);
    }
}

/// How many operators of a policy's JSON form contain one another.
fn tree_depth(policy: &serde_json::Value) -> usize {
    fn below(value: &serde_json::Value) -> usize {
        let operator = |name: &str| {
            name != "left"
                && name != "right"
                && name != "arg"
                && name != "body"
                && name != "conditions"
                && name != "if"
                && name != "then"
                && name != "else"
        };
        match value {
            serde_json::Value::Array(items) => items.iter().map(below).max().unwrap_or(0),
            serde_json::Value::Object(members) => members
                .iter()
                .map(|(name, inner)| below(inner) + usize::from(operator(name)))
                .max()
                .unwrap_or(0),
            _ => 0,
        }
    }
    below(policy.get("conditions").unwrap_or(&serde_json::Value::Null))
}
