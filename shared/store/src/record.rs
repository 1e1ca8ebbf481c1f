//! Facts, and everything they prove.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    evidence::{self, Evidence, Name},
    fact::{Cause, Fact, Subject, What},
    image::{Image, Tag},
    tag,
};
use futures::future::try_join_all;

use super::{Errand, Error, Stored, Table};

/// How facts were stored.
#[derive(Debug)]
pub struct Recorded {
    /// For each fact, whether it was new.
    pub stored: Vec<Stored>,
    /// What is known under the names that the facts are about.
    pub known: BTreeMap<Name, Evidence>,
}

impl Table {
    /// Records the facts about one subject. The facts come last: a fact that is in the table says that all it proves is.
    ///
    /// # Errors
    /// When anything of it cannot be read or written. Part of it may be recorded then; all of it is when it is done again.
    pub async fn record(&self, facts: &[&Fact]) -> Result<Recorded, Error> {
        let registries: BTreeSet<_> = facts.iter().map(|fact| &fact.registry).collect();
        try_join_all(registries.into_iter().map(|registry| self.list_registry(registry))).await?;

        let marks: BTreeSet<_> = facts.iter().flat_map(|fact| tag::marks(fact)).collect();
        try_join_all(marks.iter().map(|(name, mark)| self.put_mark(name, mark))).await?;

        // Only now: see the invariant of `tag::moves`.
        let settings = marks.iter().filter(|(_, mark)| mark.set);
        let moves = try_join_all(settings.map(|(name, mark)| async move {
            let (before, after) = self.neighbours(name, mark).await?;
            Ok(tag::moves(name, mark, &before, &after))
        }))
        .await?;

        let mut proved: BTreeMap<Name, Evidence> = BTreeMap::new();
        for (name, evidence) in facts.iter().flat_map(|fact| evidence::of(fact)).chain(moves.into_iter().flatten()) {
            proved.entry(name).or_default().join(&evidence);
        }
        let joined = try_join_all(proved.iter().map(|(name, evidence)| self.join(name, evidence))).await?;
        let known: BTreeMap<Name, Evidence> = proved.into_keys().zip(joined).collect();

        try_join_all(facts.iter().filter_map(|fact| match (&fact.subject, &fact.what) {
            (Subject::Repository(repository), What::RepositoryDeleted { .. }) => {
                Some(self.put_repository_deletion(repository, fact))
            }
            _ => None,
        }))
        .await?;

        // Only now: who is woken reads what is proved.
        let (lost, arrived) = (errands(facts, lost), errands(facts, arrived));
        try_join_all(lost.iter().map(|(image, errand)| self.put_errand(image, errand))).await?;
        let late = arrived.difference(&lost);
        try_join_all(late.map(|(image, errand)| async move {
            if self.has_errand(image, errand).await? { self.put_errand(image, errand).await } else { Ok(()) }
        }))
        .await?;
        let failed = errands(facts, failed);
        try_join_all(failed.iter().map(|(image, errand)| self.put_errand(image, errand))).await?;
        try_join_all(facts.iter().filter_map(|fact| {
            let (image, tag) = pushed(fact)?;
            Some(self.expect(image, &fact.registry, tag, fact.time))
        }))
        .await?;
        let configured = facts.iter().filter(|fact| matches!(fact.what, What::ReplicationConfigured { .. }));
        try_join_all(configured.map(|fact| self.ask_for_settings(&fact.registry))).await?;

        let stored = try_join_all(facts.iter().map(|fact| self.put_fact(fact))).await?;
        Ok(Recorded { stored, known })
    }
}

/// What somebody should look into because of some facts about images.
fn errands<'a>(facts: &[&'a Fact], of: fn(&Fact) -> Option<Errand>) -> BTreeSet<(&'a Image, Errand)> {
    let errand = |fact: &&'a Fact| match &fact.subject {
        Subject::Image(image) => Some((image, of(fact)?)),
        Subject::Repository(_) | Subject::Registry => None,
    };
    facts.iter().filter_map(errand).collect()
}

/// The registry that lost an image or a tag by a fact. What we deleted ourselves starts nothing.
fn lost(fact: &Fact) -> Option<Errand> {
    let lost = match &fact.what {
        What::ImageDeleted { cause } | What::TagsDeleted { cause, .. } => !matches!(cause, Cause::Mirror { .. }),
        What::Observed { storage, without, .. } => storage.is_none() || !without.is_empty(),
        _ => false,
    };
    lost.then(|| Errand::Loss(fact.registry.clone()))
}

/// The source of a replica that arrived: if it has lost the image meanwhile, the replica is late.
fn arrived(fact: &Fact) -> Option<Errand> {
    match &fact.what {
        What::Replicated { source, .. } | What::Observed { source: Some(source), .. } => {
            Some(Errand::Loss(source.clone()))
        }
        _ => None,
    }
}

/// The source of a copy that failed.
fn failed(fact: &Fact) -> Option<Errand> {
    match &fact.what {
        What::ReplicationFailed { source, tag } => Some(Errand::Failure(source.clone(), tag.clone())),
        _ => None,
    }
}

/// What ECR copies because of a fact, if any rule says so: "only repository content pushed or restored".
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html>
fn pushed(fact: &Fact) -> Option<(&Image, Option<&Tag>)> {
    match (&fact.subject, &fact.what) {
        (Subject::Image(image), What::Pushed { tag, .. }) => Some((image, tag.as_ref())),
        (Subject::Image(image), What::Restored) => Some((image, None)),
        _ => None,
    }
}
