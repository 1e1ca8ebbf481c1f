//! Lists: the images of a registry, the images of a repository, the orphans.
//!
//! An index finds candidates; each is then read from its own partition, consistently. Nothing here scans the table.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    evidence::{Evidence, PlacementKey},
    expectation::GIVE_UP,
    fact::Fact,
    image::{Image, Registry, RepositoryName},
    lag::Lane,
    lineage::{Lineage, is_orphan},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{
    Error, Table,
    definition::REGISTRY_INDEX,
    item::{self, Item},
};

/// The number of images that are read concurrently for a list.
pub(super) const READS_AT_A_TIME: usize = 16;

/// The least and the largest number of index entries per read if only a part of a list is needed. A hundred entries of
/// a few hundred bytes cost a handful of read units.
const ENTRIES_AT_A_TIME: (usize, usize) = (100, 1_000);

/// The part of a list that is requested.
#[derive(Debug, Clone, Copy)]
pub struct PageBounds<'a> {
    /// Only this repository.
    pub repository: Option<&'a RepositoryName>,
    /// Only what comes after this image, in the order of the names.
    pub after: Option<&'a Image>,
    /// The maximum number of images that are read, whether or not they belong to the list.
    pub most: usize,
}

impl<'a> PageBounds<'a> {
    /// The whole list.
    pub const ALL: Self = Self { repository: None, after: None, most: usize::MAX };

    /// The whole list of one repository, or of all.
    #[must_use]
    pub fn all_of(repository: Option<&'a RepositoryName>) -> Self {
        Self { repository, ..Self::ALL }
    }

    /// The number of index entries per read; `None` for the largest page.
    fn at_a_time(&self) -> Option<i32> {
        let (least, most) = ENTRIES_AT_A_TIME;
        let wanted = (self.most < usize::MAX).then(|| self.most.clamp(least, most));
        wanted.and_then(|entries| i32::try_from(entries).ok())
    }

    fn prefix(&self) -> String {
        self.repository.map(|repository| format!("{repository}@")).unwrap_or_default()
    }
}

/// How far a list was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageEnd {
    /// The number of images that were read.
    pub images: usize,
    /// The image after which the list continues; `None` at its end.
    pub next: Option<Image>,
}

impl PageEnd {
    /// Counts an image. Returns whether the maximum is reached.
    pub(super) fn count(&mut self, image: &Image, bounds: PageBounds<'_>) -> bool {
        self.images += 1;
        let enough = self.images >= bounds.most;
        if enough {
            self.next = Some(image.clone());
        }
        enough
    }
}

/// A copy that arrived, and its replication lag.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The source, the destination and the repository.
    pub lane: Lane,
    /// When the copy arrived.
    pub at: Timestamp,
    /// The replication lag: seconds since the push at the source.
    pub lag_seconds: u32,
}

