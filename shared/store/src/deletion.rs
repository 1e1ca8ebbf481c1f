//! Work items, and the deletions that result from losses at a source.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, Select};
use domain::{
    deletion::{Deletion, DeletionStatus},
    expectation::ReplicationExpectation,
    image::{Image, Registry, Tag},
    lineage::Lineage,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Error, Stored, Table,
    definition::{DELETION_INDEX, DUE_INDEX},
    item::{self, DueItem, ImageItemKind, Item, Queue, WorkItem},
};

/// Everything in the partition of one image.
#[derive(Debug, Clone)]
pub struct ImageRecord {
    /// What is recorded about the image.
    pub lineage: Lineage,
    /// The deletions of its replicas, whether they have ended or not.
    pub deletions: Vec<Deletion>,
    /// The work items that were ever enqueued for the image, including completed ones.
    pub work_items: BTreeSet<WorkItem>,
    /// The copies that its pushes should cause.
    pub expectations: Vec<ReplicationExpectation>,
}

/// The position of a deletion in the list by status and source, from which a page can continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The repository and the digest.
    pub image: Image,
    /// The registry of the replica.
    pub registry: Registry,
    /// The tag, if the deletion is about a tag and not about the image.
    pub tag: Option<Tag>,
    /// When the deletion last changed, according to the index.
    pub changed_at: Timestamp,
}

/// What is due for one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// The sources whose loss was not evaluated yet.
    pub losses: BTreeSet<Registry>,
    /// Whether any deletion of the image is due.
    pub deletions: bool,
}

