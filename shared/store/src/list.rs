//! Lists: the images of a registry, the images of a repository, the orphans.
//!
//! An index finds candidates; each is then read from its own partition, consistently. Nothing here scans the table.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    expectation::GIVE_UP,
    image::{Digest, Image, Registry, RepositoryName, Tag},
    lag::Lane,
    lineage::{Lineage, is_orphan},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{Error, Table, definition::REGISTRY_INDEX, evidence::decode_evidence, registry_index::Entries};

/// The number of images that are read concurrently for a list.
pub(super) const READS_AT_A_TIME: usize = 16;

/// The least and the largest number of index entries per read if only a part of a list is needed. A hundred entries of
/// a few hundred bytes cost a handful of read units.
const ENTRIES_AT_A_TIME: (usize, usize) = (100, 1_000);

/// The search for the beginning of a digest in a repository ends at this many images: they show that it is ambiguous.
const ENOUGH: usize = 10;

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
    pub(super) fn at_a_time(&self) -> Option<i32> {
        let (least, most) = ENTRIES_AT_A_TIME;
        let wanted = (self.most < usize::MAX).then(|| self.most.clamp(least, most));
        wanted.and_then(|entries| i32::try_from(entries).ok())
    }

    pub(super) fn prefix(&self) -> String {
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
    /// The repositories of which a registry has or had images, each found by one read: those whose names start with
    /// `prefix` and come after `after` in the order of the index, at most `most`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn repositories(
        &self,
        registry: &Registry,
        prefix: &str,
        after: Option<&RepositoryName>,
        most: usize,
    ) -> Result<Vec<RepositoryName>, Error> {
        // No digest or tag contains a character that sorts after `~`.
        let behind = |repository: &RepositoryName| format!("{repository}@~");
        let mut repositories = Vec::new();
        let (mut from, to) = (after.map(behind).unwrap_or_default().max(format!("{prefix} ")), format!("{prefix}~"));
        while repositories.len() < most && from <= to {
            let query = self.index(&REGISTRY_INDEX, &registry.to_string(), &from, &to).limit(1);
            let output =
                query.send().await.map_err(|error| self.read_error(&format!("the images of {registry}"), error))?;
            self.read(output.consumed_capacity());
            let Some(item) = output.items.unwrap_or_default().into_iter().next() else { break };
            let repository = self.decode(item, decode_evidence)?.0.image.repository;
            // The prefix can contain characters that no repository name has, and then matches none.
            if !repository.as_str().starts_with(prefix) {
                break;
            }
            from = behind(&repository);
            repositories.push(repository);
        }
        Ok(repositories)
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

    /// The images of a repository in all registries, past ones included, according to the index; and the newest push of
    /// each to any registry.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn pushes(&self, repository: &RepositoryName) -> Result<BTreeMap<Digest, Option<Timestamp>>, Error> {
        let registries = self.registries().await?;
        let mut pushes: BTreeMap<Digest, Option<Timestamp>> = BTreeMap::new();
        for registry in &registries {
            let mut contents = self.contents(registry, repository);
            while let Some((image, entries)) = contents.next().await? {
                let pushed = entries.iter().filter_map(|(_, evidence)| evidence.pushed).max();
                let newest = pushes.entry(image.digest).or_default();
                *newest = pushed.max(*newest);
            }
        }
        Ok(pushes)
    }

    /// The images whose digest begins with some text, with or without its algorithm, which is then SHA-256: of one
    /// repository, or of all. Each is found by its key, with one read of each repository in each registry: about ten
    /// of each.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn find(&self, digest: &str, repository: Option<&RepositoryName>) -> Result<BTreeSet<Image>, Error> {
        let places = stream::iter(self.registries().await?).map(|registry| async move {
            let repositories = match repository {
                Some(only) => vec![only.clone()],
                None => self.repositories(&registry, "", None, usize::MAX).await?,
            };
            Ok::<_, Error>(repositories.into_iter().map(move |repository| (registry.clone(), repository)))
        });
        let places: Vec<_> = places.buffered(READS_AT_A_TIME).try_collect().await?;
        let digest = if digest.contains(':') { digest.to_owned() } else { format!("sha256:{digest}") };
        let reads = places.into_iter().flatten().map(|(registry, repository)| {
            let mut contents = self.with_digest(&registry, &repository, &digest);
            async move {
                let mut found = BTreeSet::new();
                while let Some((image, _)) = contents.next().await? {
                    found.insert(image);
                    if found.len() >= ENOUGH {
                        break;
                    }
                }
                Ok::<_, Error>(found)
            }
        });
        let found: Vec<_> = stream::iter(reads).buffered(READS_AT_A_TIME).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The tags of a repository that are chosen, as the index of a registry records them, past ones included. At most
    /// `most` images are read, in the order of their digests.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn tags_in(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        most: usize,
        chosen: impl Fn(&Tag) -> bool,
    ) -> Result<BTreeSet<Tag>, Error> {
        let (mut contents, mut found, mut images) = (self.contents(registry, repository), BTreeSet::new(), 0);
        while let Some((_, entries)) = contents.next().await? {
            found.extend(entries.into_iter().filter_map(|(name, _)| name.tag).filter(&chosen));
            images += 1;
            if images >= most {
                break;
            }
        }
        Ok(found)
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
        let mut sources = self.index_join(bounds);
        let (mut orphans, mut page_end) = (Vec::new(), PageEnd::default());
        while let Some((image, mut evidence)) = replicas.next().await? {
            let from: BTreeSet<_> =
                evidence.iter().flat_map(|(_, evidence)| evidence.replicated.keys()).cloned().collect();
            for source in from {
                evidence.extend(sources.entries(&source, &image).await?);
            }
            let candidate = sources.lineage(&image, evidence, registries.iter()).await?;
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
        let mut sources = self.index_join(bounds);
        let mut page_end = PageEnd::default();
        while let Some((image, entries)) = replicas.next().await? {
            let mut at_source: BTreeMap<Registry, Entries> = BTreeMap::new();
            for (name, here) in &entries {
                for (source, arrived) in here.replicated.iter().filter(|(_, arrived)| **arrived >= since) {
                    if !at_source.contains_key(source) {
                        at_source.insert(source.clone(), sources.entries(source, &image).await?);
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
}
