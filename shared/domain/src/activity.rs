//! Activity: what callers, lifecycle policies, ecr-lineage and operators did, across images.

use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    controls::{Covered, HoldPattern, wildcard},
    deletion::OperatorAction,
    fact::{Cause, Fact, Subject, What},
    image::{Digest, MalformedError, Registry, Tag},
    named::named,
    time::time_text,
};

named! {
    /// A kind of activity: a kind of fact, or what an operator did.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum ActivityKind {
        /// An image was pushed, or got a tag.
        Pushed = "pushed",
        /// An image was deleted.
        ImageDeleted = "image_deleted",
        /// Tags were removed from an image.
        TagsDeleted = "tags_deleted",
        /// A repository was deleted.
        RepositoryDeleted = "repository_deleted",
        /// A call was refused, or its outcome is not known.
        Attempted = "attempted",
        /// An image was moved to the archive storage class.
        Archived = "archived",
        /// An image was moved back to the standard storage class.
        Restored = "restored",
        /// A setting was changed.
        Changed = "changed",
        /// An image or a tag was found missing: no event reported when it was deleted, and by whom.
        Observed = "observed",
        /// An operator acted.
        Operator = "operator",
    }
}

named! {
    /// What an operator did.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum ActName {
        /// Pause deletions.
        Pause = "pause",
        /// End a pause.
        Resume = "resume",
        /// Put images, repositories or a source on hold.
        Hold = "hold",
        /// End a hold.
        Release = "release",
        /// Evaluate again a deletion that was kept or that ECR refused.
        Retry = "retry",
        /// Approve a deletion.
        Approve = "approve",
        /// Cancel a deletion.
        Cancel = "cancel",
        /// Close a circuit breaker.
        ResetBreaker = "reset_breaker",
        /// Expect no heartbeat of a registry.
        ForgetRegistry = "forget_registry",
        /// Say that one works on an incident.
        Acknowledge = "acknowledge",
        /// Stop the repetitions of an incident until a time.
        Snooze = "snooze",
    }
}

impl From<OperatorAction> for ActName {
    fn from(action: OperatorAction) -> Self {
        match action {
            OperatorAction::Hold => Self::Hold,
            OperatorAction::Release => Self::Release,
            OperatorAction::Retry => Self::Retry,
            OperatorAction::Approve => Self::Approve,
            OperatorAction::Cancel => Self::Cancel,
        }
    }
}

impl ActName {
    /// What was done, in words: for lines such as `deletion approved by dana`.
    fn past_tense(self) -> &'static str {
        match self {
            Self::Pause => "deletions paused",
            Self::Resume => "deletions resumed",
            Self::Hold => "put on hold",
            Self::Release => "hold released",
            Self::Retry => "deletion re-evaluated",
            Self::Approve => "deletion approved",
            Self::Cancel => "deletion cancelled",
            Self::ResetBreaker => "breaker reset",
            Self::ForgetRegistry => "registry forgotten",
            Self::Acknowledge => "incident acknowledged",
            Self::Snooze => "incident snoozed",
        }
    }
}

/// What an operator did, and to what. It is immutable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAct {
    /// When.
    pub time: Timestamp,
    /// What the operator did.
    pub action: ActName,
    /// The operator.
    pub by: String,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The registry: of the replica of a deletion, the destination of an incident, else the source; absent if the action is
    /// about every source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<Registry>,
    /// The image or the repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<HoldPattern>,
    /// The tag, if the deletion is of a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The ID of the incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// When what was done expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl OperatorAct {
    /// An act about a registry, or about every source.
    #[must_use]
    pub fn new(action: ActName, registry: Option<&Registry>, by: &str, time: Timestamp) -> Self {
        let (by, registry) = (by.to_owned(), registry.cloned());
        Self { time, action, by, reason: None, registry, pattern: None, tag: None, incident: None, until: None }
    }
}

/// One thing that happened: a fact, or what an operator did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// A fact.
    Fact(Fact),
    /// What an operator did.
    Act(OperatorAct),
}