impl Table {
    /// Every registry from which events came.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn registries(&self) -> Result<BTreeSet<Registry>, Error> {
        Ok(self.known_registries().await?.into_iter().map(|known| known.registry).collect())
    }

    /// The images of a repository in all registries, past ones included, without their facts; and how far the list was
    /// read.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn images(
        &self,
        repository: &RepositoryName,
        bounds: PageBounds<'_>,
    ) -> Result<(Vec<Lineage>, PageEnd), Error> {
        let mut images = Vec::new();
        let page_end =
            self.everywhere(PageBounds { repository: Some(repository), ..bounds }, |image| images.push(image)).await?;
        let read = stream::iter(images).map(|image| async move { self.placements(&image).await });
        Ok((read.buffered(READS_AT_A_TIME).try_collect().await?, page_end))
    }

    /// The images whose digest starts with some text, with or without its algorithm; and how far the list was read.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn find(&self, digest: &str, bounds: PageBounds<'_>) -> Result<(BTreeSet<Image>, PageEnd), Error> {
        let mut found = BTreeSet::new();
        let page_end = self.everywhere(bounds, |image| {
            if image.digest.as_str().starts_with(digest) || image.digest.encoded().starts_with(digest) {
                found.insert(image);
            }
        });
        let page_end = page_end.await?;
        Ok((found, page_end))
    }

    /// Visits the images of all registries, each image once, in the order of their names.
    async fn everywhere(&self, bounds: PageBounds<'_>, mut each: impl FnMut(Image)) -> Result<PageEnd, Error> {
        let registries = self.registries().await?;
        let mut everywhere: Vec<_> = registries.iter().map(|registry| self.entries_from(registry, bounds)).collect();
        let mut page_end = PageEnd::default();
        loop {
            let mut first: Option<Image> = None;
            for contents in &mut everywhere {
                if let Some(image) = contents.peek().await?
                    && first.as_ref().is_none_or(|first| image.to_string() < first.to_string())
                {
                    first = Some(image.clone());
                }
            }
            let Some(first) = first else { return Ok(page_end) };
            for contents in &mut everywhere {
                if contents.peek().await? == Some(&first) {
                    contents.next().await?;
                }
            }
            let enough = page_end.count(&first, bounds);
            each(first);
            if enough {
                return Ok(page_end);
            }
        }
    }

    /// The replicas in a registry whose source no longer has the image; and how far the list was read.
    ///
    /// The index of the registry is read in parallel with those of the sources, so memory does not grow with their
    /// size. A candidate is an orphan only if its own partition confirms it.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn orphans(&self, registry: &Registry, bounds: PageBounds<'_>) -> Result<(Vec<Lineage>, PageEnd), Error> {
        let registries = self.registries().await?;
        let mut replicas = self.entries_from(registry, bounds);
        let mut sources: BTreeMap<Registry, Contents<'_>> = BTreeMap::new();
        let mut deletions: Option<(RepositoryName, Vec<Fact>)> = None;
        let (mut orphans, mut page_end) = (Vec::new(), PageEnd::default());
        while let Some((image, mut evidence)) = replicas.next().await? {
            let from: BTreeSet<_> =
                evidence.iter().flat_map(|(_, evidence)| evidence.replicated.keys()).cloned().collect();
            for source in from {
                let contents = sources.entry(source).or_insert_with_key(|source| self.entries_from(source, bounds));
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
            if page_end.count(&image, bounds) {
                break;
            }
        }
        Ok((orphans, page_end))
    }

    /// Visits the replication lag of the copies that arrived in a registry since a time and whose push is recorded, the
    /// newest of each digest and tag; returns how far the list was read. A lag of [`GIVE_UP`] or more comes from a
    /// backfill, says nothing about replication, and is left out.
    ///
    /// The index of the registry is read in parallel with those of the sources.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn arrivals(
        &self,
        registry: &Registry,
        since: Timestamp,
        bounds: PageBounds<'_>,
        mut each: impl FnMut(Arrival),
    ) -> Result<PageEnd, Error> {
        let mut replicas = self.entries_from(registry, bounds);
        let mut sources: BTreeMap<Registry, Contents<'_>> = BTreeMap::new();
        let mut page_end = PageEnd::default();
        while let Some((image, entries)) = replicas.next().await? {
            let mut at_source: BTreeMap<Registry, Entries> = BTreeMap::new();
            for (name, here) in &entries {
                for (source, arrived) in here.replicated.iter().filter(|(_, arrived)| **arrived >= since) {
                    if !at_source.contains_key(source) {
                        let contents = sources.entry(source.clone());
                        let contents = contents.or_insert_with_key(|source| self.entries_from(source, bounds));
                        at_source.insert(source.clone(), contents.seek(&image).await?);
                    }
                    let there = at_source.get(source).into_iter().flatten().find(|(there, _)| there.tag == name.tag);
                    let lag = there.and_then(|(_, there)| here.lag_seconds(source, there));
                    let Some(lag) = lag.filter(|lag| *lag < GIVE_UP.as_secs()) else { continue };
                    let (destination, repository) = (registry.clone(), image.repository.clone());
                    let lane = Lane { source: source.clone(), destination, repository };
                    each(Arrival { lane, at: *arrived, lag_seconds: u32::try_from(lag).unwrap_or(u32::MAX) });
                }
            }
            if page_end.count(&image, bounds) {
                break;
            }
        }
        Ok(page_end)
    }

    /// The images of a repository in a registry according to the index, in the order of their names.
    pub(super) fn contents(&self, registry: &Registry, repository: &RepositoryName) -> Contents<'_> {
        self.entries_from(registry, PageBounds::all_of(Some(repository)))
    }

    /// Like `contents`, within `bounds`. Does not enforce `bounds.most`; the caller does.
    pub(super) fn entries_from(&self, registry: &Registry, bounds: PageBounds<'_>) -> Contents<'_> {
        let prefix = bounds.prefix();
        Contents {
            table: self,
            registry: registry.clone(),
            // If `after` is in an earlier repository, the prefix is the greater bound.
            from: bounds
                .after
                .map(|image| format!("{}~", item::index_prefix(image)))
                .max(Some(format!("{prefix} ")))
                .unwrap_or_default(),
            to: format!("{prefix}~"),
            at_a_time: bounds.at_a_time(),
            page: IndexPage::First,
            items: Vec::new().into_iter(),
            next: None,
        }
    }
}

