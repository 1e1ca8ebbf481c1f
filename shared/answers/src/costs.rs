//! What images cost, as the last listings of their registries saw them.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    costs::{CostScope, Costs, PriceOrigin, PriceTable, RegistryListing},
    image::{Registry, RepositoryPattern},
    inventory::{InventoryEntry, Origin},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use store::Table;
use utoipa::ToSchema;

use crate::{READS_AT_A_TIME, basis::Basis, error::Error};

/// Repositories in an answer.
const MOST_REPOSITORIES: usize = 1_000;

/// What images cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct CostReport {
    /// What the answer rests on: each registry counts as its last listing saw it.
    pub basis: Basis,
    /// Transfers of replicas that arrived since this time.
    pub transferred_since: Timestamp,
    /// Only copies that arrived before this time, and of which ECR recorded no pull since; absent if all copies count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpulled_since: Option<Timestamp>,
    /// The costs. At most 1,000 repositories.
    #[serde(flatten)]
    pub costs: Costs,
    /// The number of repositories that are not in `repositories`.
    #[serde(skip_serializing_if = "is_zero")]
    pub repositories_omitted: usize,
    /// Where the prices are from, in the order in which they replace each other.
    pub prices: Vec<PriceOrigin>,
    /// What the figures are, and are not, in the order of their importance.
    pub notes: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Answers `costs`. Reads, for each registry, what its last listing saw: one Query for about ten thousand images. If only
/// one registry counts, that one and the sources of its replicas.
///
/// # Errors
/// When the registry or the repository is not known, or the table cannot be read.
pub async fn costs(table: &Table, scope: &CostScope<'_>, prices: &PriceTable) -> Result<CostReport, Error> {
    let repository = scope.repositories.and_then(RepositoryPattern::name);
    let basis = Basis::read(table, scope.registry, repository.as_ref()).await?;
    let runs = table.runs().await?;
    // The whole name, or else also repositories count whose names only begin with it.
    let prefix = match (&repository, scope.repositories) {
        (Some(repository), _) => format!("{repository}#"),
        (None, Some(pattern)) => pattern.prefix().to_owned(),
        (None, None) => String::new(),
    };
    let read = async |registries: BTreeSet<Registry>| {
        let listings = stream::iter(registries).map(async |registry| {
            let listed_at = runs.get(&registry).and_then(|run| run.listed_at);
            let repositories = table.inventories(&registry, &prefix).await?;
            Ok::<_, store::Error>((registry, RegistryListing { listed_at, repositories }))
        });
        listings.buffer_unordered(READS_AT_A_TIME).try_collect::<BTreeMap<_, _>>().await
    };
    let mut listings = read(basis.registries.keys().cloned().collect()).await?;
    let sources: BTreeSet<_> = sources(&listings).filter(|source| !listings.contains_key(*source)).cloned().collect();
    listings.extend(read(sources).await?);
    let mut costs = Costs::of(&listings, scope, prices);
    let repositories_omitted = costs.repositories.len().saturating_sub(MOST_REPOSITORIES);
    costs.repositories.truncate(MOST_REPOSITORIES);
    Ok(CostReport {
        notes: notes(&basis, &costs, scope, prices),
        basis,
        transferred_since: scope.transferred_since,
        unpulled_since: scope.unpulled_since,
        costs,
        repositories_omitted,
        prices: prices.origins.clone(),
    })
}

/// The sources of the replicas.
fn sources(listings: &BTreeMap<Registry, RegistryListing>) -> impl Iterator<Item = &Registry> {
    let entries = listings.values().flat_map(|listing| listing.repositories.values()).flat_map(BTreeMap::values);
    let sources = entries.filter_map(|entry: &InventoryEntry| match &entry.origin {
        Origin::Replicated(sources) => Some(sources),
        Origin::Pushed | Origin::Unknown => None,
    });
    sources.flatten()
}

fn notes(basis: &Basis, costs: &Costs, scope: &CostScope<'_>, prices: &PriceTable) -> Vec<String> {
    let mut notes = vec![
        "ECR stores a layer once in a repository, and these are sums of the sizes of images: images that share layers \
         cost less. The figures are an upper bound."
            .to_owned(),
    ];
    if scope.unpulled_since.is_some() {
        notes.push(
            "ECR records a pull with a delay of up to 24 hours, and none by principals on its list of pull-time \
             exclusions."
                .to_owned(),
        );
    }
    if !costs.transfers.is_empty() {
        notes.push(
            "Transfers are sums of the sizes of replicas that arrived and are still there; layers that the destination \
             had already were not transferred."
                .to_owned(),
        );
    }
    let never: Vec<_> = basis.never_listed().map(Registry::as_str).collect();
    if !never.is_empty() {
        notes.push(format!("Never listed completely, so that images are missing here: {}.", never.join(", ")));
    }
    if !costs.unpriced_regions.is_empty() {
        let regions: Vec<_> = costs.unpriced_regions.iter().map(String::as_str).collect();
        let regions = regions.join(", ");
        notes.push(format!(
            "No price is known for {regions}, or not for what is stored or sent there: give it with a price table."
        ));
    }
    for origin in &prices.origins {
        notes.push(format!("List prices of {}, up to 150 TB; `prices` in the JSON names their sources.", origin.date));
    }
    notes
}
