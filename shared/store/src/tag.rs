//! The history of tags: assignments, and the settings of a tag that are next to one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{
    evidence::PlacementKey,
    fact::Fact,
    image::{Image, Registry, Tag},
    tag::{self, TagAssignment, TagInterval, TagName},
};
use futures::future::join_all;
use jiff::Timestamp;

use super::{
    Error, Table,
    batch::Shared,
    evidence::decode_evidence,
    item::{self, EVERYTHING, Item, ItemError, take},
};

/// The settings of a tag at the nearest earlier second, and those at the nearest later second.
type Adjacent = (Vec<TagAssignment>, Vec<TagAssignment>);

impl Table {
    /// The history of a tag in every registry, oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn tag_history(&self, name: &TagName) -> Result<Vec<TagInterval>, Error> {
        let assignments: Vec<_> = self.partition(&item::pk_of_tag(name), decode_assignment).await?;
        // A deletion by digest removes all tags but names none, so it is in the evidence of the images.
        let images: BTreeSet<_> =
            assignments.iter().map(|assignment| (assignment.registry.clone(), assignment.digest.clone())).collect();
        let names = images.into_iter().flat_map(|(registry, digest)| {
            let image = Image { repository: name.repository.clone(), digest };
            [None, Some(name.tag.clone())].map(|tag| {
                item::key_of_placement(&PlacementKey { image: image.clone(), registry: registry.clone(), tag })
            })
        });
        let mut known = BTreeMap::new();
        for item in self.get_all(names.collect()).await? {
            let (name, evidence) = self.decode(item, decode_evidence)?;
            known.insert((name.registry, name.image.digest, name.tag), evidence);
        }
        let registries: BTreeSet<_> = assignments.iter().map(|assignment| assignment.registry.clone()).collect();
        let mut deletions: BTreeMap<Registry, Vec<Fact>> = BTreeMap::new();
        for deletion in self.repository_deletions(&name.repository, &registries).await? {
            deletions.entry(deletion.registry.clone()).or_default().push(deletion);
        }
        Ok(tag::intervals(assignments, |registry, digest| {
            let evidence = |tag: Option<&Tag>| {
                known.get(&(registry.clone(), digest.clone(), tag.cloned())).cloned().unwrap_or_default()
            };
            let repository = deletions.get(registry).map(Vec::as_slice).unwrap_or_default();
            tag::ends(&name.tag, &evidence(None), &evidence(Some(&name.tag)), repository)
        }))
    }

    /// Whether a tag was ever seen in any registry.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn has_tag(&self, name: &TagName) -> Result<bool, Error> {
        let pk = item::pk_of_tag(name);
        let output = self.between(&pk, EVERYTHING).limit(1).send().await;
        let output = output.map_err(|error| self.read_error(&pk, error))?;
        self.read(output.consumed_capacity());
        Ok(output.items.is_some_and(|items| !items.is_empty()))
    }

    /// Whether a newer image has a tag in a destination: one on which the tag was set at the source at a time or later.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn has_newer(
        &self,
        name: &TagName,
        (source, since): (&Registry, Timestamp),
        destination: &Registry,
    ) -> Result<bool, Error> {
        let (newest, _) = self.newest(name, destination, 0).await?;
        let Some(newest) = newest.into_iter().find(|newest| newest.time >= since) else { return Ok(false) };
        let image = Image { repository: name.repository.clone(), digest: newest.digest };
        let at = |registry: &Registry| PlacementKey {
            image: image.clone(),
            registry: registry.clone(),
            tag: Some(name.tag.clone()),
        };
        let (there, here) = (at(destination), at(source));
        let (there, here) = futures::try_join!(self.evidence(&there), self.evidence(&here))?;
        Ok(there.removed <= there.set() && here.set() >= Some(since))
    }

    /// The adjacent assignments of some settings of a tag in one registry: for each, the settings of the nearest
    /// earlier second and those of the nearest later one. Most settings are among the newest, so one Query of the
    /// newest usually finds the adjacent assignments of all of them.
    pub(super) async fn adjacent_assignments(
        &self,
        name: &TagName,
        registry: &Registry,
        assignments: &[&TagAssignment],
    ) -> Vec<Result<Adjacent, Shared>> {
        let (newest, all) = match self.newest(name, registry, assignments.len()).await {
            Ok(read) => read,
            Err(error) => {
                let error = Arc::new(error);
                return assignments.iter().map(|_| Err(error.clone())).collect();
            }
        };
        let each = assignments.iter().map(async |assignment| {
            if let Some(adjacent_assignments) = tag::adjacent_assignments(assignment, &newest, all) {
                return Ok(adjacent_assignments);
            }
            let (before, after) = item::adjacent_ranges(assignment);
            let read = futures::try_join!(self.nearest(name, before, false), self.nearest(name, after, true));
            read.map_err(Arc::new)
        });
        join_all(each).await
    }

    /// The newest settings of a tag in a registry, newest first, and whether these are all: enough of them for the
    /// adjacent assignments of `assignments` settings.
    async fn newest(
        &self,
        name: &TagName,
        registry: &Registry,
        assignments: usize,
    ) -> Result<(Vec<TagAssignment>, bool), Error> {
        let pk = item::pk_of_tag(name);
        let (from, to) = item::settings_of_tag(registry);
        // One for the setting before them, one before that to prove that its second is complete, and one that came
        // later.
        let limit = i32::try_from(assignments).unwrap_or(i32::MAX).saturating_add(3);
        let query = self.between(&pk, (&from, &to)).scan_index_forward(false).limit(limit);
        let output = query.send().await.map_err(|error| self.read_error(&pk, error))?;
        self.read(output.consumed_capacity());
        let (items, more) = (output.items.unwrap_or_default(), output.last_evaluated_key.is_some());
        let read = items.len();
        // An item that cannot be decoded ends the list. A setting next to it is then read on its own, which returns the
        // error.
        let newest: Vec<_> = items.into_iter().map_while(|item| decode_assignment(item).ok()).collect();
        let all = !more && newest.len() == read;
        Ok((newest, all))
    }

    /// The assignments of the first second in a range of a tag's history, read forwards or backwards.
    async fn nearest(
        &self,
        name: &TagName,
        (from, to): (String, String),
        forward: bool,
    ) -> Result<Vec<TagAssignment>, Error> {
        let pk = item::pk_of_tag(name);
        let mut nearest: Vec<TagAssignment> = Vec::new();
        let mut start = None;
        loop {
            // Two images rarely get the same tag within a second: one page nearly always contains the whole second.
            let query = self.between(&pk, (&from, &to)).scan_index_forward(forward).limit(4);
            let output = query.set_exclusive_start_key(start).send().await;
            let output = output.map_err(|error| self.read_error(&pk, error))?;
            self.read(output.consumed_capacity());
            for item in output.items.unwrap_or_default() {
                let assignment = self.decode(item, decode_assignment)?;
                if nearest.first().is_some_and(|first| first.time != assignment.time) {
                    return Ok(nearest);
                }
                nearest.push(assignment);
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(nearest);
            }
        }
    }
}

/// A tag assignment, all of which is in its key.
pub(super) fn encode_assignment(name: &TagName, assignment: &TagAssignment) -> Item {
    item::with_key(Item::new(), item::key_of_assignment(name, assignment))
}

fn decode_assignment(mut item: Item) -> Result<TagAssignment, ItemError> {
    item::assignment_of(&take(&mut item, "sk")?)
}
