//! Lists of images in use: one partition, read with one Query.

use domain::usage::UsageList;

use super::{
    Error, Table,
    item::{self, Item, ItemError, take},
};

impl Table {
    /// All lists, also those that have ended.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn usage_lists(&self) -> Result<Vec<UsageList>, Error> {
        self.partition(&item::pk_of_usage_lists(), decode_list).await
    }

    /// Stores a list. It replaces an earlier one with its name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_usage_list(&self, list: &UsageList) -> Result<(), Error> {
        let key = item::key_of_usage_list(&list.name);
        let item = serde_dynamo::to_item(list).map_err(|error| self.decode_error(&key.1, error.into()))?;
        self.put_always(item::with_key(item, key)).await.map(drop)
    }

    /// Deletes a list.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn delete_usage_list(&self, name: &str) -> Result<(), Error> {
        self.delete(item::key_of_usage_list(name)).await
    }
}

fn decode_list(mut item: Item) -> Result<UsageList, ItemError> {
    take(&mut item, "sk")?;
    Ok(serde_dynamo::from_item(item)?)
}
