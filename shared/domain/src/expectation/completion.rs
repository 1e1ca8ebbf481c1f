//! Pushes whose copies have all arrived, and the event that says so.
//!
//! It follows from evidence that only grows: the function that stores the last part of it, the evidence of the last copy
//! or the expectation of the push, sees all of it. An arrival counts although the tag moved or the copy was deleted since, so
//! the order of events does not matter.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ReplicationExpectation, pushed_by};
use crate::{
    alert::{AlertState, Severity},
    evidence::Evidence,
    fact::{Fact, Subject, What},
    image::{Image, Registry, RepositoryName, Tag},
    lineage::Placement,
    replication::ReplicationSettings,
    time::whole_seconds,
};

/// The kind of the event, in its detail.
pub const REPLICATION_COMPLETE: &str = "replication_complete";

/// When all expected copies of a push had arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// When the last copy arrived.
    pub at: Timestamp,
    /// When each copy arrived, by destination.
    pub arrivals: BTreeMap<Registry, Timestamp>,
}

/// A push whose copies a fact may complete.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PushKey {
    /// The repository and the digest.
    pub image: Image,
    /// The registry to which the image was pushed.
    pub source: Registry,
    /// The tag of the push.
    pub tag: Option<Tag>,
}

/// The push that a fact reports, or whose copy arrived by it.
#[must_use]
pub fn push_concerned_by(fact: &Fact) -> Option<PushKey> {
    if let Some((image, tag)) = pushed_by(fact) {
        return Some(PushKey { image: image.clone(), source: fact.registry.clone(), tag: tag.cloned() });
    }
    match (&fact.subject, &fact.what) {
        (Subject::Image(image), What::Replicated { source, tag }) => {
            Some(PushKey { image: image.clone(), source: source.clone(), tag: tag.clone() })
        }
        _ => None,
    }
}

impl ReplicationExpectation {
    /// When all copies that the rules ask for had arrived, from when each of them did; `None` if one did not, or the
    /// rules ask for none.
    #[must_use]
    pub fn completion(
        &self,
        settings: &ReplicationSettings,
        arrived_at: impl Fn(&Registry) -> Option<Timestamp>,
    ) -> Option<Completion> {
        let destinations = settings.destinations(&self.image.repository);
        // ECR copies only what is pushed after a rule.
        let expected = destinations.into_iter().filter(|(_, known_since)| *known_since <= self.since);
        let arrivals: Option<BTreeMap<Registry, Timestamp>> =
            expected.map(|(to, _)| Some((to.clone(), whole_seconds(arrived_at(to)?)))).collect();
        let arrivals = arrivals?;
        Some(Completion { at: arrivals.values().copied().max()?, arrivals })
    }

    /// When a copy was proved to be in a destination since the push, with the tag of the push.
    #[must_use]
    pub fn arrived_at(&self, placement: Option<&Placement>) -> Option<Timestamp> {
        let placement = placement?;
        let since_push = |at: &Timestamp| *at >= self.since;
        let proof = |name: &Evidence| {
            let replicated = name.replicated.get(&self.source).copied().filter(since_push);
            replicated.or_else(|| name.set().filter(since_push))
        };
        match &self.tag {
            Some(tag) => placement.tags.get(tag).and_then(proof),
            None => placement.tags.values().filter_map(proof).max().max(proof(&placement.image)),
        }
    }

    /// The event that all copies of the push have arrived, if they have.
    #[must_use]
    pub fn complete(&self) -> Option<ReplicationComplete> {
        let Self { image, source, tag, since, .. } = self;
        let Completion { at, arrivals } = self.state.completion.as_ref()?;
        let lag = |arrived_at: &Timestamp| (arrived_at.as_second() - since.as_second()).max(0);
        let name = match tag {
            Some(tag) => format!("{}:{tag}", image.repository),
            None => image.to_string(),
        };
        let id = format!("{}/{REPLICATION_COMPLETE}/{source}/{name}/{}", whole_seconds(*since), image.digest);
        let destination = |(registry, arrived_at): (&Registry, &Timestamp)| ArrivedCopy {
            registry: registry.clone(),
            arrived_at: *arrived_at,
            lag_seconds: lag(arrived_at),
        };
        let message = match arrivals.len() {
            1 => format!("{name} has arrived in the destination that is expected"),
            count => format!("{name} has arrived in all {count} destinations that are expected"),
        };
        Some(ReplicationComplete {
            incident: id.clone(),
            id,
            time: *at,
            kind: REPLICATION_COMPLETE,
            state: AlertState::Notice,
            severity: Severity::Info,
            subject: name,
            source: source.clone(),
            repositories: [image.repository.clone()].into(),
            image: image.clone(),
            tag: tag.clone(),
            pushed_at: *since,
            lag_seconds: lag(at),
            destinations: arrivals.iter().map(destination).collect(),
            message,
            remediation: "none".to_owned(),
        })
    }
}

/// The event that all expected copies of a push have arrived. It is no alert: no list has it, and no action follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicationComplete {
    /// The same if the event is delivered more than once.
    pub id: String,
    /// The same as the id: there is one event for each push and tag.
    pub incident: String,
    /// When the last copy arrived.
    pub time: Timestamp,
    /// [`REPLICATION_COMPLETE`].
    pub kind: &'static str,
    /// It happened once.
    pub state: AlertState,
    /// Always `info`.
    pub severity: Severity,
    /// The repository with the tag, or with the digest of a push without a tag.
    pub subject: String,
    /// The registry to which the image was pushed.
    pub source: Registry,
    /// The image that was pushed.
    #[serde(flatten)]
    pub image: Image,
    /// Its repository, where alerts have those of their images.
    pub repositories: BTreeSet<RepositoryName>,
    /// The tag of the push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// Seconds from the push until the last copy arrived.
    pub lag_seconds: i64,
    /// The copies, by destination.
    pub destinations: Vec<ArrivedCopy>,
    /// What happened, in one line.
    pub message: String,
    /// What to do next.
    pub remediation: String,
}

/// A copy that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArrivedCopy {
    /// The destination.
    pub registry: Registry,
    /// When the copy arrived.
    pub arrived_at: Timestamp,
    /// Seconds since the push.
    pub lag_seconds: i64,
}
