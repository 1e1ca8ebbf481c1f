//! Heartbeats that are late or never came: the events of their registries do not arrive either.

use std::collections::BTreeSet;

use domain::{
    alert::{Alert, AlertKind},
    heartbeat::{Heartbeat, HeartbeatStatus},
    image::Registry,
    replication::ReplicationSettings,
};
use jiff::Timestamp;

use crate::Watch;

impl Watch {
    /// Raises an alert for each registry whose heartbeats are late, or that has no stack: for each outage once a day.
    ///
    /// # Errors
    /// When heartbeats cannot be read, or an alert cannot be stored.
    pub(crate) async fn check_heartbeats(&self, now: Timestamp) -> Result<(), store::Error> {
        let known = self.table.known_registries().await?;
        let heartbeats = self.table.heartbeats().await?;
        let settings = known.iter().filter_map(|known| Some((&known.registry, known.settings.as_ref()?)));
        let mut expected = with_stack(&self.known, settings);
        expected.extend(known.iter().map(|known| known.registry.clone()));
        expected.extend(heartbeats.keys().cloned());
        for registry in expected {
            let heartbeat = heartbeats.get(&registry).cloned().unwrap_or_default();
            if heartbeat.heartbeat_at.is_none() && heartbeat.expected_since.is_none() {
                self.table.expect_heartbeat(&registry, now).await?;
            }
            let Some(message) = message(&registry, &heartbeat, now) else { continue };
            let mut alert = Alert::notice(AlertKind::EventsMissing, &registry.to_string(), message, now);
            // A second outage on the same day is another alert.
            if let Some(last) = heartbeat.heartbeat_at {
                alert.id = format!("{} since {last}", alert.id);
                alert.incident.clone_from(&alert.id);
            }
            self.table.put_alert(&alert).await?;
        }
        Ok(())
    }
}

/// The registries that must have a stack: those of the configuration, and each source and destination of replication.
fn with_stack<'a>(
    configured: &BTreeSet<Registry>,
    settings: impl Iterator<Item = (&'a Registry, &'a ReplicationSettings)>,
) -> BTreeSet<Registry> {
    let mut all = configured.clone();
    for (source, settings) in settings {
        all.insert(source.clone());
        all.extend(settings.all_destinations());
    }
    all
}

fn message(registry: &Registry, heartbeat: &Heartbeat, now: Timestamp) -> Option<String> {
    let minutes = |since: Option<Timestamp>| now.duration_since(since.unwrap_or(now)).as_mins();
    match heartbeat.status(now) {
        HeartbeatStatus::Late => Some(format!(
            "no heartbeat of {registry} for {} minutes: its events do not reach the hub",
            minutes(heartbeat.heartbeat_at)
        )),
        HeartbeatStatus::Never => Some(format!(
            "no heartbeat of {registry} ever arrived, expected for {} minutes: deploy infra/registry.yaml there",
            minutes(heartbeat.expected_since)
        )),
        HeartbeatStatus::Alive | HeartbeatStatus::Unknown => None,
    }
}
