//! Queues: what is due, for `mirror` and for `watch`; and the work items in them.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    fact::WorkItem,
    image::{Image, Registry},
};
use jiff::Timestamp;

use super::{
    Error, Table,
    calls::Condition,
    definition::DUE_INDEX,
    item::{self, ImageItemKind, Item, ItemError, sort_key_of_time, take, take_time},
};

/// The queues of due items, one for each function that processes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Deletions, and the losses that cause them.
    Mirror,
    /// Expected copies, failed copies, deleted replicas, and the replication settings of registries.
    Watch,
    /// Reconciliation of registries. It has only a lease, no items.
    Reconcile,
}

impl Queue {
    /// The name of the queue: the function whose work it holds.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Watch => "watch",
            Self::Reconcile => "reconcile",
        }
    }

    fn of(work_item: &WorkItem) -> Self {
        match work_item {
            WorkItem::SourceLost(_) => Self::Mirror,
            WorkItem::ReplicationFailed(..) | WorkItem::ReplicaDeleted(_) => Self::Watch,
        }
    }
}

/// The number of shards of a queue in the due index. An image's shard depends on its digest, so that many items that
/// are due at once are not in one partition.
const SHARDS: u32 = 4;

/// The due time of a new work item: immediately. It is a constant, so that the order in which events arrive has no
/// effect on the item.
pub(super) const DUE_IMMEDIATELY: &str = "1970-01-01T00:00:00Z";

/// What is due for one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// The sources whose loss was not evaluated yet.
    pub losses: BTreeSet<Registry>,
    /// Whether any deletion of the image is due.
    pub deletions: bool,
}

/// What `watch` has to process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToWatch {
    /// Images with due expectations, and their work items.
    pub images: BTreeMap<Image, BTreeSet<WorkItem>>,
    /// Registries whose replication settings are to be read.
    pub registries: BTreeSet<Registry>,
}

/// A due item in a queue.
#[derive(Debug)]
enum DueItem {
    WorkItem(Image, WorkItem),
    Deletion(Image),
    Expectation(Image),
    Settings(Registry),
}

impl Table {
    // What is due

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

    /// The due items of `watch`, of at most `most` images.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn to_watch(&self, now: Timestamp, most: usize) -> Result<ToWatch, Error> {
        let mut due = ToWatch::default();
        let note = |item, has_capacity| {
            let (image, work_item) = match item {
                DueItem::WorkItem(image, work_item) => (image, Some(work_item)),
                DueItem::Expectation(image) => (image, None),
                DueItem::Settings(registry) => {
                    due.registries.insert(registry);
                    return due.images.len();
                }
                DueItem::Deletion(_) => return due.images.len(),
            };
            if has_capacity || due.images.contains_key(&image) {
                due.images.entry(image).or_default().extend(work_item);
            }
            due.images.len()
        };
        self.each_due(Queue::Watch, now, most, note).await?;
        Ok(due)
    }

    /// Visits the due items of a queue, dividing `most` evenly between its shards. The callback gets an item and
    /// whether there is capacity for another one; it returns the number of entries accepted so far.
    async fn each_due(
        &self,
        queue: Queue,
        now: Timestamp,
        most: usize,
        mut note: impl FnMut(DueItem, bool) -> usize,
    ) -> Result<(), Error> {
        let mut noted = 0;
        for shard in 0..SHARDS {
            let limit = noted + most.saturating_sub(noted).div_ceil((SHARDS - shard) as usize);
            let mut start = None;
            while noted < limit {
                let query = self.index(&DUE_INDEX, &shard_of(queue, shard), " ", &sort_key_of_time(now)).limit(500);
                let output = query.set_exclusive_start_key(start).send().await;
                let output = output.map_err(|error| self.read_error(DUE_INDEX.name, error))?;
                self.read(output.consumed_capacity());
                for item in output.items.unwrap_or_default() {
                    noted = note(self.decode(item, decode_due)?, noted < limit);
                }
                start = output.last_evaluated_key;
                if start.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// When the next item of a queue is due; `None` if the queue is empty.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn next_due(&self, queue: Queue) -> Result<Option<Timestamp>, Error> {
        let mut next = None;
        for shard in 0..SHARDS {
            let query = self.index(&DUE_INDEX, &shard_of(queue, shard), " ", "~").limit(1);
            let output = query.send().await.map_err(|error| self.read_error(DUE_INDEX.name, error))?;
            self.read(output.consumed_capacity());
            for item in output.items.unwrap_or_default() {
                let due = self.decode(item, decode_due_time)?;
                next = Some(next.map_or(due, |next: Timestamp| next.min(due)));
            }
        }
        Ok(next)
    }

    // Work items

    /// Enqueues a work item that is due immediately.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn enqueue(&self, image: &Image, work_item: &WorkItem) -> Result<(), Error> {
        self.put_always(encode_work_item(image, work_item)).await.map(drop)
    }

    /// Claims a work item until a time: it is due again then, unless it is completed before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn claim(&self, image: &Image, work_item: &WorkItem, until: Timestamp) -> Result<(), Error> {
        let completed = encode_completed(image, work_item);
        self.put_always(queued_until(completed, Queue::of(work_item), image, until)).await.map(drop)
    }

    /// Completes a work item that was claimed until a time, unless it was enqueued again since.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn complete(&self, image: &Image, work_item: &WorkItem, until: Timestamp) -> Result<(), Error> {
        let claimed = [("due", AttributeValue::S(sort_key_of_time(until)))];
        let condition = Condition::new("#due = :due", ["due"], claimed);
        self.put_if(encode_completed(image, work_item), condition).await.map(drop)
    }
}

