//! Activity: what was done, across images, newest first. The activity index has each kind in shards; they are read side
//! by side and merged.

use std::{collections::BTreeSet, collections::VecDeque};

use domain::activity::{Activity, ActivityKind, OperatorAct};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Error, Table,
    definition::ACTIVITY_INDEX,
    fact::decode_fact,
    item::{self, Item, ItemError, take},
    list::READS_AT_A_TIME,
};

/// The least number of entries that are first read of a shard.
const FIRST_ENTRIES: usize = 8;

/// Each further read of a shard reads this many times as many entries as the one before, up to the largest page.
const GROWTH: usize = 4;

/// From this number of entries on, a read takes the largest page, 1 MB.
const LARGEST_LIMIT: usize = 2_000;

/// A position in the list of activity: what comes after it happened before, or in the same second.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActivityPosition(String);

/// How much activity to read.
#[derive(Debug, Clone)]
pub struct ActivityBounds<'a> {
    /// The kinds to read.
    pub kinds: &'a BTreeSet<ActivityKind>,
    /// The first second.
    pub since: Timestamp,
    /// The second after the last one; without one, there is no end.
    pub until: Option<Timestamp>,
    /// Only what comes after this position.
    pub after: Option<&'a ActivityPosition>,
    /// The largest number of entries to return.
    pub most: usize,
    /// The largest number of entries to examine.
    pub examined: usize,
}

impl Table {
    /// Stores what an operator did. Storing it twice changes nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_act(&self, act: &OperatorAct) -> Result<(), Error> {
        let key = item::key_of_act(act);
        let encoded = serde_dynamo::to_item(act).map_err(|error| self.decode_error(&key.1, error.into()))?;
        let item = item::in_activity_index(item::with_key(encoded, key), ActivityKind::Operator, act.time);
        self.put_always(item).await.map(drop)
    }

    /// The activity within `bounds` that is chosen, newest first; and the position after which the list continues, if it
    /// does.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn activity(
        &self,
        bounds: ActivityBounds<'_>,
        chosen: impl Fn(&Activity) -> bool,
    ) -> Result<(Vec<Activity>, Option<ActivityPosition>), Error> {
        let mut shards = self.shards(&bounds);
        let (mut found, mut examined) = (Vec::new(), 0);
        loop {
            self.fill(&mut shards).await?;
            let newest = shards.iter_mut().filter(|shard| !shard.entries.is_empty());
            let newest =
                newest.max_by(|a, b| a.entries.front().map(|one| &one.0).cmp(&b.entries.front().map(|one| &one.0)));
            let Some((position, activity)) = newest.and_then(|shard| shard.entries.pop_front()) else {
                return Ok((found, None));
            };
            examined += 1;
            if chosen(&activity) {
                found.push(activity);
            }
            if found.len() >= bounds.most || examined >= bounds.examined {
                self.fill(&mut shards).await?;
                let continues = shards.iter().any(|shard| !shard.entries.is_empty());
                return Ok((found, continues.then_some(position)));
            }
        }
    }

    /// The shards of all kinds, of which nothing is read yet.
    fn shards(&self, bounds: &ActivityBounds<'_>) -> Vec<Shard> {
        let (from, to) = item::period(bounds.since, bounds.until);
        let to = bounds.after.map_or(to.clone(), |after| to.min(after.0.clone()));
        let of = |kind| (0..item::activity_shards(kind)).map(move |shard| item::activity_key(kind, shard));
        let keys: Vec<_> = bounds.kinds.iter().copied().flat_map(of).collect();
        // Twice its share, so that one read of each shard is mostly enough.
        let limit = bounds.most.saturating_mul(2).div_ceil(keys.len().max(1)).max(FIRST_ENTRIES);
        let next = if from < to { Next::First } else { Next::None };
        let shard = |key| Shard {
            key,
            from: from.clone(),
            to: to.clone(),
            after: bounds.after.cloned(),
            limit,
            next: next.clone(),
            entries: VecDeque::new(),
        };
        keys.into_iter().map(shard).collect()
    }

    /// Reads more of the shards if one of them is used up and has more. The others are read ahead, side by side with it.
    async fn fill(&self, shards: &mut [Shard]) -> Result<(), Error> {
        while shards.iter().any(|shard| shard.entries.is_empty() && shard.has_more()) {
            let is_needed = |shard: &&mut Shard| shard.has_more() && shard.entries.len() < shard.limit / 4 + 1;
            let reads: Vec<_> = shards.iter_mut().filter(is_needed).map(|shard| self.fill_shard(shard)).collect();
            let reads = stream::iter(reads);
            reads.buffer_unordered(READS_AT_A_TIME).try_collect::<()>().await?;
        }
        Ok(())
    }

    async fn fill_shard(&self, shard: &mut Shard) -> Result<(), Error> {
        let start = match std::mem::replace(&mut shard.next, Next::None) {
            Next::First => None,
            Next::After(key) => Some(key),
            Next::None => return Ok(()),
        };
        let limit = (shard.limit < LARGEST_LIMIT).then(|| i32::try_from(shard.limit).ok()).flatten();
        let query = self.index(&ACTIVITY_INDEX, &shard.key, &shard.from, &shard.to).scan_index_forward(false);
        let output = query.set_limit(limit).set_exclusive_start_key(start).send().await;
        let output = output.map_err(|error| self.read_error(ACTIVITY_INDEX.name, error))?;
        self.read(output.consumed_capacity());
        if let Some(key) = output.last_evaluated_key {
            shard.next = Next::After(key);
        }
        shard.limit = shard.limit.saturating_mul(GROWTH);
        for item in output.items.unwrap_or_default() {
            let entry = self.decode(item, decode_activity)?;
            if shard.after.as_ref().is_none_or(|after| entry.0 < *after) {
                shard.entries.push_back(entry);
            }
        }
        Ok(())
    }
}

/// What was read of one shard of a kind, and is not used yet.
struct Shard {
    key: String,
    from: String,
    to: String,
    after: Option<ActivityPosition>,
    /// The number of entries of the next read.
    limit: usize,
    next: Next,
    entries: VecDeque<(ActivityPosition, Activity)>,
}

/// The page of a shard to read next.
#[derive(Clone)]
enum Next {
    First,
    After(Item),
    None,
}

impl Shard {
    fn has_more(&self) -> bool {
        !matches!(self.next, Next::None)
    }
}

fn decode_activity(mut item: Item) -> Result<(ActivityPosition, Activity), ItemError> {
    let position = ActivityPosition(take(&mut item, "happened")?);
    let activity = if item::is_act(&item) {
        Activity::Act(serde_dynamo::from_item(item)?)
    } else {
        Activity::Fact(decode_fact(item)?)
    };
    Ok((position, activity))
}
