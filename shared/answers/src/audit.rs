//! `audit native-deletes`: what ECR could delete if its native deletion replication were enabled today.

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
use utoipa::ToSchema;

/// What native deletion replication could delete, rule by rule.
#[derive(Debug, Serialize, ToSchema)]
pub struct NativeDeletes {
    /// The replication rules of each source.
    pub rules: Vec<AuditedRule>,
    /// The registries that could not be read, with the error; their images are not in the result.
    pub unread: BTreeMap<Registry, String>,
}

/// What native deletion replication of one rule could delete.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditedRule {
    /// The source.
    pub source: Registry,
    /// The index of the rule in the source's replication configuration, counted from 1.
    pub rule: usize,
    /// Whether native deletion replication is enabled for the rule.
    pub on: bool,
    /// The registries that the rule replicates to.
    pub destinations: BTreeSet<Registry>,
    /// The repository name prefixes that the rule replicates; empty if it replicates every repository.
    pub prefixes: Vec<String>,
    /// The number of replicas that were read.
    pub replicas: usize,
    /// Replicas with tags that their source does not have: when the source's image is deleted with its last tag, ECR
    /// deletes the image at each destination with ALL its tags.
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication-delete.html>
    pub replica_only_tags: Vec<OnlyThere>,
    /// Replicas that were pulled in the period: ECR would delete them with their source regardless.
    pub pulled: Vec<Pulled>,
}

/// A replica with tags that its source does not have.
#[derive(Debug, Serialize, ToSchema)]
pub struct OnlyThere {
    /// The repository and digest of the image.
    #[serde(flatten)]
    pub image: Image,
    /// The registry of the replica.
    pub registry: Registry,
    /// The tags that only the replica has.
    pub tags: BTreeSet<Tag>,
}

/// A replica that was pulled recently.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pulled {
    /// The repository and digest of the image.
    #[serde(flatten)]
    pub image: Image,
    /// The registry of the replica.
    pub registry: Registry,
    /// The time of the last pull; ECR updates it up to 24 hours late.
    pub last_pulled_at: Timestamp,
}

/// Answers `audit native-deletes`, from fresh reads of the sources and of their destinations.
///
/// # Errors
/// When the table cannot be read. A registry that cannot be read is listed in `unread`.
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
    /// Reads the replicas of the rule's repositories at one destination.
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