/// A work item that is due immediately.
pub(super) fn encode_work_item(image: &Image, work_item: &WorkItem) -> Item {
    let queue = shard_of_image(Queue::of(work_item), image);
    queued(encode_completed(image, work_item), queue, DUE_IMMEDIATELY.into())
}

/// A work item that is completed: it is in no queue.
fn encode_completed(image: &Image, work_item: &WorkItem) -> Item {
    item::with_key(Item::new(), item::key_of_work_item(image, work_item))
}

pub(super) fn decode_work_item(mut item: Item) -> Result<WorkItem, ItemError> {
    item::work_item_of(&take(&mut item, "sk")?)
}

/// Puts an item about an image into a queue, due at a time.
pub(super) fn queued_until(item: Item, queue: Queue, image: &Image, due: Timestamp) -> Item {
    queued(item, shard_of_image(queue, image), sort_key_of_time(due))
}

/// Puts an item about a registry into the queue of `watch`.
pub(super) fn queued_for_watch(item: Item, due: String) -> Item {
    queued(item, shard_of(Queue::Watch, 0), due)
}

fn queued(mut item: Item, shard: String, due: String) -> Item {
    item.insert("queue".into(), AttributeValue::S(shard));
    item.insert("due".into(), AttributeValue::S(due));
    item
}

fn shard_of(queue: Queue, shard: u32) -> String {
    format!("{}#{shard}", queue.as_str())
}

fn shard_of_image(queue: Queue, image: &Image) -> String {
    let sum: u32 = image.digest.as_str().bytes().map(u32::from).sum();
    shard_of(queue, sum % SHARDS)
}

fn decode_due(mut item: Item) -> Result<DueItem, ItemError> {
    let kind = item::image_item_kind(&item);
    let (pk, sk) = (take(&mut item, "pk")?, take(&mut item, "sk")?);
    if pk == item::REGISTRIES {
        return Ok(DueItem::Settings(sk.parse()?));
    }
    let image = item::image_of(&pk)?;
    match kind {
        Some(ImageItemKind::WorkItem) => Ok(DueItem::WorkItem(image, item::work_item_of(&sk)?)),
        Some(ImageItemKind::Deletion) => Ok(DueItem::Deletion(image)),
        Some(ImageItemKind::Expectation) => Ok(DueItem::Expectation(image)),
        Some(ImageItemKind::Evidence | ImageItemKind::Fact) | None => Err(ItemError::Key),
    }
}

/// The due time of an item in a queue.
fn decode_due_time(mut item: Item) -> Result<Timestamp, ItemError> {
    take_time(&mut item, "due")
}
