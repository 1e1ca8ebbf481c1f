use std::collections::BTreeSet;

use domain::alert::Alert;
use jiff::{SignedDuration, Timestamp};
use sandbox::{
    local::{Local, LocalSettings},
    sample::{self, SAMPLE_TIME},
};

/// The time at which the sample ends: 2 November 2026, 09:00 UTC.
const END: Timestamp = Timestamp::constant(1_793_610_000, 0);

/// The content of all registries, their number, and the alerts.
async fn filled() -> (String, usize, BTreeSet<String>) {
    let settings = LocalSettings { now: END - SAMPLE_TIME, ..LocalSettings::default() };
    let mut local = Local::start(settings).await.unwrap();
    sample::fill(&mut local, END, false).await.unwrap();
    let held = local.simulator.held();
    let registries: BTreeSet<_> = held.keys().map(|(registry, _)| registry.clone()).collect();
    let mut alerts = BTreeSet::new();
    for days in 0..4 {
        let day = local.table.alerts(END - SignedDuration::from_hours(24 * days)).await.unwrap();
        alerts.extend(day.iter().map(|Alert { kind, subject, .. }| format!("{kind:?} {subject}")));
    }
    local.close().await;
    (format!("{held:?}"), registries.len(), alerts)
}

#[tokio::test]
async fn the_sample_is_the_same_each_time() {
    let first = filled().await;
    assert_eq!(first.1, 4);
    assert!(first.2.len() >= 3, "{:?}", first.2);
    assert_eq!(first, filled().await);
}
