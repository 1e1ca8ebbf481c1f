//! `audit native-deletes`: what ECR's own switch could take with it, if it were turned on today.

use std::collections::{BTreeMap, BTreeSet};

use aws::registry::Registries;
use domain::{
    image::{Image, Registry, RepositoryName, Tag},
    replication::{ReplicationRule, ReplicationRules},
};
use jiff::{SignedDuration, Timestamp};
use retry::{CallError, chain};
use serde::Serialize;
use store::Table;

/// What the switch could take, rule by rule.
#[derive(Debug, Serialize)]
pub struct NativeDeletes {
    /// Each rule of each source.
    pub rules: Vec<AuditedRule>,
    /// The registries that could not be read, and why: what is there is not told.
    pub unread: BTreeMap<Registry, String>,
}

/// What the switch of one rule could take.
#[derive(Debug, Serialize)]
pub struct AuditedRule {
    /// The source.
    pub source: Registry,
    /// The rule, counted from 1.
    pub rule: usize,
    /// Whether its switch is on.
    pub on: bool,
    /// Where it copies to.
    pub destinations: BTreeSet<Registry>,
    /// The prefixes of the repositories that it copies; all if there are none.
    pub prefixes: Vec<String>,
    /// How many replicas were looked at.
    pub replicas: usize,
    /// Replicas with tags that their source does not have: when the source's image goes with its last tag, ECR deletes
    /// the image at each destination with ALL its tags.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication-delete.html>
    pub replica_only_tags: Vec<OnlyThere>,
    /// Replicas that were pulled lately: they would go with their source, asked or not.
    pub pulled: Vec<Pulled>,
}

/// A replica with tags of its own.
#[derive(Debug, Serialize)]
pub struct OnlyThere {
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// Where.
    pub registry: Registry,
    /// The tags.
    pub tags: BTreeSet<Tag>,
}

/// A replica that is in use.
#[derive(Debug, Serialize)]
pub struct Pulled {
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// Where.
    pub registry: Registry,
    /// When it was last pulled, up to 24 hours late.
    pub last_pulled_at: Timestamp,
}

/// Answers `audit native-deletes`, from fresh reads of the sources and of their destinations.
///
/// # Errors
/// When the table cannot be read. A registry that cannot be read is named.
pub async fn native_deletes(
    table: &Table,
    registries: &Registries,
    source: Option<&Registry>,
    pulled: SignedDuration,
    now: Timestamp,
) -> Result<NativeDeletes, store::Error> {
    let since = now.checked_sub(pulled).unwrap_or(Timestamp::UNIX_EPOCH);
    let sources = match source {
        Some(source) => [source.clone()].into(),
        None => table.registries().await?,
    };
    let mut audit = NativeDeletes { rules: Vec::new(), unread: BTreeMap::new() };
    for source in sources {
        let ReplicationRules { rules } = match registries.rules(&source).await {
            Ok(rules) => rules,
            Err(failure) => {
                audit.unread.insert(source, chain(&failure));
                continue;
            }
        };
        for (index, rule) in rules.into_iter().enumerate() {
            let ReplicationRule { destinations, prefixes, deletes_natively } = rule.clone();
            let mut audited = AuditedRule {
                source: source.clone(),
                rule: index + 1,
                on: deletes_natively,
                destinations,
                prefixes,
                replicas: 0,
                replica_only_tags: Vec::new(),
                pulled: Vec::new(),
            };
            for destination in &rule.destinations {
                if let Err(failure) = audited.audit_destination(registries, &rule, destination, since).await {
                    audit.unread.insert(destination.clone(), chain(&failure));
                }
            }
            audit.rules.push(audited);
        }
    }
    Ok(audit)
}

impl AuditedRule {
    /// Looks at what a destination holds of the repositories of the rule.
    async fn audit_destination(
        &mut self,
        registries: &Registries,
        rule: &ReplicationRule,
        destination: &Registry,
        since: Timestamp,
    ) -> Result<(), CallError> {
        let covered = |repository: &RepositoryName| rule.covers(repository);
        for repository in registries.repositories(destination).await?.into_iter().filter(covered) {
            let at_source = registries.contents(&self.source, &repository).await?.unwrap_or_default();
            for (digest, seen) in registries.contents(destination, &repository).await?.unwrap_or_default() {
                self.replicas += 1;
                let image = Image { repository: repository.clone(), digest };
                let had = at_source.get(&image.digest).map(|source| source.tags.clone()).unwrap_or_default();
                let tags: BTreeSet<_> = seen.tags.difference(&had).cloned().collect();
                if !tags.is_empty() {
                    let (image, registry) = (image.clone(), destination.clone());
                    self.replica_only_tags.push(OnlyThere { image, registry, tags });
                }
                if let Some(last_pulled_at) = seen.last_pulled_at.filter(|at| *at >= since) {
                    self.pulled.push(Pulled { image, registry: destination.clone(), last_pulled_at });
                }
            }
        }
        Ok(())
    }
}
