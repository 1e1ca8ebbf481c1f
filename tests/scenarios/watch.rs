//! Copies that should be there: expected, looked for, told.
//!
//! - `flows`: each kind of trouble, from the push to the last alert.
//! - `histories`: after any history every copy that something is wrong with was told, once, and no other.

mod flows;
mod histories;

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

/// Three registries, of which Ireland replicates to the others, after a push whose copies arrived: all settings were read.
pub(crate) async fn site(registries: Settings) -> Site {
    let site = Site::with(FOLLOW, Settings { seconds_apart: true, ..registries }).await;
    site.watch(60).await;
    site.push(IRELAND, &manifest("the first"), None);
    site.watch(60).await;
    site.watch(31 * 60).await;
    site
}

impl Site {
    /// Time passes, events arrive, and `watch` runs once.
    pub(crate) async fn watch(&self, seconds: u64) -> WatchSummary {
        self.local.simulator.step(Duration::from_secs(seconds));
        self.local.deliver_now().await;
        self.local.watch_now().await.unwrap()
    }

    /// Minutes pass, in each of which `watch` runs.
    pub(crate) async fn minutes(&self, minutes: u64) {
        for _ in 0..minutes {
            self.watch(60).await;
        }
    }

    fn now(&self) -> Timestamp {
        self.local.simulator.clock().now()
    }

    /// How long copies to a registry take from now on.
    fn lag(&self, registry: &str, minutes: i64) {
        let lag = Lag::exactly(SignedDuration::from_mins(minutes));
        self.local.simulator.set(|settings| _ = settings.lags.insert(registry.parse().unwrap(), lag));
    }

    /// Sets what goes wrong, in percent.
    pub(crate) fn trouble(&self, trouble: &str) {
        self.local.simulator.set(|settings| settings.trouble = trouble.parse().unwrap());
    }

    /// Every alert so far, in the order in which they were told.
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

    /// What was told of incidents: the kind, whether it begins or is over, how many images, and where to.
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