/// What a fact is as activity; `None` if no actor did it. Replication is ECR's own work, a scan changes nothing, and an
/// observation is activity only if it is the only trace of a deletion.
#[must_use]
pub fn kind_of(fact: &Fact) -> Option<ActivityKind> {
    Some(match &fact.what {
        What::Pushed { .. } => ActivityKind::Pushed,
        What::ImageDeleted { .. } => ActivityKind::ImageDeleted,
        What::TagsDeleted { .. } => ActivityKind::TagsDeleted,
        What::RepositoryDeleted { .. } => ActivityKind::RepositoryDeleted,
        What::Attempted { .. } => ActivityKind::Attempted,
        What::Archived { .. } => ActivityKind::Archived,
        What::Restored => ActivityKind::Restored,
        What::Changed { .. } => ActivityKind::Changed,
        What::Observed { storage, without, .. } if storage.is_none() || !without.is_empty() => ActivityKind::Observed,
        What::Observed { .. }
        | What::Cached { .. }
        | What::Replicated { .. }
        | What::ReplicationFailed { .. }
        | What::Other { .. } => return None,
    })
}

impl Activity {
    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Fact(fact) => fact.time,
            Self::Act(act) => act.time,
        }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ActivityKind {
        match self {
            Self::Fact(fact) => kind_of(fact).unwrap_or(ActivityKind::Observed),
            Self::Act(_) => ActivityKind::Operator,
        }
    }

    /// The registry in which it happened; absent if an operator acted on every source.
    #[must_use]
    pub fn registry(&self) -> Option<&Registry> {
        match self {
            Self::Fact(fact) => Some(&fact.registry),
            Self::Act(act) => act.registry.as_ref(),
        }
    }

    /// The cause, if the kind of fact has one.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        let Self::Fact(fact) = self else { return None };
        match &fact.what {
            What::ImageDeleted { cause }
            | What::TagsDeleted { cause, .. }
            | What::Attempted { cause, .. }
            | What::RepositoryDeleted { cause, .. }
            | What::Archived { cause } => Some(cause),
            _ => None,
        }
    }

    /// Who did it: a caller's ARN or other name, `lifecycle` or `ecr-lineage`; absent if nothing reported it.
    #[must_use]
    pub fn actor(&self) -> Option<&str> {
        match (self, self.cause()) {
            (Self::Act(act), _) => Some(&act.by),
            (_, Some(Cause::Principal { by } | Cause::Repository { by })) => Some(by),
            (_, Some(Cause::Lifecycle { .. })) => Some("lifecycle"),
            (_, Some(Cause::Mirror { .. })) => Some("ecr-lineage"),
            (_, Some(Cause::Unknown)) => None,
            (Self::Fact(fact), None) => match &fact.what {
                What::Pushed { by, .. } => by.as_deref(),
                What::Changed { by, .. } => Some(by),
                _ => None,
            },
        }
    }

    /// The repository, or the repositories that a hold names, as in `prod/*`.
    #[must_use]
    pub fn repository(&self) -> Option<String> {
        match self {
            Self::Fact(Fact { subject: Subject::Image(image), .. }) => Some(image.repository.to_string()),
            Self::Fact(Fact { subject: Subject::Repository(repository), .. }) => Some(repository.to_string()),
            Self::Fact(_) => None,
            Self::Act(act) => act.pattern.as_ref().map(|pattern| match pattern.covered() {
                Covered::Image(image) => image.repository.to_string(),
                Covered::Repositories(pattern) => pattern.to_string(),
            }),
        }
    }

    /// The digest of the image, if it is about one image.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Fact(Fact { subject: Subject::Image(image), .. }) => Some(image.digest.clone()),
            Self::Fact(_) => None,
            Self::Act(act) => Some(act.pattern.as_ref()?.image()?.digest.clone()),
        }
    }

    /// The tags that were set, removed or meant, by name.
    #[must_use]
    pub fn tags(&self) -> BTreeSet<Tag> {
        match self {
            Self::Fact(fact) => match &fact.what {
                What::Pushed { tag, .. } => tag.iter().cloned().collect(),
                What::TagsDeleted { tags, .. } => tags.clone(),
                What::Observed { without, .. } => without.clone(),
                _ => BTreeSet::new(),
            },
            Self::Act(act) => act.tag.iter().cloned().collect(),
        }
    }

    /// What happened, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Fact(fact) => fact.summary(),
            Self::Act(OperatorAct { action, by, reason, until, .. }) => {
                let until = until.map(|until| format!(" until {}", time_text(until))).unwrap_or_default();
                let because = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                format!("{} by {by}{until}{because}", action.past_tense())
            }
        }
    }
}

/// Selects activity. What is not given does not limit.
#[derive(Debug, Clone, Default)]
pub struct ActivityFilter {
    /// Only by actors like this.
    pub actor: Option<ActorPattern>,
    /// Only in repositories like this, as in `prod/*`, or about this image.
    pub repository: Option<HoldPattern>,
    /// Only in this registry.
    pub registry: Option<Registry>,
    /// Only these kinds; all if there is none.
    pub kinds: BTreeSet<ActivityKind>,
}

