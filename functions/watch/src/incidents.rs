//! The alerts of incidents.

use std::collections::BTreeSet;

use domain::alert::{AlertKind, Incident, Response};
use jiff::Timestamp;
use metrics::gauge;
use store::{Responses, Stored};
use tracing::error_span;

use crate::{Watch, WatchSummary, fail};

/// No operator said anything about an incident.
const NOTHING_SAID: Response = Response { acknowledged: None, snoozed: None };

impl Watch {
    /// Sends the alerts of incidents that are due.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 copies")]
    pub(crate) async fn send_due_alerts(
        &self,
        incidents: Vec<Incident>,
        responses: &Responses,
        now: Timestamp,
        summary: &mut WatchSummary,
    ) -> Result<(), store::Error> {
        for kind in AlertKind::ALL.into_iter().filter(|kind| kind.is_ongoing()) {
            let open: u64 =
                incidents.iter().filter(|incident| incident.kind == kind).map(|incident| incident.open).sum();
            gauge!("UnhealthyCopies", "Kind" => kind.as_str()).set(open as f64);
        }
        for mut incident in incidents {
            let key = (incident.kind, incident.source.clone(), incident.destination.clone());
            if let Some(began) = summary.checked.began.remove(&key) {
                let new = incident.add_repositories(&began);
                if !new.is_empty() {
                    self.table.add_repositories(&incident, &new).await?;
                }
            }
            let response = responses.get(&incident.id()).unwrap_or(&NOTHING_SAID);
            let Some(alert) = incident.due(self.table.severity_rules(), response, now) else { continue };
            // If the incident changed meanwhile, the next run sends the alert.
            match self.table.put_incident_alert(&incident, &alert).await {
                Ok(Stored::New) => summary.alerts += 1,
                Ok(Stored::Known) => {}
                Err(error) => error_span!("alert", alert.id = alert.id).in_scope(|| fail(summary, &error)),
            }
        }
        Ok(())
    }

    /// Deletes what operators said about incidents that are over.
    pub(crate) async fn forget_responses(
        &self,
        responses: Responses,
        incidents: &BTreeSet<String>,
    ) -> Result<(), store::Error> {
        for incident in responses.into_keys().filter(|incident| !incidents.contains(incident)) {
            self.table.delete_response(&incident).await?;
        }
        Ok(())
    }
}
