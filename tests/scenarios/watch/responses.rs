//! What operators say about open incidents, and what `watch` makes of it.

use answers::{activity::ActivityRequest, responses};
use domain::{
    activity::{ActName, ActivityFilter, ActivityKind},
    alert::{AlertKind, AlertState, Severity},
};
use jiff::SignedDuration;
use serde_json::json;
use simulator::settings::Settings;

use super::site;
use crate::{
    events::{IRELAND, TOKYO},
    mirror::{Site, manifest},
};

impl Site {
    /// The states and severities of the alerts about a late copy, in order.
    async fn late(&self) -> Vec<(AlertState, Severity)> {
        let alerts = self.alerts().await.into_iter().filter(|alert| alert.kind == AlertKind::ReplicationLate);
        alerts.map(|alert| (alert.state, alert.severity)).collect()
    }

    /// An open incident of one late copy to Tokyo.
    async fn with_late_copy() -> Self {
        let site = site(Settings::default()).await;
        site.lag(TOKYO, 6 * 60);
        site.push(IRELAND, &manifest("a"), Some("v1"));
        site.minutes(31).await;
        site
    }
}

#[tokio::test]
async fn a_snoozed_incident_is_not_repeated_until_the_snooze_ends() {
    let site = Site::with_late_copy().await;
    let table = &site.local.table;
    let [open] = &*answers::alerts::incidents(table, site.now()).await.unwrap() else { panic!("one incident") };
    let until = site.now().saturating_add(SignedDuration::from_hours(3)).unwrap();
    let snoozed =
        responses::snooze(table, &open.short_id, "dana", (until, "a known outage"), site.now()).await.unwrap();
    assert!(snoozed.summary.ends_with(": a known outage"), "{}", snoozed.summary);
    responses::acknowledge(table, &open.id, "erin", None, site.now()).await.unwrap();
    let opened = (AlertState::Opened, Severity::Warning);
    site.minutes(175).await;
    assert_eq!(site.late().await, [opened], "it would have been repeated after one hour");
    let [shown] = &*answers::alerts::incidents(table, site.now()).await.unwrap() else { panic!("one incident") };
    assert!(shown.is_snoozed && shown.responses.len() == 2, "{shown:?}");
    site.minutes(10).await;
    let repeated = (AlertState::Open, Severity::Warning);
    assert_eq!(site.late().await, [opened, repeated]);
    let [shown] = &*answers::alerts::incidents(table, site.now()).await.unwrap() else { panic!("one incident") };
    assert!(!shown.is_snoozed && shown.responses.len() == 1, "{shown:?}");
    // What was said ends with the incident.
    site.minutes(4 * 60).await;
    assert_eq!(site.late().await.last().unwrap().0, AlertState::Resolved);
    let (incidents, responses) = table.incidents_and_responses().await.unwrap();
    assert!(incidents.is_empty() && responses.is_empty(), "{incidents:?} {responses:?}");
}

#[tokio::test]
async fn a_snoozed_incident_that_becomes_more_severe_is_sent() {
    let mut site = Site::with_late_copy().await;
    let rules = ["prod/*=critical".parse().unwrap()].into_iter().collect();
    site.local.watch.table = site.local.watch.table.clone().with_severity_rules(rules);
    let table = &site.local.table;
    let [open] = &*answers::alerts::incidents(table, site.now()).await.unwrap() else { panic!("one incident") };
    let until = site.now().saturating_add(SignedDuration::from_hours(24)).unwrap();
    responses::snooze(table, &open.id, "dana", (until, "a known outage"), site.now()).await.unwrap();
    site.call_for("prod/api", IRELAND, "CreateRepository", json!({}));
    site.call_for("prod/api", IRELAND, "PutImage", json!({"imageManifest": manifest("b"), "imageTag": "v1"}));
    site.minutes(32).await;
    let expected = [(AlertState::Opened, Severity::Warning), (AlertState::Open, Severity::Critical)];
    assert_eq!(site.late().await, expected);
    site.minutes(120).await;
    assert_eq!(site.late().await.len(), 3, "{:?}: the snooze was of a warning", site.late().await);
}

#[tokio::test]
async fn what_operators_say_about_an_incident_is_activity() {
    let site = Site::with_late_copy().await;
    let (table, now) = (&site.local.table, site.now());
    let [open] = &*answers::alerts::incidents(table, now).await.unwrap() else { panic!("one incident") };
    let until = now.saturating_add(SignedDuration::from_hours(3)).unwrap();
    responses::acknowledge(table, &open.short_id, "erin", Some("on it"), now).await.unwrap();
    responses::snooze(table, &open.id, "dana", (until, "a known outage"), now).await.unwrap();
    let kinds = [ActivityKind::Operator].into();
    let filter = ActivityFilter { registry: Some(TOKYO.parse().unwrap()), kinds, ..ActivityFilter::default() };
    let request = ActivityRequest { filter, since: now, until: None, from: None, most: None };
    let mut found = answers::activity::activity(table, &request).await.unwrap().activity;
    found.sort_by_key(|entry| entry.action);
    let said: Vec<_> =
        found.iter().map(|entry| (entry.actor.as_deref(), entry.reason.as_deref(), entry.until)).collect();
    let until = Some(domain::time::whole_seconds(until));
    assert_eq!(said, [(Some("erin"), Some("on it"), None), (Some("dana"), Some("a known outage"), until)]);
    assert_eq!(
        found.iter().map(|entry| entry.action).collect::<Vec<_>>(),
        [Some(ActName::Acknowledge), Some(ActName::Snooze)]
    );
    assert!(found.iter().all(|entry| entry.incident.as_ref() == Some(&open.id)), "{found:?}");
    assert_eq!(found[0].summary, "incident acknowledged by erin: on it");
}

#[tokio::test]
async fn only_an_open_incident_can_be_named() {
    let site = Site::with_late_copy().await;
    let table = &site.local.table;
    let alert = site.alerts().await.pop().unwrap();
    for name in ["", "replication_late", alert.id.get(..10).unwrap(), "ffffffff"] {
        let error = responses::acknowledge(table, name, "dana", None, site.now()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("no incident `{name}` is open"));
    }
    let said = responses::acknowledge(table, &alert.id, "dana", Some(" on it "), site.now()).await.unwrap();
    assert_eq!(said.incident, alert.incident);
    assert_eq!(said.response.acknowledged.unwrap().reason.as_deref(), Some("on it"));
    for (until, reason, wrong) in
        [(site.now(), "audit", "is over"), (site.now() + SignedDuration::from_mins(1), " ", "needs a reason")]
    {
        let error = responses::snooze(table, &alert.id, "dana", (until, reason), site.now()).await.unwrap_err();
        assert!(error.to_string().contains(wrong), "{error}");
    }
}
