//! Lists: what a registry holds, what a repository holds, which replicas are orphans.
//!
//! An index finds candidates; each is then read from its own partition, consistently. Nothing here scans the table.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use domain::{
    evidence::{Evidence, Name},
    expectation::GIVE_UP,
    fact::Fact,
    image::{Image, Registry, RepositoryName},
    lag::{Lags, Lane},
    lineage::{Lineage, is_orphan},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{
    Error, Table,
    definition::REGISTRY_INDEX,
    item::{self, Item},
};

/// How many images are read at a time for a list.
pub(super) const READS_AT_A_TIME: usize = 16;

/// How many images are enough to show that a short digest is not unique.
const ENOUGH: usize = 10;

impl Table {
    /// Every registry that any event told of.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn registries(&self) -> Result<BTreeSet<Registry>, Error> {
        Ok(self.known_registries().await?.into_iter().map(|known| known.registry).collect())
    }

    /// Every image of a repository, wherever it is or was, without its facts.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn images(&self, repository: &RepositoryName) -> Result<Vec<Lineage>, Error> {
        let images = self.named(&format!("{repository}@"), |_| true, usize::MAX).await?;
        stream::iter(images)
            .map(|image| async move { self.placements(&image).await })
            .buffered(READS_AT_A_TIME)
            .try_collect()
            .await
    }

    /// The images whose digest starts with some text, of one repository or of any: at most a few, enough to tell
    /// whether there is more than one.
    ///
    /// Without a repository this reads the whole index.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn find(&self, repository: Option<&RepositoryName>, digest: &str) -> Result<BTreeSet<Image>, Error> {
        let starts =
            |image: &Image| image.digest.as_str().starts_with(digest) || image.digest.encoded().starts_with(digest);
        let prefix = repository.map(|repository| format!("{repository}@")).unwrap_or_default();
        self.named(&prefix, starts, ENOUGH).await
    }

    /// The images in the index whose name starts with a prefix and that are wanted.
    async fn named(
        &self,
        prefix: &str,
        wanted: impl Fn(&Image) -> bool,
        most: usize,
    ) -> Result<BTreeSet<Image>, Error> {
        let mut images = BTreeSet::new();
        for registry in self.registries().await? {
            let mut contents = self.contents(&registry, prefix);
            while let Some((image, _)) = contents.next().await? {
                if wanted(&image) {
                    images.insert(image);
                }
                if images.len() >= most {
                    return Ok(images);
                }
            }
        }
        Ok(images)
    }

    /// The replicas in a registry whose source no longer has the image.
    ///
    /// The index is read side by side with those of the sources, so memory stays the same whatever their size. An
    /// orphan is believed only when its own partition says so.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn orphans(&self, registry: &Registry) -> Result<Vec<Lineage>, Error> {
        let registries = self.registries().await?;
        let mut replicas = self.contents(registry, "");
        let mut sources: BTreeMap<Registry, Contents<'_>> = BTreeMap::new();
        let mut deletions: Option<(RepositoryName, Vec<Fact>)> = None;
        let mut orphans = Vec::new();
        while let Some((image, mut evidence)) = replicas.next().await? {
            let from: BTreeSet<_> =
                evidence.iter().flat_map(|(_, evidence)| evidence.replicated.keys()).cloned().collect();
            for source in from {
                let contents = sources.entry(source).or_insert_with_key(|source| self.contents(source, ""));
                evidence.extend(contents.seek(&image).await?);
            }
            let known = match deletions.take() {
                Some((repository, known)) if repository == image.repository => known,
                _ => self.repository_deletions(&image.repository, &registries).await?,
            };
            let candidate = Lineage::new(image.clone(), evidence, Vec::new(), known.clone());
            deletions = Some((image.repository.clone(), known));
            let orphaned = |lineage: &Lineage| {
                lineage.placements.get(registry).is_some_and(|replica| is_orphan(replica, &lineage.placements))
            };
            if orphaned(&candidate) {
                let lineage = self.placements(&image).await?;
                if orphaned(&lineage) {
                    orphans.push(lineage);
                }
            }
        }
        Ok(orphans)
    }

    /// How long replication took, of the copies that arrived since a time and whose push is known: of each digest and tag
    /// in each registry the newest. What took longer than anybody waits for came by a backfill, and says nothing about lag.
    ///
    /// The index of every registry is read side by side with those of its sources.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn lags(&self, since: Timestamp) -> Result<Lags, Error> {
        let mut lags = Lags::new();
        for registry in self.registries().await? {
            let mut replicas = self.contents(&registry, "");
            let mut sources: BTreeMap<Registry, Contents<'_>> = BTreeMap::new();
            while let Some((image, entries)) = replicas.next().await? {
                let mut at_source: BTreeMap<Registry, Entries> = BTreeMap::new();
                for (name, here) in &entries {
                    for (source, _) in here.replicated.iter().filter(|(_, arrived)| **arrived >= since) {
                        if !at_source.contains_key(source) {
                            let contents = sources.entry(source.clone());
                            let contents = contents.or_insert_with_key(|source| self.contents(source, ""));
                            at_source.insert(source.clone(), contents.seek(&image).await?);
                        }
                        let there =
                            at_source.get(source).into_iter().flatten().find(|(there, _)| there.tag == name.tag);
                        let lag = there.and_then(|(_, there)| here.lag_seconds(source, there));
                        let Some(lag) = lag.filter(|lag| *lag < GIVE_UP.as_secs()) else { continue };
                        let (destination, repository) = (registry.clone(), image.repository.clone());
                        let lane = Lane { source: source.clone(), destination, repository };
                        lags.entry(lane).or_default().push(u32::try_from(lag).unwrap_or(u32::MAX));
                    }
                }
            }
        }
        Ok(lags)
    }

    /// What a registry holds according to the index, image by image in the order of their names.
    pub(super) fn contents(&self, registry: &Registry, prefix: &str) -> Contents<'_> {
        Contents {
            table: self,
            registry: registry.clone(),
            prefix: prefix.to_owned(),
            page: Page::First,
            items: Vec::new().into_iter(),
            next: None,
        }
    }
}

