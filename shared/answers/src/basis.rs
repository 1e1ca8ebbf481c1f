//! What an answer rests on: the registries that the table knows, and how new what it knows about them is. Without data, no
//! answer says that nothing is wrong.

use std::collections::BTreeMap;

use domain::{
    image::{Registry, RepositoryName},
    time::time_text,
};
use jiff::Timestamp;
use serde::Serialize;
use store::{PageBounds, Table};
use utoipa::ToSchema;

use crate::error::Error;

/// What an answer rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Basis {
    /// The registries of which something is recorded.
    pub registries: BTreeMap<Registry, KnownUntil>,
}

/// How new what is recorded about a registry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct KnownUntil {
    /// When its last event happened, to five minutes; absent if the hub received none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_at: Option<Timestamp>,
    /// When its last complete listing began; absent if it was never listed completely: images that no event reported are
    /// unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<Timestamp>,
}

impl Basis {
    /// What an answer about a registry or about all, a repository or all rests on.
    ///
    /// # Errors
    /// When the registry or the repository is not known, or the table cannot be read.
    pub async fn read(
        table: &Table,
        registry: Option<&Registry>,
        repository: Option<&RepositoryName>,
    ) -> Result<Self, Error> {
        let known = table.registries().await?;
        let (mut runs, heartbeats) = futures::try_join!(table.runs(), table.heartbeats())?;
        let until = |registry: &Registry, run: Option<store::ReconcileRun>| KnownUntil {
            event_at: heartbeats.get(registry).and_then(|heartbeat| heartbeat.event_at),
            listed_at: run.and_then(|run| run.listed_at),
        };
        let registries: BTreeMap<_, _> = known
            .into_iter()
            .filter(|known| registry.is_none_or(|only| only == known))
            .map(|known| (known.clone(), until(&known, runs.remove(&known))))
            .collect();
        if let Some(registry) = registry.filter(|registry| !registries.contains_key(registry)) {
            return Err(Error::UnknownRegistry { registry: registry.clone() });
        }
        if let Some(repository) = repository.filter(|_| !registries.is_empty()) {
            let first = PageBounds { repository: Some(repository), after: None, most: 1 };
            if table.images(repository, first).await?.0.is_empty() {
                return Err(Error::UnknownRepository { repository: repository.clone() });
            }
        }
        Ok(Self { registries })
    }

    /// The registries that were never listed completely.
    pub fn never_listed(&self) -> impl Iterator<Item = &Registry> {
        self.registries.iter().filter(|(_, known)| known.listed_at.is_none()).map(|(registry, _)| registry)
    }

    /// The basis in one line, such as `3 registries; last event 2026-11-30 10:05:00`.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = self.registries.len();
        let registries = if count == 1 { "registry" } else { "registries" };
        let event = self.registries.values().filter_map(|known| known.event_at).max();
        let event = event.map_or_else(|| "unknown".to_owned(), time_text);
        format!("{count} {registries}; last event {event}")
    }
}
