//! The messages that `record` could not record.

use domain::alert::{Alert, AlertKind};
use jiff::Timestamp;
use retry::chain;
use tracing::{error_span, warn};

use crate::{Watch, WatchSummary, fail};

impl Watch {
    /// Counts the dead letters, and raises an alert if there are any.
    pub(crate) async fn check_dead_letters(&self, now: Timestamp, summary: &mut WatchSummary) {
        let Some(dead_letters) = &self.dead_letters else { return };
        let queue = error_span!("queue", queue = dead_letters.url());
        match dead_letters.count().await {
            Ok(count) => {
                if let Err(error) = self.alert_dead_letters(count, now).await {
                    queue.in_scope(|| fail(summary, &error));
                }
            }
            Err(failure) => {
                summary.failures += 1;
                queue
                    .in_scope(|| warn!(error = chain(&failure), "dead letters cannot be counted, will be tried again"));
            }
        }
    }

    /// Raises an alert if the dead-letter queue is not empty; at most once a day.
    ///
    /// # Errors
    /// When the alert cannot be stored.
    pub async fn alert_dead_letters(&self, count: u64, now: Timestamp) -> Result<(), store::Error> {
        if count == 0 {
            return Ok(());
        }
        let (events, what) = if count == 1 { ("1 event is", "it") } else { (&*format!("{count} events are"), "them") };
        let message = format!("{events} among the dead letters: `record` could not record {what} in five tries");
        let alert = Alert::notice(AlertKind::PipelineUnhealthy, "dead letters", message, now);
        self.table.put_alert(&alert).await.map(drop)
    }
}
