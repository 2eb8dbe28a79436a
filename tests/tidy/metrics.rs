//! The page about metrics says what the programs say: each metric with its kind, its
//! labels and the same words as its HELP, and none that there is not.

use observe::Metric;

fn row(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
    format!(
        "| `{}` | {} | {} | {} |",
        metric.name,
        metric.kind.name(),
        labels.join(", "),
        metric.help
    )
}

#[test]
fn u13_the_page_lists_every_metric_as_it_is_described() {
    let page = include_str!("../../docs/metrics.md");
    let shown: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let tables = [server::METRICS, agent::METRICS, observe::PROCESS];
    let told: Vec<String> = tables.into_iter().flatten().map(row).collect();
    assert_eq!(shown, told, "docs/metrics.md is not what the programs say");
}

/// Whoever adds a metric describes it: names in the sources that no table holds.
#[test]
fn u13_every_metric_in_the_sources_is_described() {
    let tables = [server::METRICS, agent::METRICS, observe::PROCESS];
    let names: Vec<&str> = tables.into_iter().flatten().map(|m| m.name).collect();
    let mut missing = Vec::new();
    for (path, text) in crate::files::all() {
        let is_ours = ["src/server/src", "src/agent/src"];
        let path = path.display().to_string();
        if !is_ours.iter().any(|part| path.contains(part)) || path.contains("described.rs") {
            continue;
        }
        for quoted in text.split('"').skip(1).step_by(2) {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            if quoted.starts_with("bulla_") && quoted.bytes().all(plain) && !names.contains(&quoted)
            {
                missing.push(format!("{path}: {quoted}"));
            }
        }
    }
    assert!(missing.is_empty(), "not described: {missing:#?}");
}
