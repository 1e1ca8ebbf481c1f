//! The registry index: what it records of a registry's images, in the order of their names; and of the same images in
//! other registries.

use std::collections::BTreeMap;

use domain::{
    evidence::{Evidence, PlacementKey},
    fact::Fact,
    image::{Image, Registry, RepositoryName},
    lineage::Lineage,
};

use super::{
    Error, PageBounds, Table,
    definition::REGISTRY_INDEX,
    evidence::decode_evidence,
    item::{self, Item},
};

/// The number of entries per read of the images with the beginning of a digest: mostly there is one image.
const AT_A_TIME: i32 = 100;

impl Table {
    /// The images of a repository in a registry according to the index, in the order of their names.
    pub(super) fn contents(&self, registry: &Registry, repository: &RepositoryName) -> Contents<'_> {
        self.entries_from(registry, PageBounds::all_of(Some(repository)))
    }

    /// The images of a repository in a registry whose digest begins with a text.
    pub(super) fn with_digest(&self, registry: &Registry, repository: &RepositoryName, digest: &str) -> Contents<'_> {
        let from = format!("{repository}@{digest}");
        let to = format!("{from}~");
        Contents { from, to, at_a_time: Some(AT_A_TIME), ..self.contents(registry, repository) }
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

    /// What the index records in other registries about the images of a list.
    pub(super) fn index_join<'a>(&'a self, bounds: PageBounds<'a>) -> IndexJoin<'a> {
        IndexJoin { table: self, bounds, registries: BTreeMap::new(), deletions: None }
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
    pub(super) async fn peek(&mut self) -> Result<Option<&Image>, Error> {
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
                return self.table.decode(item, decode_evidence).map(Some);
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
            let key = format!("the images of {}", self.registry);
            let output = query.send().await.map_err(|error| self.table.read_error(&key, error))?;
            self.table.read(output.consumed_capacity());
            if let Some(key) = output.last_evaluated_key {
                self.page = IndexPage::After(key);
            }
            self.items = output.items.unwrap_or_default().into_iter();
        }
    }
}

/// What the index records in other registries about the images of a list. The indexes are read in parallel with the
/// list, so memory does not grow with their size. Images must be requested in the order of the list.
pub(super) struct IndexJoin<'a> {
    table: &'a Table,
    bounds: PageBounds<'a>,
    registries: BTreeMap<Registry, Contents<'a>>,
    /// The repository of the last image, and its newest deletions.
    deletions: Option<(RepositoryName, Vec<Fact>)>,
}

impl IndexJoin<'_> {
    /// The entries of one image in a registry.
    pub(super) async fn entries(&mut self, registry: &Registry, image: &Image) -> Result<Entries, Error> {
        let (table, bounds) = (self.table, self.bounds);
        let contents = self.registries.entry(registry.clone());
        contents.or_insert_with_key(|registry| table.entries_from(registry, bounds)).seek(image).await
    }

    /// The lineage of one image from its entries, and from the newest deletions of its repository in some registries,
    /// which must be the same for each image of a repository.
    pub(super) async fn lineage(
        &mut self,
        image: &Image,
        entries: Entries,
        registries: impl Iterator<Item = &Registry>,
    ) -> Result<Lineage, Error> {
        let deletions = match self.deletions.take() {
            Some((repository, deletions)) if repository == image.repository => deletions,
            _ => self.table.repository_deletions(&image.repository, &registries.cloned().collect()).await?,
        };
        let lineage = Lineage::new(image.clone(), entries, Vec::new(), deletions.clone());
        self.deletions = Some((image.repository.clone(), deletions));
        Ok(lineage)
    }
}
