//! Expected copies: how they are expected, checked, and reported by alerts.
//!
//! - `completions`: the event that all copies of a push have arrived, once for each.
//! - `flows`: each kind of problem, from the push to the last alert.
//! - `histories`: after any history, every problem of a copy has been alerted exactly once, and nothing else.
//! - `responses`: what operators say about open incidents.

mod completions;
mod flows;
mod histories;
mod responses;

use std::time::Duration;

use domain::{
    alert::{Alert, AlertState},
    expectation::ReplicationExpectation,
    image::Image,
};
use jiff::{SignedDuration, Timestamp};
use simulator::settings::{Lag, Settings};
use watch::WatchSummary;

use crate::{
    events::IRELAND,
    mirror::{FOLLOW, Site, manifest},
};

/// Three registries with replication from Ireland to the other two, after a first push whose copies arrived and after
/// all settings were read.
pub(crate) async fn site(registries: Settings) -> Site {
    let site = Site::with(FOLLOW, Settings { seconds_apart: true, ..registries }).await;
    site.watch(60).await;
    site.push(IRELAND, &manifest("the first"), None);
    site.watch(60).await;
    site.watch(31 * 60).await;
    site
}

impl Site {
    /// Advances simulated time, delivers events, and runs `watch` once.
    pub(crate) async fn watch(&self, seconds: u64) -> WatchSummary {
        self.local.simulator.step(Duration::from_secs(seconds));
        self.local.deliver_now().await;
        self.local.watch_now().await.unwrap()
    }

    /// Runs `watch` in each of a number of minutes.
    pub(crate) async fn minutes(&self, minutes: u64) {
        for _ in 0..minutes {
            self.watch(60).await;
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.local.simulator.clock().now()
    }

    /// Sets the replication lag to a registry, in minutes.
    fn lag(&self, registry: &str, minutes: i64) {
        let lag = Lag::exactly(SignedDuration::from_mins(minutes));
        self.local.simulator.set(|settings| _ = settings.lags.insert(registry.parse().unwrap(), lag));
    }

    /// Sets the faults to inject, in percent.
    pub(crate) fn trouble(&self, trouble: &str) {
        self.local.simulator.set(|settings| settings.trouble = trouble.parse().unwrap());
    }

    /// Every alert so far, in the order in which they were sent.
    pub(crate) async fn alerts(&self) -> Vec<Alert> {
        let mut alerts = Vec::new();
        let mut day: Timestamp = "2026-11-02T00:00:00Z".parse().unwrap();
        while day <= self.now() {
            alerts.extend(self.local.table.alerts(day).await.unwrap());
            day = day.saturating_add(SignedDuration::from_hours(24)).unwrap();
        }
        alerts.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        alerts
    }

    /// The alerts in short: the kind, the state, the number of images, and the destination.
    async fn notified(&self) -> Vec<(&'static str, AlertState, u64, String)> {
        let alerts = self.alerts().await.into_iter();
        let brief = |alert: Alert| {
            let destination = alert.destination.map(|registry| registry.to_string()).unwrap_or_default();
            (alert.kind.as_str(), alert.state, alert.count.unwrap_or(0), destination)
        };
        alerts.map(brief).collect()
    }

    async fn expectations(&self, image: &Image) -> Vec<ReplicationExpectation> {
        self.local.table.expectations(image).await.unwrap().expectations
    }

    fn ecr_calls(&self) -> u64 {
        self.local.watch.registries.calls()
    }
}
