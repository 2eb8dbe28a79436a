//! Every row has its test, or a reason why it has none.

use std::collections::BTreeSet;
use std::path::Path;

/// One line of `rows.txt`.
struct Row {
    id: String,
    level: String,
    bound: Vec<String>,
    not_tested: Option<String>,
}

fn rows() -> Vec<Row> {
    let text = include_str!("rows.txt");
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [id, level, bound, rest @ ..] = &fields[..] else {
        panic!("not id | level | bound: {line}");
    };
    Row {
        id: (*id).to_owned(),
        level: (*level).to_owned(),
        bound: bound.split(' ').map(str::to_owned).collect(),
        not_tested: rest.first().map(|why| (*why).to_owned()),
    }
}

/// The row ids in the names between the parentheses of each `rows!(…)`.
fn tested() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let mut ids = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "rs") {
            let source = std::fs::read_to_string(path).unwrap();
            for table in source.split("rows!(").skip(1) {
                let names = table.split(')').next().unwrap().split([',', ';', '\n']);
                names.for_each(|name| ids.extend(of_name(name.trim())));
            }
        }
    }
    ids
}

/// `x509_9_13_signing_…` tests X509-9 and X509-13.
fn of_name(name: &str) -> Vec<String> {
    let mut parts = name.split('_');
    let document = parts.next().unwrap_or_default().to_uppercase();
    parts
        .map_while(|part| part.parse::<u32>().ok())
        .map(|number| format!("{document}-{number}"))
        .collect()
}

#[test]
fn every_row_is_tested_or_says_why_not() {
    let (rows, tested) = (rows(), tested());
    for document in [
        ("ID", 22),
        ("X509", 32),
        ("JWT", 20),
        ("WAPI", 63),
        ("WEP", 28),
    ] {
        for number in 1..=document.1 {
            let id = format!("{}-{number}", document.0);
            let found = rows.iter().filter(|row| row.id == id).count();
            assert_eq!(found, 1, "{id} is listed {found} times");
        }
    }
    let known: BTreeSet<String> = rows.iter().map(|row| row.id.clone()).collect();
    let unknown: Vec<_> = tested.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "tests of rows that are not listed: {unknown:?}"
    );
    let mut faults = Vec::new();
    for row in &rows {
        let is_tested = tested.contains(&row.id);
        match &row.not_tested {
            None if !is_tested => faults.push(format!("{} has no test", row.id)),
            Some(_) if is_tested => faults.push(format!("{} is tested and listed", row.id)),
            Some(why) if why.len() < 20 => faults.push(format!("{}: why not?", row.id)),
            _ => {}
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    println!("{} rows, {} tested", rows.len(), tested.len());
}

/// A duty of an issuer, an agent or a validator is tested; only a part that the
/// standards make optional (marked +) and that is not there may be listed.
#[test]
fn no_duty_of_the_product_is_only_listed() {
    let is_ours = |row: &&Row| {
        row.bound
            .iter()
            .any(|b| ["ISS", "AGT", "VAL"].contains(&b.as_str()))
    };
    let listed: Vec<String> = rows()
        .iter()
        .filter(is_ours)
        .filter(|row| row.not_tested.is_some())
        .filter(|row| !row.level.ends_with('+'))
        .map(|row| row.id.clone())
        .collect();
    assert!(listed.is_empty(), "{listed:?}");
}