/// An iteration over the registry index.
pub(super) struct Contents<'a> {
    table: &'a Table,
    registry: Registry,
    /// The first and the last name in the index.
    from: String,
    to: String,
    /// The number of entries per read; `None` for the largest page.
    at_a_time: Option<i32>,
    page: IndexPage,
    items: std::vec::IntoIter<Item>,
    /// The first entry of the image after the last one returned.
    next: Option<(PlacementKey, Evidence)>,
}

/// The page of the index to read next.
enum IndexPage {
    First,
    After(Item),
    None,
}

/// The index entries of one image.
pub(super) type Entries = Vec<(PlacementKey, Evidence)>;

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

    /// The next image, without consuming it.
    async fn peek(&mut self) -> Result<Option<&Image>, Error> {
        if self.next.is_none() {
            self.next = self.entry().await?;
        }
        Ok(self.next.as_ref().map(|(name, _)| &name.image))
    }

    /// The entries of one image, which must come after every image requested before.
    pub(super) async fn seek(&mut self, image: &Image) -> Result<Entries, Error> {
        // The index is ordered by text.
        let wanted = image.to_string();
        loop {
            // With small pages, a new read that starts at the image skips the entries in between.
            let read = self.next.is_some() || self.items.len() > 0 || matches!(self.page, IndexPage::None);
            if !read && self.at_a_time.is_some() {
                (self.from, self.page) = (item::index_prefix(image), IndexPage::First);
            }
            self.peek().await?;
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

    async fn entry(&mut self) -> Result<Option<(PlacementKey, Evidence)>, Error> {
        loop {
            if let Some(item) = self.items.next() {
                return self.table.decode(item, item::read_evidence).map(Some);
            }
            let start = match std::mem::replace(&mut self.page, IndexPage::None) {
                IndexPage::First => None,
                IndexPage::After(key) => Some(key),
                IndexPage::None => return Ok(None),
            };
            if self.from > self.to {
                return Ok(None);
            }
            let query = self.table.index(&REGISTRY_INDEX, &self.registry.to_string(), &self.from, &self.to);
            let query = query.set_limit(self.at_a_time).set_exclusive_start_key(start);
            let key = format!("{} of {}", self.from, self.registry);
            let output = query.send().await.map_err(|error| self.table.read_error(&key, error))?;
            self.table.read(output.consumed_capacity());
            if let Some(key) = output.last_evaluated_key {
                self.page = IndexPage::After(key);
            }
            self.items = output.items.unwrap_or_default().into_iter();
        }
    }
}
