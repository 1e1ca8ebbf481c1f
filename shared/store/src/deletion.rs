//! Deletions, and the lists of those with one status.

use aws_sdk_dynamodb::types::{AttributeValue, Select};
use domain::{
    deletion::{Deletion, DeletionStatus},
    image::{Image, Registry, Tag},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Error, Queue, Stored, Table,
    definition::DELETION_INDEX,
    item::{self, Item, ItemError, Key, take, take_time},
    queue::queued_until,
};

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

impl Table {
    /// Stores a deletion, unless another writer stored it since it was read (optimistic locking). `deletion.version`
    /// then is the stored version.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_deletion(&self, deletion: &mut Deletion) -> Result<Stored, Error> {
        let (_, key) = key_of(deletion);
        let read = deletion.version;
        deletion.version = read.saturating_add(1);
        let item = encode_deletion(deletion).map_err(|source| self.decode_error(&key, source))?;
        let stored = self.put_version(item, read).await;
        if !matches!(stored, Ok(Stored::New)) {
            deletion.version = read;
        }
        stored
    }

    /// The deletions of a source with a status that changed since a time, and not after `until`, newest first, at most
    /// `most`; and the position after which the list continues, if it does. Those that changed at the same time are in
    /// no order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn deletions(
        &self,
        status: DeletionStatus,
        source: &Registry,
        since: Timestamp,
        until: Option<Timestamp>,
        after: Option<&Listed>,
        most: usize,
    ) -> Result<(Vec<Deletion>, Option<Listed>), Error> {
        // `since` moves forward from page to page, so a continued list can already be past its end.
        if after.is_some_and(|listed| listed.changed_at < since) {
            return Ok((Vec::new(), None));
        }
        let status_key = item::status_key(status, source);
        let (first, last_time) = (since.to_string(), until.map_or_else(|| "~".to_owned(), |until| until.to_string()));
        if first > last_time {
            return Ok((Vec::new(), None));
        }
        let mut keys = Vec::new();
        let mut start = after.map(|listed| encode_start(listed, &status_key));
        let mut last = None;
        while keys.len() < most {
            let query = self.index(&DELETION_INDEX, &status_key, &first, &last_time).scan_index_forward(false);
            let left = i32::try_from(most - keys.len()).ok();
            let output = query.set_limit(left).set_exclusive_start_key(start).send().await;
            let output = output.map_err(|error| self.read_error(DELETION_INDEX.name, error))?;
            self.read(output.consumed_capacity());
            let items = output.items.unwrap_or_default();
            if let Some(item) = items.last().cloned() {
                last = Some(self.decode(item, decode_listed)?);
            }
            keys.extend(items.iter().filter_map(item::key_of));
            start = output.last_evaluated_key;
            if start.is_none() {
                last = None;
                break;
            }
        }
        // The index only finds candidates; the items themselves, read consistently, decide.
        let items = self.get_all(keys).await?;
        let read = items.into_iter().map(|item| self.decode(item, decode_deletion));
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
}

fn key_of(deletion: &Deletion) -> Key {
    item::key_of_deletion(&deletion.image, &deletion.registry, deletion.tag.as_ref())
}

fn encode_deletion(deletion: &Deletion) -> Result<Item, ItemError> {
    let mut item = item::with_key(serde_dynamo::to_item(deletion)?, key_of(deletion));
    let status_key = item::status_key(deletion.status, &deletion.source);
    item.insert("status_key".into(), AttributeValue::S(status_key));
    Ok(match deletion.due {
        Some(due) => queued_until(item, Queue::Mirror, &deletion.image, due),
        None => item,
    })
}

pub(super) fn decode_deletion(item: Item) -> Result<Deletion, ItemError> {
    Ok(serde_dynamo::from_item(item)?)
}

/// The start key of the list of deletions after one of them.
fn encode_start(listed: &Listed, status_key: &str) -> Item {
    let key = Item::from([
        ("status_key".into(), AttributeValue::S(status_key.to_owned())),
        ("changed_at".into(), AttributeValue::S(listed.changed_at.to_string())),
    ]);
    item::with_key(key, item::key_of_deletion(&listed.image, &listed.registry, listed.tag.as_ref()))
}

/// Reads the index entry of a deletion.
fn decode_listed(mut item: Item) -> Result<Listed, ItemError> {
    let (pk, sk) = (take(&mut item, "pk")?, take(&mut item, "sk")?);
    let (image, (registry, tag)) = (item::image_of(&pk)?, item::deletion_of(&sk)?);
    Ok(Listed { image, registry, tag, changed_at: take_time(&mut item, "changed_at")? })
}