impl ActivityFilter {
    /// Whether the filter selects an activity.
    #[must_use]
    pub fn selects(&self, activity: &Activity) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&activity.kind()))
            && self.registry.as_ref().is_none_or(|registry| activity.registry() == Some(registry))
            && self.actor.as_ref().is_none_or(|actor| activity.actor().is_some_and(|by| actor.matches(by)))
            && self.repository.as_ref().is_none_or(|pattern| names(pattern, activity))
    }
}

/// Whether an activity is about what a pattern names. A hold of `prod/*` is about `prod/api`, too.
fn names(pattern: &HoldPattern, activity: &Activity) -> bool {
    let Some(repository) = activity.repository() else { return false };
    match (pattern.image(), activity.digest()) {
        (Some(image), Some(digest)) => image.digest == digest && image.repository.as_str() == repository,
        (Some(image), None) => wildcard(&repository, image.repository.as_str()),
        (None, _) => {
            let text = pattern.to_string();
            wildcard(&text, &repository) || wildcard(&repository, &text)
        }
    }
}

/// Which actors are meant: an ARN, in which `*` stands for any text, or a part of an actor's name.
///
/// The ARN of a role means its sessions, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorPattern(String);

impl ActorPattern {
    /// Whether it means this actor.
    #[must_use]
    pub fn matches(&self, actor: &str) -> bool {
        if !self.0.starts_with("arn:") {
            return wildcard(&format!("*{}*", self.0), actor);
        }
        wildcard(&self.0, actor) || self.sessions().is_some_and(|sessions| wildcard(&sessions, actor))
    }

    /// The sessions of the role, if it names a role: their ARNs do not have the role's path.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
    fn sessions(&self) -> Option<String> {
        let (before, role) = self.0.split_once(":role/")?;
        let (partition, account) = before.split_once(":iam::")?;
        let name = role.rsplit('/').next()?;
        Some(format!("{partition}:sts::{account}:assumed-role/{name}/*"))
    }
}

/// The longest pattern of actors, in characters: as long as an ARN can be.
const LONGEST_ACTOR: usize = 2_048;

impl FromStr for ActorPattern {
    type Err = MalformedError;

    fn from_str(text: &str) -> Result<Self, MalformedError> {
        if text.trim().is_empty() || text.len() > LONGEST_ACTOR {
            return Err(MalformedError::new(text, "an actor", "an ARN, a part of it, or with `*` for any text"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ActivityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/ci/build-7";

    #[test]
    fn an_actor_is_named_by_arn_by_role_by_part_or_by_pattern() {
        for pattern in [
            SESSION,
            "arn:aws:sts::111122223333:assumed-role/ci/*",
            "arn:aws:iam::111122223333:role/ci",
            "arn:aws:iam::111122223333:role/pipelines/ci",
            "arn:aws:iam::*:role/ci",
            "ci",
            "assumed-role/ci/",
            "role/c*/build",
        ] {
            assert!(pattern.parse::<ActorPattern>().unwrap().matches(SESSION), "{pattern}");
        }
        for pattern in [
            "arn:aws:sts::111122223333:assumed-role/ci",
            "arn:aws:iam::111122223333:role/c",
            "arn:aws:iam::444455556666:role/ci",
            "arn:aws:iam::111122223333:user/ci",
            "CI/",
            "ci/build-8",
        ] {
            assert!(!pattern.parse::<ActorPattern>().unwrap().matches(SESSION), "{pattern}");
        }
        assert!(" ".parse::<ActorPattern>().is_err());
    }

    #[test]
    fn a_hold_is_about_each_repository_that_it_covers() {
        let ireland: Registry = "111122223333/eu-west-1".parse().unwrap();
        let act = OperatorAct {
            pattern: Some("prod/*".parse().unwrap()),
            ..OperatorAct::new(ActName::Hold, Some(&ireland), "dana", Timestamp::UNIX_EPOCH)
        };
        let act = Activity::Act(act);
        let image = format!("prod/api@sha256:{}", "a".repeat(64));
        for (pattern, selected) in [
            ("prod/*", true),
            ("prod/api", true),
            ("*", true),
            (image.as_str(), true),
            ("team/*", false),
            ("prod", false),
        ] {
            let filter = ActivityFilter { repository: Some(pattern.parse().unwrap()), ..ActivityFilter::default() };
            assert_eq!(filter.selects(&act), selected, "{pattern}");
        }
    }
}
