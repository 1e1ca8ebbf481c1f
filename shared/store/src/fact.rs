//! Facts.

use std::collections::BTreeSet;

use domain::{
    activity,
    fact::{Fact, Subject},
    image::{Registry, RepositoryName},
};
use jiff::Timestamp;

use super::{
    Error, Table,
    item::{self, Item, ItemError, take},
};

impl Table {
    /// The deletions of a repository in some registries, oldest first in each.
    pub(super) async fn repository_deletions(
        &self,
        repository: &RepositoryName,
        registries: &BTreeSet<Registry>,
    ) -> Result<Vec<Fact>, Error> {
        let pk = item::pk_of_repository(repository);
        let items = self.all(&pk, self.between(&pk, item::DELETIONS_OF_REPOSITORY)).await?;
        let facts = items.into_iter().map(|item| self.decode(item, decode_fact));
        facts.filter(|fact| fact.as_ref().map_or(true, |fact| registries.contains(&fact.registry))).collect()
    }

    /// The newest facts about a subject since a time, at most `most`, newest first. Deletions of repositories are not
    /// among them. `registry` matters only if the subject is a registry.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn facts_since(
        &self,
        subject: &Subject,
        registry: &Registry,
        since: Timestamp,
        most: usize,
    ) -> Result<Vec<Fact>, Error> {
        let (pk, (from, to)) = (item::pk_of_facts(subject, registry), item::facts_since(since));
        let limit = i32::try_from(most).unwrap_or(i32::MAX);
        let query = self.between(&pk, (&from, to)).scan_index_forward(false).limit(limit);
        let output = query.send().await.map_err(|error| self.read_error(&pk, error))?;
        self.read(output.consumed_capacity());
        output.items.unwrap_or_default().into_iter().map(|item| self.decode(item, decode_fact)).collect()
    }
}

pub(super) fn encode_fact(fact: &Fact) -> Result<Item, ItemError> {
    let item = item::with_key(serde_dynamo::to_item(fact)?, item::key_of_fact(fact));
    Ok(match activity::kind_of(fact) {
        Some(kind) => item::in_activity_index(item, kind, fact.time),
        None => item,
    })
}

pub(super) fn decode_fact(mut item: Item) -> Result<Fact, ItemError> {
    let subject = item::subject_of(&take(&mut item, "pk")?)?;
    item.remove("sk");
    let fact: Fact = serde_dynamo::from_item(item)?;
    Ok(Fact { subject, ..fact })
}
