//! The monitoring of the pipeline: alarms and the dashboard, the metrics they use, and what the runbook says about
//! them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::templates::{resources, template};

const ALARM: &str = "AWS::CloudWatch::Alarm";

#[test]
fn every_alarm_has_a_paragraph_in_the_runbook() {
    let path = format!("{}/../docs/runbook.md", env!("CARGO_MANIFEST_DIR"));
    let runbook = std::fs::read_to_string(path).unwrap();
    let paragraphs: BTreeSet<_> =
        runbook.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    let alarms = ["monitoring.yaml", "registry.yaml", "channels.yaml"].into_iter().flat_map(|file| {
        let template = template(file);
        resources(&template, ALARM).into_iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(alarms.collect::<BTreeSet<_>>(), paragraphs);
}

/// The metrics that functions emit: those that they describe with a unit.
fn emitted() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for function in ["record", "watch", "mirror", "reconcile", "alert"] {
        let path = format!("{}/../functions/{function}/src/lib.rs", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(path).unwrap();
        for described in source.split("describe_").skip(1) {
            let Some((macro_name, rest)) = described.split_once("!(") else { continue };
            if ["counter", "gauge", "histogram"].contains(&macro_name) {
                names.extend(rest.split('"').nth(1).map(str::to_owned));
            }
        }
    }
    names
}

#[test]
fn alarms_and_the_dashboard_use_metrics_that_are_emitted() {
    let (hub, monitoring, emitted) = (template("hub.yaml"), template("monitoring.yaml"), emitted());
    for (name, alarm) in resources(&monitoring, ALARM) {
        let alarm = &alarm["Properties"];
        let metric = alarm["MetricName"].as_str().unwrap();
        assert!(alarm["Namespace"]["Ref"] != "MetricsNamespace" || emitted.contains(metric), "{name}: {metric}");
        // Whatever an alarm takes for missing data, it notifies of the bad state and of nothing else: not of its first
        // data, when it is new.
        let actions = if alarm["TreatMissingData"] == "missing" { "InsufficientDataActions" } else { "AlarmActions" };
        assert_eq!(alarm[actions], json!([{"Ref": "AlarmsTopic"}]), "{name}");
        let all = alarm.as_object().unwrap().keys().filter(|property| property.ends_with("Actions"));
        assert_eq!(all.collect::<Vec<_>>(), [actions], "{name}");
    }

    let nested = &hub["Resources"]["Monitoring"]["Properties"];
    assert!(nested["TemplateURL"]["Fn::Sub"].as_str().unwrap().ends_with("/monitoring.yaml"));
    assert_eq!(nested["Parameters"]["AlarmsTopic"]["Ref"], "Alarms");

    let body = &monitoring["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"];
    let dashboard: Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
    let mut shown = BTreeSet::new();
    for widget in dashboard["widgets"].as_array().unwrap() {
        let title = widget["properties"]["title"].as_str().unwrap();
        for metric in widget["properties"]["metrics"].as_array().unwrap() {
            let name = match metric[0]["expression"].as_str() {
                Some(search) => search.split('"').nth(1).unwrap(),
                None if metric[0] == "${MetricsNamespace}" => metric[1].as_str().unwrap(),
                None => continue,
            };
            assert!(emitted.contains(name), "{title}: {name}");
            shown.insert(name.to_owned());
        }
    }
    for wanted in ["Events", "ReplicationLag", "UnhealthyCopies", "Deletions", "BreakersOpen", "RegistriesOverdue"] {
        assert!(shown.contains(wanted), "{wanted}");
    }
}

#[test]
fn the_logs_that_say_who_deleted_what_stay_with_the_table() {
    let hub = template("hub.yaml");
    for name in ["MirrorLog", "OperateLog", "Table"] {
        for kept in ["DeletionPolicy", "UpdateReplacePolicy"] {
            assert_eq!(hub["Resources"][name][kept], "Retain", "{name}");
        }
    }
}

/// A new account has too little concurrency to reserve some.
#[test]
fn no_concurrency_is_reserved_by_default() {
    let hub = template("hub.yaml");
    assert_eq!(hub["Parameters"]["ReservedConcurrency"]["Default"], "disabled");
    for (name, function) in resources(&hub, "AWS::Lambda::Function") {
        let reserved = &function["Properties"]["ReservedConcurrentExecutions"];
        let if_asked = json!({"Fn::If": ["ReservesConcurrency", 1, {"Ref": "AWS::NoValue"}]});
        assert!(reserved.is_null() || *reserved == if_asked, "{name}: {reserved}");
    }
}
