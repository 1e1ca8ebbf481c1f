//! The replication settings of registries.

use std::collections::{BTreeMap, BTreeSet};

use aws::log;
use domain::{
    alert::{Alert, AlertKind},
    image::Registry,
    replication::ReplicationSettings,
};
use jiff::{SignedDuration, Timestamp};
use retry::chain;
use store::KnownRegistry;
use tracing::{Instrument, warn};

use crate::{TRY_AGAIN, Watch, WatchSummary, fail};

/// The interval between two reads of a registry's settings.
const READ_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// The age of a registry's settings after which a failed read raises an alert.
const TOO_OLD: SignedDuration = SignedDuration::from_hours(2);

impl Watch {
    /// Reads the settings of registries that are due, and adds them to the known settings.
    pub(crate) async fn read_due_settings(
        &self,
        due: BTreeSet<Registry>,
        known: &BTreeMap<Registry, KnownRegistry>,
        settings: &mut BTreeMap<Registry, ReplicationSettings>,
        now: Timestamp,
        summary: &mut WatchSummary,
    ) {
        for registry in due {
            let span = log::registry(&registry);
            let read = self.read_settings(known.get(&registry), &registry, now, summary);
            match read.instrument(span.clone()).await {
                Ok(Some(fresh)) => _ = settings.insert(registry, fresh),
                Ok(None) => {}
                Err(error) => span.in_scope(|| fail(summary, &error)),
            }
        }
    }

    /// Reads the replication settings of a registry, and raises an alert if ECR's native deletion replication was
    /// switched on or off.
    async fn read_settings(
        &self,
        known: Option<&KnownRegistry>,
        registry: &Registry,
        now: Timestamp,
        summary: &mut WatchSummary,
    ) -> Result<Option<ReplicationSettings>, store::Error> {
        let Some(known) = known else { return Ok(None) };
        let after = |pause| now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        let before = known.settings.as_ref();
        let rules = match self.registries.rules(registry).await {
            Ok(rules) => rules,
            Err(failure) => {
                summary.failures += 1;
                let old = before.is_none_or(|settings| now.duration_since(settings.read_at) > TOO_OLD);
                if old && !known.is_new() {
                    let message = format!("the settings of {registry} cannot be read: {}", chain(&failure));
                    let alert = Alert::notice(AlertKind::PipelineUnhealthy, &registry.to_string(), message, now);
                    self.table.put_alert(&alert).await?;
                }
                warn!(error = chain(&failure), "replication settings cannot be read, will be tried again");
                self.table.put_settings(known, None, after(TRY_AGAIN)).await?;
                return Ok(None);
            }
        };
        let settings = ReplicationSettings::after(before, &rules, now);
        if let Some(before) = before {
            self.alert_switched(registry, before, &settings, now).await?;
        }
        self.table.put_settings(known, Some(&settings), after(READ_AGAIN)).await?;
        Ok(Some(settings))
    }

    async fn alert_switched(
        &self,
        registry: &Registry,
        before: &ReplicationSettings,
        after: &ReplicationSettings,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        let (was, is) = (before.native_deletes(), after.native_deletes());
        for (changed, word) in [(is.difference(&was), "on"), (was.difference(&is), "off")] {
            for (destination, prefix) in changed {
                let repositories = if prefix.is_empty() {
                    "every repository".to_owned()
                } else {
                    format!("repositories `{prefix}…`")
                };
                let message = format!(
                    "ECR's own replication of deletions from {registry} to {destination} was switched {word} \
                     for {repositories}"
                );
                let subject = format!("{registry} to {destination} {word}");
                self.table.put_alert(&Alert::notice(AlertKind::NativeDeletesSwitched, &subject, message, now)).await?;
            }
        }
        Ok(())
    }
}
