//! `docs/alerts.md` and `docs/table.md` say what the code does.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    alert::{Acknowledgement, AlertKind},
    breaker::{BreakerLimit, Reset},
    controls::Instruction,
    drill::RestoreDrill,
    plan::Mode,
    usage::UsageList,
};
use policy::Policy;
use sandbox::embedded::EMBEDDED_NAME;
use simulator::settings::Settings;
use store::definition::{INDEXES, KEY};

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    mirror::FOLLOW,
    registries::{Act, Route},
};

const ALERTS: &str = include_str!("../../docs/alerts.md");
const TABLE: &str = include_str!("../../docs/table.md");

/// The rows of the first table of a section, without its head: the text of each cell.
fn rows(page: &'static str, section: &str) -> Vec<Vec<&'static str>> {
    let section = page.split(&format!("\n## {section}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    lines.skip(2).map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The texts between backticks.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_alerts_are_those_of_the_code() {
    let documented: BTreeSet<(String, String, &str)> = rows(ALERTS, "Kinds")
        .into_iter()
        .map(|row| (format!("ECR Lineage {}", code(row[0])[0]), row[1].to_owned(), row[2]))
        .collect();
    let lasts = |kind: AlertKind| kind.is_ongoing() || kind == AlertKind::EventsMissing;
    let state = |kind: AlertKind| if lasts(kind) { "incident" } else { "notice" };
    let actual =
        AlertKind::ALL.map(|kind| (kind.detail_type(), kind.severity().as_str().to_owned(), state(kind))).into();
    assert_eq!(documented, actual);
    let remedies: BTreeSet<_> = rows(ALERTS, "What to do").into_iter().map(|row| code(row[0])[0]).collect();
    assert_eq!(remedies, AlertKind::ALL.map(AlertKind::as_str).into());
}

#[test]
fn the_indexes_are_those_of_the_code() {
    let documented: BTreeMap<_, _> =
        rows(TABLE, "Indexes").into_iter().map(|row| (code(row[0])[0], (code(row[1])[0], code(row[2])[0]))).collect();
    assert_eq!(documented, INDEXES.map(|index| (index.name, index.key)).into());
    assert!(TABLE.contains(&format!("Partition key `{}` and sort key `{}`", KEY.0, KEY.1)));
    let times = INDEXES[0].projected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    assert!(TABLE.contains(&format!("The five times are {times}.")), "{times}");
}

/// Whether a text is like a pattern, in which `<name>` stands for any text, and `<name or –>` for none, too.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((literal, rest)) = pattern.split_once('<') else { return pattern == text };
    let Some(text) = text.strip_prefix(literal) else { return false };
    let (name, rest) = rest.split_once('>').unwrap();
    let shortest = usize::from(!name.ends_with("or –"));
    (shortest..=text.len()).any(|end| text.get(end..).is_some_and(|after| fits(rest, after)))
}

/// Whether a key is like one of the patterns of a cell. A cell without a pattern says it in words.
fn fits_cell(cell: &str, text: &str) -> bool {
    let patterns = code(cell);
    patterns.is_empty() || patterns.iter().any(|pattern| fits(pattern, text))
}

/// The keys of all items after a scenario that writes one of each kind.
async fn keys() -> Vec<(String, String)> {
    let mut route = Route::new(Settings::default(), None).await;
    route.local.mirror.policy = Policy::load("test.cedar", FOLLOW);
    route.local.mirror.mode = Mode::Enforce;
    route.local.mirror.limits.principals = BreakerLimit { images: 1_000, percent: 100 };
    let hour = Act::Pass(3600);
    let failing = |percent: f64| move |settings: &mut Settings| settings.trouble.failed = percent;
    let pushes = ['a', 'b', 'c'].map(|letter| Act::Push(IRELAND, letter, Some("latest")));
    for act in pushes.iter().chain([&hour]) {
        route.perform(act).await;
    }
    route.local.simulator.set(failing(1.0));
    route.perform(&Act::PushIndex(IRELAND, Some("v1"))).await;
    route.perform(&hour).await;
    route.local.simulator.set(failing(0.0));
    let deleted = [
        Act::Delete(VIRGINIA, 'a'),
        Act::Untag(IRELAND, "latest"),
        Act::Delete(IRELAND, 'b'),
        Act::Delete(IRELAND, 'c'),
    ];
    for act in deleted.iter().chain([&hour]) {
        route.perform(act).await;
    }
    let mut keys = scan(&route).await;
    for _ in 0..5 {
        route.local.watch_now().await.unwrap();
        route.local.mirror_now().await.unwrap();
        route.local.reconcile_now().await.unwrap();
        route.perform(&Act::Pass(8 * 3600)).await;
    }
    keys.extend(scan(&route).await);
    let (ireland, now) = (IRELAND.parse().unwrap(), route.local.simulator.clock().now());
    let version = route.local.table.breaker(&ireland).await.unwrap().version;
    let reset = Reset { by: "dana".to_owned(), at: now, allow: None, ignore_share: false };
    route.local.table.reset_breaker(&ireland, version, reset).await.unwrap();
    let drill = RestoreDrill { at: now, by: "dana".to_owned(), tried: 1, restorable: 1 };
    route.local.table.put_restore_drill(&drill).await.unwrap();
    let dana = || Instruction { by: "dana".to_owned(), at: now, until: None, reason: Some("audit".to_owned()) };
    let said = Acknowledgement { by: "dana".to_owned(), at: now, reason: None };
    route.local.table.put_acknowledgement("2026-11-02T10:00:00Z/replication_late/a/b", &said).await.unwrap();
    answers::controls::pause(&route.local.table, None, dana()).await.unwrap();
    answers::controls::hold(&route.local.table, &"team/*".parse().unwrap(), None, dana()).await.unwrap();
    let images = ["444455556666.dkr.ecr.ap-northeast-1.amazonaws.com/team/app:v1".parse().unwrap()].into();
    let list = UsageList { name: "tills".to_owned(), images, by: "dana".to_owned(), at: dana().at, until: None };
    route.local.table.put_usage_list(&list).await.unwrap();
    route.perform(&Act::Immutable(TOKYO, true)).await;
    route.perform(&Act::DeleteRepository(TOKYO)).await;
    route.perform(&hour).await;
    keys.extend(scan(&route).await);
    keys
}

async fn scan(route: &Route) -> Vec<(String, String)> {
    let client = route.local.dynamodb().await;
    let items = client.scan().table_name(EMBEDDED_NAME).into_paginator().items().send().try_collect().await.unwrap();
    let text = |item: &HashMap<String, AttributeValue>, name: &str| item[name].as_s().unwrap().clone();
    items.iter().map(|item| (text(item, KEY.0), text(item, KEY.1))).collect()
}

#[tokio::test]
async fn every_kind_of_item_is_documented_and_every_documented_one_is_written() {
    let documented = rows(TABLE, "Items");
    let mut seen = BTreeSet::new();
    for (pk, sk) in keys().await {
        let rows: Vec<_> = documented.iter().filter(|row| fits_cell(row[1], &pk) && fits_cell(row[2], &sk)).collect();
        let [row] = rows[..] else { panic!("`{pk}` `{sk}` is in {} rows: {rows:?}", rows.len()) };
        seen.insert(row[0]);
    }
    let all: BTreeSet<_> = documented.iter().map(|row| row[0]).collect();
    assert_eq!(all.difference(&seen).copied().collect::<Vec<_>>(), [""; 0]);
}
