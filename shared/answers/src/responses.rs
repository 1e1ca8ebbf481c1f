//! What operators say about open incidents: that they work on it, or that it is not repeated until a time.

use domain::{
    activity::{ActName, OperatorAct},
    alert::{Acknowledgement, AlertKind, Incident, Response, Severity, Snooze},
    image::Registry,
    time::time_text,
};
use jiff::Timestamp;
use serde::Serialize;
use store::{Responses, Table};
use utoipa::ToSchema;

use crate::{activity::Unrecorded, error::Error, registries::short_reason};

/// An incident was acknowledged or snoozed.
#[derive(Debug, Serialize, ToSchema)]
pub struct WasAnswered {
    /// The ID of the incident.
    pub incident: String,
    /// What operators said about it, this included.
    #[serde(flatten)]
    pub response: Response,
    /// What was done, in one line.
    pub summary: String,
}

/// An incident that is open, as operators name it.
struct Named {
    id: String,
    /// The registry whose copies or events are missing.
    registry: Registry,
    severity: Severity,
    what: String,
}

impl Named {
    /// What an operator did about it, for the list of activity.
    fn act(&self, action: ActName, by: &str, reason: Option<String>, now: Timestamp) -> OperatorAct {
        let incident = Some(self.id.clone());
        OperatorAct { reason, incident, ..OperatorAct::new(action, Some(&self.registry), by, now) }
    }
}

/// Records that an operator works on an incident. It is repeated as before.
///
/// # Errors
/// When no such incident is open, or the table cannot be read or written.
pub async fn acknowledge(
    table: &Table,
    alert: &str,
    by: &str,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<WasAnswered, Error> {
    let (named, responses) = named(table, alert).await?;
    let said = Acknowledgement { by: by.to_owned(), at: now, reason: short_reason(reason) };
    table.put_acknowledgement(&named.id, &said).await?;
    let act = named.act(ActName::Acknowledge, by, said.reason.clone(), now);
    let unrecorded = Unrecorded::default().record(table, act).await;
    let Named { id, what, .. } = named;
    let summary = format!("{what}: {said}");
    let response = Response { acknowledged: Some(said), ..responses.get(&id).cloned().unwrap_or_default() };
    unrecorded.or(&summary.clone(), WasAnswered { incident: id, response, summary })
}

/// Stops the repetitions of an incident until a time. A higher severity is sent nevertheless, and so is its end.
///
/// # Errors
/// When no such incident is open, the reason is missing, the end is over, or the table cannot be read or written.
pub async fn snooze(
    table: &Table,
    alert: &str,
    by: &str,
    (until, reason): (Timestamp, &str),
    now: Timestamp,
) -> Result<WasAnswered, Error> {
    let reason = short_reason(Some(reason)).ok_or(Error::NoReason { of: "a snooze" })?;
    if until <= now {
        return Err(Error::EndIsOver { until: time_text(until) });
    }
    let (named, responses) = named(table, alert).await?;
    let snooze = Snooze { by: by.to_owned(), at: now, until, reason, severity: named.severity };
    table.put_snooze(&named.id, &snooze).await?;
    let act = named.act(ActName::Snooze, by, Some(snooze.reason.clone()), now);
    let unrecorded = Unrecorded::default().record(table, OperatorAct { until: Some(until), ..act }).await;
    let Named { id, what, .. } = named;
    let summary = format!("{what}: {snooze}");
    let response = Response { snoozed: Some(snooze), ..responses.get(&id).cloned().unwrap_or_default() };
    unrecorded.or(&summary.clone(), WasAnswered { incident: id, response, summary })
}

/// The open incident that an operator names, by its ID, its short ID, or the ID of one of its alerts.
async fn named(table: &Table, alert: &str) -> Result<(Named, Responses), Error> {
    let ((incidents, responses), heartbeats) = futures::try_join!(table.incidents_and_responses(), table.heartbeats())?;
    let of_copies = incidents.into_iter().filter(|incident| incident.open > 0).map(|incident| Named {
        severity: severity(&incident),
        what: format!("{} from {} to {}", incident.kind.words(), incident.source, incident.destination),
        id: incident.id(),
        registry: incident.destination,
    });
    let kind = AlertKind::EventsMissing;
    let of_events = heartbeats.into_iter().filter_map(|(registry, heartbeat)| {
        let what = format!("{} of {registry}", kind.words());
        Some(Named { id: heartbeat.incident?, registry, severity: kind.severity(), what })
    });
    let is_meant = |named: &Named| {
        let of_alert = alert.strip_prefix(named.id.as_str()).is_some_and(|rest| rest.starts_with('/'));
        // The ID of an alert about missing events begins with its day.
        let of_day = alert.split_once('/').is_some_and(|(_, rest)| rest == named.id);
        named.id == alert || of_alert || of_day || domain::alert::short_id(&named.id) == alert
    };
    let found = of_copies.chain(of_events).find(is_meant);
    Ok((found.ok_or_else(|| Error::NoIncident { asked: alert.to_owned() })?, responses))
}

/// The severity of an incident: that of its last alert, or that of its kind.
pub(crate) fn severity(incident: &Incident) -> Severity {
    incident.severity.unwrap_or(incident.kind.severity())
}
