//! With what `mirror` runs.

use domain::settings::MirrorSettings;

use super::{
    Error, Table,
    item::{self, Item, ItemError},
};

impl Table {
    /// Stores with what `mirror` runs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_mirror_settings(&self, settings: &MirrorSettings) -> Result<(), Error> {
        let item = encode(settings).map_err(|error| self.decode_error(item::SETTINGS, error))?;
        self.put_always(item).await.map(drop)
    }

    /// With what `mirror` runs; `None` if it has not run yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn mirror_settings(&self) -> Result<Option<MirrorSettings>, Error> {
        let mut items = self.get_all(vec![item::key_of_mirror_settings()]).await?;
        items.pop().map(|item| self.decode(item, decode)).transpose()
    }
}

fn encode(settings: &MirrorSettings) -> Result<Item, ItemError> {
    Ok(item::with_key(serde_dynamo::to_item(settings)?, item::key_of_mirror_settings()))
}

fn decode(item: Item) -> Result<MirrorSettings, ItemError> {
    Ok(serde_dynamo::from_item(item)?)
}
