//! Deletions: our intent to mirror one deletion to one replica, and whether it may be carried out.
//!
//! A source that loses an image, or a tag of one, asks for the same at its replicas ([`deletion_intents`]). Each is one
//! [`Deletion`], carried through its life by [`judge`], which decides from what was just read, and by people. Any doubt
//! keeps the replica and says why.

mod described;
mod judge;
mod life;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use described::{DescribedDeletion, described};
pub use judge::{
    Decision, DeletionContext, PeerRegistry, SubjectState, Verdict, estimate, judge, registries_to_observe,
};
pub use life::{ActionRecord, InvalidTransition, OperatorAction};

use crate::{
    image::{Image, Registry, Tag},
    lineage::{Lineage, PlacementStatus},
    policy::Action,
    time::whole_seconds,
};

/// A deletion that was reported longer ago than this is not mirrored: whoever replays old events, or records old log
/// files, does not mean to delete. As long as SQS keeps what it could not deliver.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub const MAXIMUM_AGE: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How long a replica waits for an index or a subject that stays to go, before it is kept for good.
pub const MAX_REFERENCE_WAIT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One deletion to be mirrored to one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deletion {
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// The registry of the replica.
    pub registry: Registry,
    /// Only this tag; the image with all its tags if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The registry that lost it.
    pub source: Registry,
    /// Since when the replica is without its source: when the source lost it, or when it arrived after that.
    pub since: Timestamp,
    /// Where it stands.
    pub status: DeletionStatus,
    /// When it is looked at next, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// What the policy permits, as far as it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The policies that decided.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<String>,
    /// What was checked last, in order; the last one decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// The size of the replica, once it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// What people did about it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionRecord>,
    /// How often in a row it had to be put off.
    #[serde(default)]
    pub attempts: u32,
    /// Whether the breaker has counted it.
    #[serde(default)]
    pub counted: bool,
    /// How often it was stored: who writes must have read the newest.
    #[serde(default)]
    pub version: u64,
}

/// Where a deletion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = DeletionStatus))]
pub enum DeletionStatus {
    /// It waits until it is due.
    Pending,
    /// A person, or the breaker, stopped it until a person releases it.
    Held,
    /// The policy wants a person to approve it.
    AwaitingApproval,
    /// The call is under way; if this stays, the process ended in the middle of it.
    Executing,
    /// The replica followed its source.
    Done,
    /// The replica stays; the last check says why.
    Kept,
    /// ECR refused for a reason that will not pass; the replica stays.
    Failed,
}

impl DeletionStatus {
    /// Every status.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Held, Self::AwaitingApproval, Self::Executing, Self::Done, Self::Kept, Self::Failed];

    /// The word for it, as in its JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Executing => "executing",
            Self::Done => "done",
            Self::Kept => "kept",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen unless something new does.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Kept | Self::Failed)
    }
}

/// One thing that was checked, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Check {
    /// What was checked.
    pub check: CheckName,
    /// Whether the deletion may go on.
    pub passed: bool,
    /// The facts that decided, in one line.
    pub why: String,
}

/// What is checked, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CheckName {
    /// The report of the deletion is not too old to be acted on.
    Age,
    /// It came by replication from this source and from no other that still has it, and nobody pushed it here.
    Origin,
    /// ECR does not replicate deletions here by itself.
    Native,
    /// The source really lacks it.
    Source,
    /// The replica is really there.
    Replica,
    /// It is not needed by another manifest that stays.
    Manifest,
    /// The policy permits it.
    Policy,
    /// The time of grace is over.
    Grace,
    /// Not too much is deleted at once.
    Breaker,
    /// A person approved it, where the policy wants that.
    Approval,
    /// A person did not stop it.
    Operator,
    /// Whether anything is touched at all.
    Mode,
    /// What ECR answered.
    Call,
}

impl CheckName {
    /// The word for it, as in its JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Origin => "origin",
            Self::Native => "native",
            Self::Source => "source",
            Self::Replica => "replica",
            Self::Manifest => "manifest",
            Self::Policy => "policy",
            Self::Grace => "grace",
            Self::Breaker => "breaker",
            Self::Approval => "approval",
            Self::Operator => "operator",
            Self::Mode => "mode",
            Self::Call => "call",
        }
    }
}

