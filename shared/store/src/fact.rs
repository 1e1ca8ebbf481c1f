//! Facts, and the newest deletion of each repository.

use std::collections::BTreeSet;

use domain::{
    fact::Fact,
    image::{Registry, RepositoryName},
};

use super::{
    Error, Table,
    calls::Condition,
    item::{self, Item, ItemError, take},
};

impl Table {
    /// Stores the deletion of a repository, unless a later deletion is stored.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_repository_deletion(&self, repository: &RepositoryName, fact: &Fact) -> Result<(), Error> {
        let item = encode_repository_deletion(repository, fact);
        let item = item.map_err(|source| self.decode_error(&fact.event_id, source))?;
        let mut condition = Condition::new("attribute_not_exists(pk) OR #time < :time", ["time"], []);
        condition.values.extend(item.get("time").cloned().map(|time| (":time".to_owned(), time)));
        self.put_if(item, condition).await.map(drop)
    }

    /// The newest deletion of a repository in each of some registries.
    pub(super) async fn repository_deletions(
        &self,
        repository: &RepositoryName,
        registries: &BTreeSet<Registry>,
    ) -> Result<Vec<Fact>, Error> {
        let keys = registries.iter().map(|registry| item::key_of_repository_deletion(repository, registry)).collect();
        self.get_all(keys).await?.into_iter().map(|item| self.decode(item, decode_fact)).collect()
    }
}

pub(super) fn encode_fact(fact: &Fact) -> Result<Item, ItemError> {
    Ok(item::with_key(serde_dynamo::to_item(fact)?, item::key_of_fact(fact)))
}

/// The newest deletion of a repository in a registry: the fact itself, under a key that the read of an image uses.
fn encode_repository_deletion(repository: &RepositoryName, fact: &Fact) -> Result<Item, ItemError> {
    let key = item::key_of_repository_deletion(repository, &fact.registry);
    Ok(item::with_key(serde_dynamo::to_item(fact)?, key))
}

pub(super) fn decode_fact(mut item: Item) -> Result<Fact, ItemError> {
    let subject = item::subject_of(&take(&mut item, "pk")?)?;
    item.remove("sk");
    let fact: Fact = serde_dynamo::from_item(item)?;
    Ok(Fact { subject, ..fact })
}
