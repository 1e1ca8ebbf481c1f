//! The evidence about one image, or one tag of it, in one registry.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use domain::evidence::{Evidence, PlacementKey};

use super::{
    Error, Stored, Table,
    calls::Condition,
    item::{self, Item, ItemError, take},
    words::words,
};

/// The maximum number of attempts to read, merge and write evidence while other writers change it. Each lost attempt is
/// a success of another writer, so this is the number of writers that can meet on one tag in one registry.
pub(super) const ROUNDS: usize = 16;

impl Table {
    /// The evidence stored under one key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn evidence(&self, name: &PlacementKey) -> Result<Evidence, Error> {
        let (pk, sk) = item::key_of_placement(name);
        let output = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", AttributeValue::S(pk.clone()))
            .key("sk", AttributeValue::S(sk))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| self.read_error(&pk, error))?;
        self.read(output.consumed_capacity());
        match output.item {
            None => Ok(Evidence::default()),
            Some(item) => Ok(self.decode(item, decode_evidence)?.1),
        }
    }

    /// Merges evidence with what is stored under the same key, and returns the result. Writes nothing if the evidence
    /// adds nothing.
    ///
    /// # Errors
    /// When it cannot be read or written, or other writers kept changing it.
    pub async fn merge_evidence(&self, name: &PlacementKey, evidence: &Evidence) -> Result<Evidence, Error> {
        for _ in 0..ROUNDS {
            let stored = self.evidence(name).await?;
            let mut merged = stored.clone();
            merged.merge(evidence);
            if merged == stored {
                return Ok(merged);
            }
            if self.replace_evidence(name, &stored, &merged).await? == Stored::New {
                return Ok(merged);
            }
        }
        Err(Error::Contended { table: self.name.clone(), what: words(&item::sort_key_of_placement(name)) })
    }

    /// Replaces evidence if it has not changed since it was read; `Known` if it has.
    pub(super) async fn replace_evidence(
        &self,
        name: &PlacementKey,
        stored: &Evidence,
        merged: &Evidence,
    ) -> Result<Stored, Error> {
        let decode_error = |source| self.decode_error(&item::sort_key_of_placement(name), source);
        let item = encode_evidence(name, merged).map_err(decode_error)?;
        let condition = unchanged(stored).map_err(decode_error)?;
        self.put_if(item, condition).await
    }
}

pub(super) fn encode_evidence(name: &PlacementKey, evidence: &Evidence) -> Result<Item, ItemError> {
    let mut item = item::with_key(serde_dynamo::to_item(evidence)?, item::key_of_placement(name));
    item.insert("registry".into(), AttributeValue::S(name.registry.to_string()));
    item.insert("name".into(), AttributeValue::S(item::index_name(name)));
    Ok(item)
}

/// Reads evidence from the table or from the registry index, which has the five times only.
pub(super) fn decode_evidence(mut item: Item) -> Result<(PlacementKey, Evidence), ItemError> {
    let registry = take(&mut item, "registry")?.parse()?;
    let name = item::placement_of(registry, &take(&mut item, "name")?)?;
    item.remove("pk");
    item.remove("sk");
    Ok((name, serde_dynamo::from_item(item)?))
}

/// The condition that stored evidence has not changed. Evidence needs no version number: equal evidence is as good.
fn unchanged(stored: &Evidence) -> Result<Condition, ItemError> {
    if *stored == Evidence::default() {
        return Ok(Condition::absent());
    }
    let mut stored: Item = serde_dynamo::to_item(stored)?;
    let mut condition = Condition::default();
    for attribute in ["pushed", "replicated", "seen", "removed", "reported", "archived", "moved", "listed"] {
        let clause = match stored.remove(attribute) {
            Some(value) => {
                condition.values.insert(format!(":{attribute}"), value);
                format!("#{attribute} = :{attribute}")
            }
            None => format!("attribute_not_exists(#{attribute})"),
        };
        condition.names.insert(format!("#{attribute}"), attribute.to_owned());
        if !condition.expression.is_empty() {
            condition.expression.push_str(" AND ");
        }
        condition.expression.push_str(&clause);
    }
    debug_assert!(stored.is_empty(), "an attribute of evidence that no condition guards: {stored:?}");
    Ok(condition)
}
