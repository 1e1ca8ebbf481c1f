//! Pauses and holds of operators: one partition, read with one Query.

use domain::{
    controls::{Controls, Hold, Pause},
    image::Registry,
};
use serde::Serialize;

use super::{
    Error, Stored, Table,
    item::{self, Item, ItemError, Key, take},
};

/// A pause or a hold.
enum Control {
    Pause(Pause),
    Hold(Hold),
}

impl Table {
    /// All pauses and holds, also those that have expired.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn controls(&self) -> Result<Controls, Error> {
        let found: Vec<_> = self.partition(&item::pk_of_controls(), decode_control).await?;
        let mut controls = Controls::default();
        for control in found {
            match control {
                Control::Pause(pause) => controls.pauses.push(pause),
                Control::Hold(hold) => controls.holds.push(hold),
            }
        }
        Ok(controls)
    }

    /// Stores a pause. It replaces an earlier one of the same source.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_pause(&self, pause: &Pause) -> Result<(), Error> {
        self.put_always(self.encode_control(item::key_of_pause(pause.source.as_ref()), pause)?).await.map(drop)
    }

    /// Stores a hold; `Known` if there is one with its ID: no hold replaces another.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_hold(&self, hold: &Hold) -> Result<Stored, Error> {
        self.put_new(self.encode_control(item::key_of_hold(&hold.id()), hold)?).await
    }

    /// Deletes the pause of a source, or that of every source.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn delete_pause(&self, source: Option<&Registry>) -> Result<(), Error> {
        self.delete(item::key_of_pause(source)).await
    }

    /// Deletes a hold.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn delete_hold(&self, hold: &Hold) -> Result<(), Error> {
        self.delete(item::key_of_hold(&hold.id())).await
    }

    fn encode_control(&self, key: Key, control: &impl Serialize) -> Result<Item, Error> {
        let item = serde_dynamo::to_item(control).map_err(|error| self.decode_error(&key.1, error.into()))?;
        Ok(item::with_key(item, key))
    }
}

fn decode_control(mut item: Item) -> Result<Control, ItemError> {
    let sk = take(&mut item, "sk")?;
    Ok(if item::is_pause(&sk) {
        Control::Pause(serde_dynamo::from_item(item)?)
    } else {
        Control::Hold(serde_dynamo::from_item(item)?)
    })
}
