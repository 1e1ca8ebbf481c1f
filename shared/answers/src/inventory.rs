//! The sizes and last pulls of copies, as the last listings of their registries saw them.

use std::collections::BTreeMap;

use domain::{
    image::{Image, Registry},
    inventory::{InventoryEntry, ListedCopy},
    lineage::Lineage,
};
use store::Table;

/// What listings saw, by registry and image.
pub(crate) type Listed = BTreeMap<(Registry, Image), InventoryEntry>;

/// What the last listings saw of the copies of some images that may be there. What was listed of a copy that is gone says
/// nothing any more.
pub(crate) async fn of(table: &Table, lineages: impl Iterator<Item = &Lineage>) -> Result<Listed, store::Error> {
    let copies = lineages.flat_map(|lineage| {
        let there = lineage.placements.iter().filter(|(_, placement)| placement.status().may_be_there());
        there.map(|(registry, _)| (registry.clone(), lineage.image.clone()))
    });
    table.inventory_of(&copies.collect()).await
}

/// What a listing saw of one copy.
pub(crate) fn listed(listed: &Listed, registry: &Registry, image: &Image) -> Option<ListedCopy> {
    listed.get(&(registry.clone(), image.clone())).map(ListedCopy::from)
}
