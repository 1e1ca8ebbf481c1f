//! What an operator does with a registry.

use domain::{
    activity::{ActName, OperatorAct},
    heartbeat::Forgotten,
    image::Registry,
    replication::ReplicationSettings,
};
use jiff::Timestamp;
use serde::Serialize;
use store::Table;
use utoipa::ToSchema;

use crate::{activity::Unrecorded, error::Error};

/// A registry was forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub struct WasForgotten {
    /// The registry.
    pub registry: Registry,
    /// Who forgot it, when and why.
    #[serde(flatten)]
    pub forgotten: Forgotten,
    /// What was done, in one line.
    pub summary: String,
}

/// The longest reason, in characters.
pub const LONGEST_REASON: usize = 1_000;

/// The reason of an operator, without spaces around it, and at most [`LONGEST_REASON`] long; `None` if it says nothing.
pub(crate) fn short_reason(reason: Option<&str>) -> Option<String> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty())?;
    Some(reason.chars().take(LONGEST_REASON).collect())
}

/// Forgets a registry that has no stack, or has none any more: no heartbeat of it is expected, until a heartbeat or an
/// event of it arrives. What was recorded stays, and `mirror` and `reconcile` still read the registry.
///
/// # Errors
/// When nothing names the registry, or the table cannot be read or written.
pub async fn forget(
    table: &Table,
    registry: &Registry,
    reason: Option<&str>,
    by: &str,
    now: Timestamp,
) -> Result<WasForgotten, Error> {
    let (known, heartbeats) = futures::try_join!(table.known_registries(), table.heartbeats())?;
    let is_named = heartbeats.contains_key(registry)
        || known.iter().any(|known| {
            let destinations = known.settings.as_ref().map(ReplicationSettings::all_destinations);
            known.registry == *registry || destinations.into_iter().flatten().any(|each| each == *registry)
        });
    if !is_named {
        return Err(Error::UnknownRegistry { registry: registry.clone() });
    }
    let reason = short_reason(reason);
    let forgotten = Forgotten { at: now, by: by.to_owned(), reason };
    table.forget_registry(registry, &forgotten).await?;
    let act = OperatorAct::new(ActName::ForgetRegistry, Some(registry), by, now);
    let act = OperatorAct { reason: forgotten.reason.clone(), ..act };
    let unrecorded = Unrecorded::default().record(table, act).await;
    let summary = format!("{registry} forgotten by {by}: no heartbeat is expected until one, or an event, arrives");
    unrecorded.or(&summary.clone(), WasForgotten { registry: registry.clone(), forgotten, summary })
}
