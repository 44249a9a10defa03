//! Alerts and the dashboard. The rule: an expression names what the running program exports, and each alert is tried
//! both ways and explained.

use crate::rig::certificates::Authority;
use crate::rig::have;
use crate::rig::larder::{Larder, Setup};
use crate::root;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// What a Prometheus knows without larder.
const OF_PROMETHEUS: [&str; 1] = ["up"];

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The words of an expression that are names of metrics.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !of_name(c));
    let named = words.filter(|word| {
        word.starts_with("larder_") || word.starts_with("process_") || OF_PROMETHEUS.contains(word)
    });
    named.map(str::to_owned).collect()
}

/// The names that a larder exports which does all that has figures of its own.
fn exported() -> BTreeSet<String> {
    let authority = Authority::new();
    authority.issue_good("first", &["larder.example"]);
    let larder = Larder::start(&Setup {
        tls: authority.table(&["first"]),
        // Nothing listens there: what is counted of a Redis is counted before it answers.
        more: "[[links]]\nname = \"hamburg\"\npeers = [\"127.0.0.1:1\"]\n\
               [coordinator]\nbackend = \"redis://127.0.0.1:1\"\n",
        ..Setup::default()
    });
    names(&larder.metrics())
}

/// The names of all series.
fn names(metrics: &str) -> BTreeSet<String> {
    let series = metrics.lines().filter(|line| !line.starts_with('#'));
    let names = series.filter_map(|line| line.split(['{', ' ']).next());
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The names of a table of documentation: what stands between backticks at the beginning of each row.
fn documented() -> BTreeSet<String> {
    let table = text("docs/metrics.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next())
        .map(str::to_owned)
        .collect()
}

/// Fails with each name that is in the expressions of `file` and not exported.
fn all_exported(file: &str, named: &BTreeSet<String>, exported: &BTreeSet<String>) {
    assert!(named.len() > 20, "{file} names only {named:?}");
    let unknown: Vec<_> = named
        .difference(exported)
        .filter(|name| !OF_PROMETHEUS.contains(&name.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "{file} names what is not exported: {unknown:?}"
    );
}

#[test]
fn rules_and_dashboard_name_what_the_program_exports() {
    if !have(&["openssl"]) {
        return;
    }
    let exported = exported();
    let rules = "deploy/prometheus/rules.yml";
    let expressions = without_annotations(&text(rules));
    all_exported(rules, &metrics_in(&expressions), &exported);

    let file = "deploy/grafana/larder.json";
    let dashboard: serde_json::Value = serde_json::from_str(&text(file)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut named = BTreeSet::new();
    for target in targets {
        let expression = target["expr"].as_str().expect("an expression");
        let names = metrics_in(expression);
        assert!(!names.is_empty(), "{expression} names no metric");
        // What a person chooses at the top holds for every panel.
        assert!(expression.contains("$instance"), "{expression}");
        named.extend(names);
    }
    let variables = dashboard["templating"]["list"].as_array().expect("a list");
    let names: Vec<_> = variables.iter().map(|v| v["name"].as_str()).collect();
    assert_eq!(names, [Some("datasource"), Some("site"), Some("instance")]);
    for variable in &variables[1..] {
        named.extend(metrics_in(&variable["query"]["query"].to_string()));
    }
    all_exported(file, &named, &exported);
}

/// The rules but for what they say to people.
fn without_annotations(rules: &str) -> String {
    let said = ["summary:", "runbook:", "#"];
    let lines = rules
        .lines()
        .filter(|line| !said.iter().any(|word| line.trim_start().starts_with(word)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The values of all lines that begin with `key`.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(key));
    lines.map(str::trim).collect()
}

#[test]
fn each_alert_is_tried_both_ways_and_explained() {
    let rules = text("deploy/prometheus/rules.yml");
    let tests = text("deploy/prometheus/rules_test.yml");
    let runbook = text("docs/runbook.md");
    let alerts = values(&rules, "- alert:");
    assert!(alerts.len() >= 20, "{alerts:?}");
    let cases: Vec<&str> = tests.split("\n  - name: ").skip(1).collect();
    for alert in &alerts {
        let of_alert = cases
            .iter()
            .filter(|case| values(case, "alertname:").contains(alert));
        let (quiet, firing): (Vec<&str>, Vec<&str>) =
            of_alert.partition(|case| case.contains("exp_alerts: []"));
        assert!(!firing.is_empty(), "{alert} is not seen to fire");
        assert!(!quiet.is_empty(), "{alert} is not seen to be quiet");
        let heading = format!("\n### {alert}\n");
        assert_eq!(
            runbook.matches(&heading).count(),
            1,
            "{alert} in the runbook"
        );
        let link = format!("docs/runbook.md#{}", alert.to_lowercase());
        assert!(
            values(&rules, "runbook:").contains(&link.as_str()),
            "{link}"
        );
    }
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("### "));
    for heading in headings {
        assert!(alerts.contains(&heading), "no alert is called {heading}");
    }
}

#[test]
fn the_rules_do_what_their_tests_say() {
    if !have(&["promtool"]) {
        return;
    }
    for arguments in [
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
        ["check", "config", "scrape.yml"],
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(root().join("deploy/prometheus"))
            .output()
            .expect("promtool runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {arguments:?}: {said}");
    }
}

#[test]
fn every_metric_is_explained() {
    let of_parts = ["_bucket", "_sum", "_count"];
    let whole = |name: String| {
        let stem = of_parts.iter().find_map(|part| name.strip_suffix(part));
        stem.map_or(name.clone(), str::to_owned)
    };
    let exported: BTreeSet<_> = exported().into_iter().map(whole).collect();
    let documented = documented();
    let missing: Vec<_> = exported.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&exported).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "docs/metrics.md: not explained: {missing:?}; not exported: {gone:?}"
    );
}
