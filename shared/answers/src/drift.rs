//! What replicas lack beside their source.

use std::collections::{BTreeMap, BTreeSet};

use domain::{drift::Difference, image::Registry};
use jiff::Timestamp;
use serde::Serialize;
use store::Table;
use utoipa::ToSchema;

use crate::{
    cursor::Cursor,
    paging::{PageRequest, PageToken},
};

/// Replicas that are not as their source.
#[derive(Debug, Serialize, ToSchema)]
pub struct DriftReport {
    /// When each registry was last listed to its end: the differences are as of then, or newer.
    pub listed_at: BTreeMap<Registry, Option<Timestamp>>,
    /// Registries of which nobody knows what they copy.
    pub unread: BTreeSet<Registry>,
    /// Replicas that are missing, or have other tags: of a part of the list those of that part, which follows the sources.
    pub differences: Vec<Difference>,
    /// Where the list of differences goes on. A part may be empty, and yet not the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<PageToken>>,
}

/// Answers `drift`, of the copies of some sources.
///
/// # Errors
/// When the table cannot be read.
pub async fn drift(table: &Table, request: &PageRequest<'_>, now: Timestamp) -> Result<DriftReport, store::Error> {
    let runs = table.runs().await?;
    let known = table.known_registries().await?;
    // Whose clock was ahead of ours knows what is settled.
    let listed = runs.values().filter_map(|run| run.ended_at);
    let read = known.iter().filter_map(|known| Some(known.settings.as_ref()?.read_at));
    let now = listed.chain(read).max().map_or(now, |at| at.max(now));
    let (mut listed_at, mut unread, mut settings) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    for known in known {
        listed_at.insert(known.registry.clone(), runs.get(&known.registry).and_then(|run| run.ended_at.or(run.before)));
        match known.settings {
            Some(known_settings) => _ = settings.insert(known.registry, known_settings),
            None => _ = unread.insert(known.registry),
        }
    }
    let mut differences = Vec::new();
    let mut pager = request.through(settings.keys().cloned().collect());
    while let Some(page) = pager.next_page() {
        let Some(settings) = settings.get(&page.registry) else { continue };
        let each = |difference| differences.push(difference);
        let page_end = table.drift(&page.registry, settings, page.bounds(), now, each).await?;
        pager.end_page(page, page_end);
    }
    let next_cursor = pager.token().map(Cursor);
    differences.sort_by(|a, b| (&a.image, &a.destination, &a.source).cmp(&(&b.image, &b.destination, &b.source)));
    Ok(DriftReport { listed_at, unread, differences, next_cursor })
}
