//! Drift: missing replicas and replicas with different tags.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    drift::{Difference, Drift},
    image::Registry,
};
use jiff::Timestamp;
use serde::Serialize;
use store::Table;
use utoipa::ToSchema;

use crate::{
    basis::Basis,
    cursor::Cursor,
    described::{DescribedDifference, described},
    error::Error,
    paging::{PageRequest, PageToken},
};

/// Replicas that differ from their source.
#[derive(Debug, Serialize, ToSchema)]
pub struct DriftReport {
    /// What the answer rests on: the differences are as of the last listing of a registry, or newer.
    pub basis: Basis,
    /// Registries whose replication settings were never read, by name: their expected replicas are unknown.
    pub unread: BTreeSet<Registry>,
    /// Missing replicas and replicas with different tags, by the names of the source, the image and the destination.
    #[serde(serialize_with = "described")]
    #[schema(value_type = Vec<DescribedDifference>)]
    pub differences: Vec<Difference>,
    /// The recommended next step; absent if no replica is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediation: Option<&'static str>,
    /// The cursor for the next page of differences; absent on the last page. A page may be empty and have a next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<PageToken>>,
}

/// The next step if replicas are missing.
const BACKFILL: &str = "`ecr-lineage backfill SOURCE DESTINATION` makes ECR copy the missing images";

/// Answers `drift`, for the replicas of some sources.
///
/// # Errors
/// When the repository is not known, or the table cannot be read.
pub async fn drift(table: &Table, request: &PageRequest<'_>, now: Timestamp) -> Result<DriftReport, Error> {
    let basis = Basis::read(table, request.registry, request.repository().as_ref()).await?;
    let known = table.known_registries().await?;
    // If the clock that set these times is ahead of this one, the newest of them counts as now.
    let listed = basis.registries.values().filter_map(|known| known.listed_at);
    let read = known.iter().filter_map(|known| Some(known.settings.as_ref()?.read_at));
    let now = listed.chain(read).max().map_or(now, |at| at.max(now));
    let (mut unread, mut settings) = (BTreeSet::new(), BTreeMap::new());
    for known in known {
        match known.settings {
            Some(known_settings) => _ = settings.insert(known.registry, known_settings),
            None => _ = unread.insert(known.registry),
        }
    }
    let mut differences = Vec::new();
    let mut pager = request.through(settings.keys().cloned().collect());
    while let Some(page) = pager.next_page() {
        let Some(settings) = settings.get(&page.registry) else { continue };
        let each = |difference: Difference| {
            if request.covers(&difference.image.repository) {
                differences.push(difference);
            }
        };
        let page_end = table.drift(&page.registry, settings, page.bounds(), now, each).await?;
        pager.end_page(page, page_end);
    }
    let next_cursor = pager.token().map(Cursor);
    // The order of the index, in which images are texts.
    let position = |of: &Difference| (of.source.clone(), of.image.to_string(), of.destination.clone());
    differences.sort_by_key(position);
    let is_missing = |difference: &Difference| matches!(difference.drift, Drift::Missing { .. });
    let remediation = differences.iter().any(is_missing).then_some(BACKFILL);
    Ok(DriftReport { basis, unread, differences, remediation, next_cursor })
}
