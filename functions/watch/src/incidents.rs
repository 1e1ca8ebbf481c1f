//! The alerts of incidents.

use domain::alert::AlertKind;
use jiff::Timestamp;
use metrics::gauge;
use store::Stored;
use tracing::error_span;

use crate::{Watch, WatchSummary, fail};

impl Watch {
    /// Sends the alerts of incidents that are due.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 copies")]
    pub(crate) async fn send_due_alerts(&self, now: Timestamp, summary: &mut WatchSummary) -> Result<(), store::Error> {
        let incidents = self.table.incidents().await?;
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
            let Some(alert) = incident.due(now) else { continue };
            // If the incident changed meanwhile, the next run sends the alert.
            match self.table.put_incident_alert(&incident, &alert).await {
                Ok(Stored::New) => summary.alerts += 1,
                Ok(Stored::Known) => {}
                Err(error) => error_span!("alert", alert.id = alert.id).in_scope(|| fail(summary, &error)),
            }
        }
        Ok(())
    }
}
