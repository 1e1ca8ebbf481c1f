//! Heartbeats that are late or never came: the events of their registries do not arrive either.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    alert::{Alert, AlertKind, AlertState},
    heartbeat::{Heartbeat, HeartbeatStatus},
    image::Registry,
    replication::ReplicationSettings,
    time::time_text,
};
use jiff::Timestamp;
use store::{KnownRegistry, Responses};

use crate::Watch;

impl Watch {
    /// Raises an alert for each registry whose heartbeats are late, or that has no stack: for each outage once a day, unless
    /// an operator snoozed it. When heartbeats arrive again, or none is expected any more, the alert is resolved. Returns
    /// the outages that last.
    ///
    /// # Errors
    /// When heartbeats cannot be read, or an alert cannot be stored.
    pub(crate) async fn check_heartbeats(
        &self,
        responses: &Responses,
        now: Timestamp,
    ) -> Result<BTreeSet<String>, store::Error> {
        let mut open = BTreeSet::new();
        let known = self.table.known_registries().await?;
        let heartbeats = self.table.heartbeats().await?;
        let expected = self.with_stack(&known, &heartbeats);
        for registry in heartbeats.keys().chain(&expected).collect::<BTreeSet<_>>() {
            let heartbeat = heartbeats.get(registry).cloned().unwrap_or_default();
            let is_expected = expected.contains(registry);
            if is_expected && heartbeat.heartbeat_at.is_none() && heartbeat.expected_since.is_none() {
                self.table.expect_heartbeat(registry, now).await?;
            }
            match message(registry, &heartbeat, now) {
                Some(message) if is_expected => {
                    open.insert(self.alert_missing(registry, &heartbeat, responses, message, now).await?);
                }
                _ => self.resolve_missing(registry, &heartbeat, is_expected, now).await?,
            }
        }
        Ok(open)
    }

    /// The registries that must have a stack: those of the configuration, those of which something ever arrived, and the
    /// sources and destinations of replication in accounts that the hub admits.
    fn with_stack(&self, known: &[KnownRegistry], heartbeats: &BTreeMap<Registry, Heartbeat>) -> BTreeSet<Registry> {
        let destinations = known.iter().filter_map(|known| known.settings.as_ref());
        let destinations = destinations.flat_map(ReplicationSettings::all_destinations);
        let mut all: BTreeSet<_> = known.iter().map(|known| known.registry.clone()).chain(destinations).collect();
        let admits =
            |registry: &Registry| self.admitted.as_ref().is_none_or(|accounts| accounts.contains(registry.account()));
        all.retain(admits);
        all.extend(self.known.iter().cloned());
        all.extend(
            heartbeats.iter().filter(|(_, heartbeat)| heartbeat.was_seen()).map(|(registry, _)| registry.clone()),
        );
        all
    }

    /// Raises the alert about an outage, and repeats it each day unless it is snoozed. Returns the ID of the outage.
    async fn alert_missing(
        &self,
        registry: &Registry,
        heartbeat: &Heartbeat,
        responses: &Responses,
        message: String,
        now: Timestamp,
    ) -> Result<String, store::Error> {
        let since = heartbeat.heartbeat_at.or(heartbeat.expected_since).unwrap_or(now);
        let incident = format!("{}/{registry}/{since}", AlertKind::EventsMissing.as_str());
        let is_new = heartbeat.incident.as_ref() != Some(&incident);
        let state = if is_new { AlertState::Opened } else { AlertState::Open };
        let alert = Alert::events_missing(registry, &incident, state, message, now);
        if is_new || !responses.get(&incident).is_some_and(|response| response.silences(alert.severity, now)) {
            self.table.put_alert(&alert).await?;
        }
        if is_new {
            self.table.put_heartbeat_incident(registry, Some(&incident)).await?;
        }
        Ok(incident)
    }

    /// Resolves the alert about an outage, if there is one.
    async fn resolve_missing(
        &self,
        registry: &Registry,
        heartbeat: &Heartbeat,
        is_expected: bool,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        let Some(incident) = heartbeat.incident.clone() else { return Ok(()) };
        let message = match heartbeat.forgotten() {
            Some(forgotten) => format!("{registry} was forgotten by {}: no heartbeat is expected", forgotten.by),
            None if is_expected => format!("heartbeats of {registry} arrive again"),
            None => format!("no heartbeat of {registry} is expected any more: no rule and no parameter names it"),
        };
        let alert = Alert::events_missing(registry, &incident, AlertState::Resolved, message, now);
        self.table.put_alert(&alert).await?;
        self.table.put_heartbeat_incident(registry, None).await
    }
}

/// What is wrong, with the time since when: how long that is, the reader's clock says.
fn message(registry: &Registry, heartbeat: &Heartbeat, now: Timestamp) -> Option<String> {
    let time = |since: Option<Timestamp>| format!("{} UTC", time_text(since.unwrap_or(now)));
    match heartbeat.status(now) {
        HeartbeatStatus::Late => Some(format!(
            "no heartbeat of {registry} since {}: its events do not reach the hub",
            time(heartbeat.heartbeat_at)
        )),
        HeartbeatStatus::Never => Some(format!(
            "no heartbeat of {registry} ever arrived, expected since {}: deploy infra/registry.yaml there",
            time(heartbeat.expected_since)
        )),
        HeartbeatStatus::Alive | HeartbeatStatus::Unknown | HeartbeatStatus::Forgotten => None,
    }
}
