//! The last restore drill.

use domain::drill::RestoreDrill;

use super::{
    Error, Table,
    item::{self, Item, ItemError},
};

/// The keys of the only item.
const KEY: (&str, &str) = ("drills", "restore");

impl Table {
    /// Stores the last restore drill.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_restore_drill(&self, drill: &RestoreDrill) -> Result<(), Error> {
        let item = encode_drill(drill).map_err(|error| self.decode_error(KEY.1, error))?;
        self.put_always(item).await.map(drop)
    }

    /// The last restore drill; `None` if there was none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn restore_drill(&self) -> Result<Option<RestoreDrill>, Error> {
        let drills: Vec<_> = self.partition(KEY.0, decode_drill).await?;
        Ok(drills.into_iter().next())
    }
}

fn encode_drill(drill: &RestoreDrill) -> Result<Item, ItemError> {
    Ok(item::with_key(serde_dynamo::to_item(drill)?, (KEY.0.to_owned(), KEY.1.to_owned())))
}

fn decode_drill(item: Item) -> Result<RestoreDrill, ItemError> {
    Ok(serde_dynamo::from_item(item)?)
}