impl Table {
    /// Everything about one image.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn image_record(&self, image: &Image) -> Result<ImageRecord, Error> {
        self.image_record_from(image, item::EVERYTHING).await
    }

    /// The expectations and the placements of one image, without its facts, whose number is not bounded.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn expectations(&self, image: &Image) -> Result<ImageRecord, Error> {
        let (expected, placed) = futures::try_join!(
            self.image_record_from(image, item::EXPECTATIONS),
            self.image_record_from(image, item::PLACEMENTS)
        )?;
        Ok(ImageRecord { expectations: expected.expectations, ..placed })
    }

    pub(super) async fn image_record_from(&self, image: &Image, range: (&str, &str)) -> Result<ImageRecord, Error> {
        let pk = item::pk_of_image(image);
        let query = self.between(&pk, &(range.0.to_owned(), range.1.to_owned()));
        let (mut evidence, mut facts, mut deletions) = (Vec::new(), Vec::new(), Vec::new());
        let (mut work_items, mut expectations) = (BTreeSet::new(), Vec::new());
        for item in self.all(&pk, query).await? {
            match item::image_item_kind(&item) {
                Some(ImageItemKind::Fact) => facts.push(self.decode(item, item::read_fact)?),
                Some(ImageItemKind::Deletion) => deletions.push(self.decode(item, item::read_deletion)?),
                Some(ImageItemKind::WorkItem) => _ = work_items.insert(self.decode(item, item::read_work_item)?),
                Some(ImageItemKind::Expectation) => expectations.push(self.decode(item, item::read_expectation)?),
                Some(ImageItemKind::Evidence) | None => evidence.push(self.decode(item, item::read_evidence)?),
            }
        }
        let registries: BTreeSet<_> = evidence.iter().map(|(name, _)| name.registry.clone()).collect();
        let gone = self.repository_deletions(&image.repository, &registries).await?;
        let lineage = Lineage::new(image.clone(), evidence, facts, gone);
        Ok(ImageRecord { lineage, deletions, work_items, expectations })
    }

    // Work items

    /// Enqueues a work item that is due immediately.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn enqueue(&self, image: &Image, work_item: &WorkItem) -> Result<(), Error> {
        self.put(item::work_item(image, work_item), None, HashMap::new(), HashMap::new()).await.map(drop)
    }

    /// Claims a work item until a time: it is due again then, unless it is completed before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn claim(&self, image: &Image, work_item: &WorkItem, until: Timestamp) -> Result<(), Error> {
        self.put(item::work_item_claimed(image, work_item, until), None, HashMap::new(), HashMap::new()).await.map(drop)
    }

    /// Completes a work item that was claimed until a time, unless it was enqueued again since.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn complete(&self, image: &Image, work_item: &WorkItem, until: Timestamp) -> Result<(), Error> {
        let taken = [(":due".to_owned(), AttributeValue::S(item::sort_key_of_time(until)))].into();
        let names = [("#due".to_owned(), "due".to_owned())].into();
        let settled = item::work_item_completed(image, work_item);
        self.put(settled, Some("#due = :due".into()), names, taken).await.map(drop)
    }

    // Deletions

    /// Stores a deletion, unless another writer stored it since it was read (optimistic locking). `deletion.version`
    /// then is the stored version.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_deletion(&self, deletion: &mut Deletion) -> Result<Stored, Error> {
        let (_, key) = item::key_of_deletion(deletion);
        let read = deletion.version;
        deletion.version = read.saturating_add(1);
        let item = item::deletion(deletion).map_err(|source| self.decode_error(&key, source))?;
        let stored = self.put_version(item, read).await;
        if !matches!(stored, Ok(Stored::New)) {
            deletion.version = read;
        }
        stored
    }

    /// Writes an item with a version, if the stored version is still the one that was read.
    pub(super) async fn put_version(&self, item: Item, read: u64) -> Result<Stored, Error> {
        if read == 0 {
            return self.put(item, Some("attribute_not_exists(pk)".into()), HashMap::new(), HashMap::new()).await;
        }
        let names = [("#version".to_owned(), "version".to_owned())].into();
        let values = [(":version".to_owned(), AttributeValue::N(read.to_string()))].into();
        self.put(item, Some("#version = :version".into()), names, values).await
    }

    /// The due losses and deletions, of at most `most` images.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn due(&self, now: Timestamp, most: usize) -> Result<BTreeMap<Image, Due>, Error> {
        let mut all: BTreeMap<Image, Due> = BTreeMap::new();
        let note = |item, has_capacity| {
            let (image, loss) = match item {
                DueItem::WorkItem(image, WorkItem::SourceLost(source)) => (image, Some(source)),
                DueItem::Deletion(image) => (image, None),
                DueItem::WorkItem(..) | DueItem::Expectation(_) | DueItem::Settings(_) => return all.len(),
            };
            if has_capacity || all.contains_key(&image) {
                let due = all.entry(image).or_default();
                match loss {
                    Some(source) => _ = due.losses.insert(source),
                    None => due.deletions = true,
                }
            }
            all.len()
        };
        self.each_due(Queue::Mirror, now, most, note).await?;
        Ok(all)
    }

    /// Visits the due items of a queue, dividing `most` evenly between its shards. The callback gets an item and
    /// whether there is capacity for another one; it returns the number of entries accepted so far.
    pub(super) async fn each_due(
        &self,
        queue: Queue,
        now: Timestamp,
        most: usize,
        mut note: impl FnMut(DueItem, bool) -> usize,
    ) -> Result<(), Error> {
        let mut noted = 0;
        for shard in 0..item::SHARDS {
            let limit = noted + most.saturating_sub(noted).div_ceil((item::SHARDS - shard) as usize);
            let mut start = None;
            while noted < limit {
                let query = self
                    .index(&DUE_INDEX, &item::queue_shard(queue, shard), " ", &item::sort_key_of_time(now))
                    .limit(500);
                let output = query.set_exclusive_start_key(start).send().await;
                let output = output.map_err(|error| self.read_error(DUE_INDEX.name, error))?;
                self.read(output.consumed_capacity());
                for item in output.items.unwrap_or_default() {
                    noted = note(self.decode(item, item::read_due)?, noted < limit);
                }
                start = output.last_evaluated_key;
                if start.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The deletions of a source with a status that changed since a time, newest first, at most `most`; and the
    /// position after which the list continues, if it does.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn deletions(
        &self,
        status: DeletionStatus,
        source: &Registry,
        since: Timestamp,
        after: Option<&Listed>,
        most: usize,
    ) -> Result<(Vec<Deletion>, Option<Listed>), Error> {
        // `since` moves forward from page to page, so a continued list can already be past its end.
        if after.is_some_and(|listed| listed.changed_at < since) {
            return Ok((Vec::new(), None));
        }
        let status_key = item::status_key(status, source);
        let mut keys = Vec::new();
        let mut start = after.map(|listed| item::start_of_deletions(listed, &status_key));
        let mut last = None;
        while keys.len() < most {
            let query = self.index(&DELETION_INDEX, &status_key, &since.to_string(), "~").scan_index_forward(false);
            let left = i32::try_from(most - keys.len()).ok();
            let output = query.set_limit(left).set_exclusive_start_key(start).send().await;
            let output = output.map_err(|error| self.read_error(DELETION_INDEX.name, error))?;
            self.read(output.consumed_capacity());
            let items = output.items.unwrap_or_default();
            if let Some(item) = items.last().cloned() {
                last = Some(self.decode(item, item::read_listed)?);
            }
            keys.extend(items.into_iter().filter_map(item::key));
            start = output.last_evaluated_key;
            if start.is_none() {
                last = None;
                break;
            }
        }
        // The index only finds candidates; the items themselves, read consistently, decide.
        let items = self.get_all(keys).await?;
        let read = items.into_iter().map(|item| self.decode(item, item::read_deletion));
        let mut deletions = read.collect::<Result<Vec<_>, _>>()?;
        deletions.retain(|deletion| deletion.status == status);
        deletions.sort_by_key(|deletion| std::cmp::Reverse(deletion.changed_at));
        Ok((deletions, last))
    }

    /// The number of deletions of a source with a status, counted up to `most`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn count_deletions(
        &self,
        status: DeletionStatus,
        source: &Registry,
        most: usize,
    ) -> Result<usize, Error> {
        let status_key = item::status_key(status, source);
        let query = self.index(&DELETION_INDEX, &status_key, " ", "~").select(Select::Count);
        let output = query.set_limit(i32::try_from(most).ok()).send().await;
        let output = output.map_err(|error| self.read_error(DELETION_INDEX.name, error))?;
        self.read(output.consumed_capacity());
        Ok(usize::try_from(output.count).unwrap_or_default())
    }

    /// When the next item of a queue is due; `None` if the queue is empty.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn next_due(&self, queue: Queue) -> Result<Option<Timestamp>, Error> {
        let mut next = None;
        for shard in 0..item::SHARDS {
            let query = self.index(&DUE_INDEX, &item::queue_shard(queue, shard), " ", "~").limit(1);
            let output = query.send().await.map_err(|error| self.read_error(DUE_INDEX.name, error))?;
            self.read(output.consumed_capacity());
            for item in output.items.unwrap_or_default() {
                let due = self.decode(item, item::read_due_time)?;
                next = Some(next.map_or(due, |next: Timestamp| next.min(due)));
            }
        }
        Ok(next)
    }

    // Leases

    /// Takes the lease of a queue until a time, unless another owner holds it now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn take_lease(&self, queue: Queue, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool, Error> {
        let values = [
            (":now".to_owned(), AttributeValue::S(item::sort_key_of_time(now))),
            (":owner".to_owned(), AttributeValue::S(owner.to_owned())),
        ];
        let names = [("#until".to_owned(), "until".to_owned()), ("#owner".to_owned(), "owner".to_owned())];
        let condition = "attribute_not_exists(pk) OR #until <= :now OR #owner = :owner";
        let put = self.put(item::lease(queue, owner, until), Some(condition.into()), names.into(), values.into());
        Ok(put.await? == Stored::New)
    }
}