/// A walk through the registry index.
pub(super) struct Contents<'a> {
    table: &'a Table,
    registry: Registry,
    prefix: String,
    page: Page,
    items: std::vec::IntoIter<Item>,
    /// The first entry of the image after the last one returned.
    next: Option<(Name, Evidence)>,
}

/// Which page of the index comes next.
enum Page {
    First,
    After(Item),
    None,
}

/// One image's entries of the index.
pub(super) type Entries = Vec<(Name, Evidence)>;

impl Contents<'_> {
    /// The next image and all its entries.
    pub(super) async fn next(&mut self) -> Result<Option<(Image, Entries)>, Error> {
        let first = match self.next.take() {
            Some(entry) => entry,
            None => match self.entry().await? {
                Some(entry) => entry,
                None => return Ok(None),
            },
        };
        let image = first.0.image.clone();
        let mut entries = vec![first];
        while let Some(entry) = self.entry().await? {
            if entry.0.image != image {
                self.next = Some(entry);
                break;
            }
            entries.push(entry);
        }
        Ok(Some((image, entries)))
    }

    /// The entries of one image, which must come after every image asked for before.
    pub(super) async fn seek(&mut self, image: &Image) -> Result<Entries, Error> {
        // The order of the index: that of the text.
        let wanted = image.to_string();
        loop {
            if self.next.is_none() {
                self.next = self.entry().await?;
            }
            match &self.next {
                Some((name, _)) if name.image.to_string() <= wanted => {
                    if let Some((found, entries)) = self.next().await?
                        && found == *image
                    {
                        return Ok(entries);
                    }
                }
                _ => return Ok(Vec::new()),
            }
        }
    }

    async fn entry(&mut self) -> Result<Option<(Name, Evidence)>, Error> {
        loop {
            if let Some(item) = self.items.next() {
                return self.table.decode(item, item::read_evidence).map(Some);
            }
            let start = match std::mem::replace(&mut self.page, Page::None) {
                Page::First => None,
                Page::After(key) => Some(key),
                Page::None => return Ok(None),
            };
            let (pk, sk) = REGISTRY_INDEX.key;
            let query = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
                .index_name(REGISTRY_INDEX.name)
                .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
                .expression_attribute_names("#pk", pk)
                .expression_attribute_names("#sk", sk)
                .expression_attribute_values(":pk", AttributeValue::S(self.registry.to_string()))
                .expression_attribute_values(":from", AttributeValue::S(format!("{} ", self.prefix)))
                .expression_attribute_values(":to", AttributeValue::S(format!("{}~", self.prefix)))
                .set_exclusive_start_key(start)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let key = format!("{} of {}", self.prefix, self.registry);
            let output = query.send().await.map_err(|error| self.table.unread(&key, error))?;
            self.table.read(output.consumed_capacity());
            if let Some(key) = output.last_evaluated_key {
                self.page = Page::After(key);
            }
            self.items = output.items.unwrap_or_default().into_iter();
        }
    }
}