impl Check {
    /// A check that lets the deletion go on.
    #[must_use]
    pub fn passed(check: CheckName, why: impl Into<String>) -> Self {
        Self { check, passed: true, why: why.into() }
    }

    /// A check that stops it, for now or for good.
    #[must_use]
    pub fn stopped(check: CheckName, why: impl Into<String>) -> Self {
        Self { check, passed: false, why: why.into() }
    }
}

/// What the loss of an image, or of a tag of it, asks for at one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionIntent {
    /// The registry of the replica.
    pub registry: Registry,
    /// Only this tag.
    pub tag: Option<Tag>,
    /// Since when the replica is without its source.
    pub since: Timestamp,
}

/// What a source's loss asks for at its replicas, as far as is recorded.
///
/// Where the source may have lost the whole image, all of the replica; else the tags that it lost and the replica has.
/// Only replicas that came from this very source: replication goes one hop.
#[must_use]
pub fn deletion_intents(lineage: &Lineage, source: &Registry) -> Vec<DeletionIntent> {
    let Some(at_source) = lineage.placements.get(source) else { return Vec::new() };
    let mut all = Vec::new();
    for (registry, replica) in &lineage.placements {
        let Some(arrived) = replica.replicated().get(source).copied() else { continue };
        if registry == source || !replica.status().may_be_there() {
            continue;
        }
        let mut want = |tag: Option<&Tag>, lost: Timestamp| {
            all.push(DeletionIntent { registry: registry.clone(), tag: tag.cloned(), since: lost.max(arrived) });
        };
        match (at_source.status(), at_source.gone_at()) {
            (PlacementStatus::Absent | PlacementStatus::ProbablyAbsent, Some(lost)) => want(None, lost),
            _ => {
                let here = replica.current_tags();
                for (tag, lost) in at_source.removed_tags() {
                    if here.contains(tag) {
                        want(Some(tag), lost);
                    }
                }
            }
        }
    }
    all
}

impl Deletion {
    /// The deletion that is wanted, if it is news: none is known, or the one that is known was decided before.
    ///
    /// One that is still under way stays as it is, with its hold and its approval; it is judged by what is read then.
    #[must_use]
    pub fn open(
        known: Option<&Self>,
        image: &Image,
        source: &Registry,
        intent: DeletionIntent,
        now: Timestamp,
    ) -> Option<Self> {
        let version = match known {
            None => 0,
            Some(known) if known.status.is_final() && intent.since >= whole_seconds(known.changed_at) => known.version,
            Some(_) => return None,
        };
        let DeletionIntent { registry, tag, since } = intent;
        let mut opened = Self {
            image: image.clone(),
            registry,
            tag,
            source: source.clone(),
            since,
            status: DeletionStatus::Pending,
            due: Some(now),
            changed_at: now,
            action: None,
            policies: BTreeSet::new(),
            checks: Vec::new(),
            size_bytes: None,
            actions: Vec::new(),
            attempts: 0,
            counted: false,
            version,
        };
        let age = now.duration_since(since);
        if age > MAXIMUM_AGE {
            let days = age.as_hours() / 24;
            let why =
                format!("it was reported {days} days after it happened; only what is at most 14 days old is mirrored");
            opened.settle(DeletionStatus::Kept, Check::stopped(CheckName::Age, why), now);
        }
        Some(opened)
    }

    /// The name of it within the image: registry and tag.
    #[must_use]
    pub fn replica_key(&self) -> (&Registry, Option<&Tag>) {
        (&self.registry, self.tag.as_ref())
    }
}

/// What a failure code of ECR's means for a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionRefusal {
    /// There is nothing to delete: as good as done.
    Gone,
    /// An index that is still there refers to it: the index goes first, perhaps only later.
    IndexFirst,
    /// It may pass: look again, and try again.
    ForNow,
    /// It will not pass, or nobody knows: the replica stays, and a person is told.
    ForGood,
}

/// What a `failureCode` means.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html>
#[must_use]
pub fn refusal(code: &str) -> DeletionRefusal {
    match code {
        "ImageNotFound" => DeletionRefusal::Gone,
        "ImageReferencedByManifestList" => DeletionRefusal::IndexFirst,
        "KmsError" | "UpstreamTooManyRequests" | "UpstreamUnavailable" => DeletionRefusal::ForNow,
        _ => DeletionRefusal::ForGood,
    }
}
