//! Circuit breakers: one item for the state, one for each count.

use std::collections::BTreeMap;

use domain::{
    breaker::{Breaker, Count, CountKey, Reset},
    image::Registry,
};

use super::{
    Error, Stored, Table,
    item::{self, Item, ItemError, take},
};

/// The state of a breaker, or one of its counts.
enum BreakerPart {
    State(Breaker),
    Count(CountKey, Count),
}

impl Table {
    /// The breaker of a source, with all its counts.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn breaker(&self, source: &Registry) -> Result<Breaker, Error> {
        let parts: Vec<_> = self.partition(&item::pk_of_breaker(source), decode_part).await?;
        let (mut breaker, mut counts) = (Breaker::default(), BTreeMap::new());
        for part in parts {
            match part {
                BreakerPart::State(state) => breaker = state,
                BreakerPart::Count(place, count) => _ = counts.insert(place, count),
            }
        }
        breaker.counts = counts;
        Ok(breaker)
    }

    /// Stores the state of a breaker, unless another writer stored it since it was read (optimistic locking).
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_breaker(&self, source: &Registry, breaker: &mut Breaker) -> Result<Stored, Error> {
        let read = breaker.version;
        breaker.version = read.saturating_add(1);
        let item = encode_breaker(source, breaker).map_err(|error| self.decode_error(item::BREAKER_STATE, error))?;
        let stored = self.put_version(item, read).await;
        if !matches!(stored, Ok(Stored::New)) {
            breaker.version = read;
        }
        stored
    }

    /// Stores some counts of a breaker. Only the holder of the `mirror` lease may call this.
    ///
    /// # Errors
    /// When a count cannot be written.
    pub async fn put_counts<'a>(
        &self,
        source: &Registry,
        breaker: &Breaker,
        places: impl Iterator<Item = &'a CountKey>,
    ) -> Result<(), Error> {
        for place in places {
            let Some(count) = breaker.counts.get(place) else { continue };
            let key = item::sort_key_of_count(place);
            let item = encode_count(source, place, count).map_err(|error| self.decode_error(&key, error))?;
            self.put_always(item).await?;
        }
        Ok(())
    }

    /// Resets a breaker for an operator. If another writer stored it since the version that the operator saw, nothing
    /// changes and `Known` is returned. Counts stay in the table: they name the reset after which they were counted.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub async fn reset_breaker(&self, source: &Registry, version: u64, reset: Reset) -> Result<Stored, Error> {
        let mut breaker = self.breaker(source).await?;
        breaker.version = version;
        breaker.reset(reset);
        self.put_breaker(source, &mut breaker).await
    }
}

fn encode_breaker(source: &Registry, breaker: &Breaker) -> Result<Item, ItemError> {
    let key = (item::pk_of_breaker(source), item::BREAKER_STATE.to_owned());
    Ok(item::with_key(serde_dynamo::to_item(breaker)?, key))
}

fn encode_count(source: &Registry, place: &CountKey, count: &Count) -> Result<Item, ItemError> {
    let key = (item::pk_of_breaker(source), item::sort_key_of_count(place));
    Ok(item::with_key(serde_dynamo::to_item(count)?, key))
}

fn decode_part(mut item: Item) -> Result<BreakerPart, ItemError> {
    let sk = take(&mut item, "sk")?;
    if sk == item::BREAKER_STATE {
        return Ok(BreakerPart::State(serde_dynamo::from_item(item)?));
    }
    Ok(BreakerPart::Count(item::count_of(&sk)?, serde_dynamo::from_item(item)?))
}
