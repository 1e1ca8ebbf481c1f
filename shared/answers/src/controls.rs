//! Pauses and holds: what operators put in the way of deletions, and how it ends.

use std::{collections::BTreeSet, fmt, str::FromStr};

use domain::{
    activity::{ActName, OperatorAct},
    controls::{Controls, Covered, Hold, HoldPattern, Instruction, Pause},
    deletion::{Check, CheckName, Deletion, DeletionStatus, OperatorAction},
    image::{Registry, RepositoryPattern},
    time::time_text,
};
use jiff::Timestamp;
use serde::Serialize;
use store::{Stored, Table};
use utoipa::ToSchema;

use crate::{
    activity::Unrecorded,
    answer, deletions,
    error::Error,
    reference::{Reference, ReferenceError, without_registry},
    registries::short_reason,
    search,
};

/// What to hold, as the caller wrote it: `prod/*`, `prod/api`, `prod/api:v1` or `prod/api@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldTarget {
    /// Repositories.
    Repositories(RepositoryPattern),
    /// The images that the reference means.
    Image(Reference),
}

impl FromStr for HoldTarget {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (_, name) = without_registry(text)?;
        if name.contains([':', '@']) {
            return text.parse().map(Self::Image);
        }
        name.parse().map(Self::Repositories).map_err(ReferenceError::new)
    }
}

impl fmt::Display for HoldTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repositories(pattern) => write!(f, "{pattern}"),
            Self::Image(reference) => write!(f, "{reference}"),
        }
    }
}

/// A pause with its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DescribedPause {
    /// The pause.
    #[serde(flatten)]
    pub pause: Pause,
    /// What is paused, by whom, since when, until when and why: one line.
    pub summary: String,
}

impl From<Pause> for DescribedPause {
    fn from(pause: Pause) -> Self {
        Self { summary: pause.summary(), pause }
    }
}

/// A hold with its ID and its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DescribedHold {
    /// The ID of the hold.
    pub id: String,
    /// The hold.
    #[serde(flatten)]
    pub hold: Hold,
    /// What is on hold, by whom, since when, until when and why: one line.
    pub summary: String,
}

impl From<Hold> for DescribedHold {
    fn from(hold: Hold) -> Self {
        Self { id: hold.id(), summary: hold.summary(), hold }
    }
}

/// The pauses and holds that last now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Holds {
    /// The pauses, by source, that of every source first.
    pub pauses: Vec<DescribedPause>,
    /// The holds, by the names of their patterns.
    pub holds: Vec<DescribedHold>,
}

/// Answers `holds`: the pauses and holds that last now.
///
/// # Errors
/// When the table cannot be read.
pub async fn holds(table: &Table, now: Timestamp) -> Result<Holds, store::Error> {
    let Controls { mut pauses, mut holds } = table.controls().await?.at(now);
    pauses.sort_by(|a, b| a.source.cmp(&b.source));
    holds.sort_by(|a, b| (&a.pattern, a.id()).cmp(&(&b.pattern, b.id())));
    let pauses = pauses.into_iter().map(Into::into).collect();
    Ok(Holds { pauses, holds: holds.into_iter().map(Into::into).collect() })
}

/// Adds to the deletions that are not over what stops them now: a pause, or a hold that is newer than they are.
pub(crate) fn add_stops(deletions: &mut [Deletion], controls: &Controls, now: Timestamp) {
    let waits = |status| matches!(status, DeletionStatus::Pending | DeletionStatus::AwaitingApproval);
    for deletion in deletions.iter_mut().filter(|deletion| waits(deletion.status)) {
        let stop = match controls.paused(&deletion.source, now) {
            Some(paused) => Some((CheckName::Paused, paused.summary())),
            None => {
                let held = controls.held(&deletion.source, &deletion.image, now);
                held.map(|held| (CheckName::Hold, held.summary()))
            }
        };
        if let Some((check, why)) =
            stop.filter(|(check, _)| deletion.checks.last().map(|last| last.check) != Some(*check))
        {
            deletion.checks.push(Check::stopped(check, why));
        }
    }
}

/// Deletions are paused.
#[derive(Debug, Serialize, ToSchema)]
pub struct WasPaused {
    /// The pause.
    #[serde(flatten)]
    pub pause: DescribedPause,
    /// The pause that this one replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<DescribedPause>,
}

/// Pauses the deletions of a source, or of every source: none begins from now on. A call to ECR that is under way is
/// not interrupted.
///
/// # Errors
/// When the registry is unknown, the end is over, or the table cannot be read or written.
pub async fn pause(table: &Table, source: Option<&Registry>, instruction: Instruction) -> Result<WasPaused, Error> {
    let now = instruction.at;
    is_known(table, source).await?;
    let pause = Pause { source: source.cloned(), instruction: checked(instruction)? };
    let before = table.controls().await?.at(now).pauses;
    table.put_pause(&pause).await?;
    let Instruction { by, reason, .. } = &pause.instruction;
    let act = OperatorAct { until: pause.instruction.until, ..OperatorAct::new(ActName::Pause, source, by, now) };
    let unrecorded = Unrecorded::default().record(table, OperatorAct { reason: reason.clone(), ..act }).await;
    let replaced = before.into_iter().find(|before| before.source == pause.source).map(Into::into);
    let summary = pause.summary();
    unrecorded.or(&summary, WasPaused { pause: pause.into(), replaced })
}

/// Deletions are not paused any more.
#[derive(Debug, Serialize, ToSchema)]
pub struct WasResumed {
    /// The pause that ended.
    pub ended: DescribedPause,
    /// Who ended it.
    pub by: String,
    /// The pauses that last, by source.
    pub pauses: Vec<DescribedPause>,
    /// What was done, in one line.
    pub summary: String,
}

/// Ends the pause of a source, or that of every source. What is due runs within five minutes.
///
/// # Errors
/// When there is no such pause, or the table cannot be read or written.
pub async fn resume(table: &Table, source: Option<&Registry>, by: &str, now: Timestamp) -> Result<WasResumed, Error> {
    let (mut ended, others): (Vec<_>, Vec<_>) =
        table.controls().await?.at(now).pauses.into_iter().partition(|pause| pause.source.as_ref() == source);
    let Some(ended) = ended.pop() else {
        return Err(Error::NotPaused { only: source.cloned(), others: others.iter().map(Pause::summary).collect() });
    };
    table.delete_pause(source).await?;
    let unrecorded = Unrecorded::default().record(table, OperatorAct::new(ActName::Resume, source, by, now)).await;
    let of = source.map_or_else(|| "every source".to_owned(), ToString::to_string);
    let still = if others.is_empty() { String::new() } else { format!("; {} other pauses last", others.len()) };
    let summary = format!("deletions of {of} resumed by {by}: what is due runs within 5 minutes{still}");
    let pauses = others.into_iter().map(Into::into).collect();
    unrecorded.or(&summary.clone(), WasResumed { ended: ended.into(), by: by.to_owned(), pauses, summary })
}

/// Something is on hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct WasHeld {
    /// The holds: one, or one of each image that the tag means, by the names of their patterns.
    pub holds: Vec<DescribedHold>,
    /// The number of repositories that are known now and that the holds cover.
    pub repositories: usize,
    /// The number of deletions that are on hold because of it.
    pub deletions: usize,
    /// What the holds cover now, in one line.
    pub effect: String,
}

/// Puts images, repositories or a source on hold, whether or not a deletion exists.
///
/// # Errors
/// When the registry or the image is unknown, the reason is missing, the end is over, or the table cannot be read or
/// written.
pub async fn hold(
    table: &Table,
    target: &HoldTarget,
    source: Option<&Registry>,
    instruction: Instruction,
) -> Result<WasHeld, Error> {
    is_known(table, source).await?;
    let (now, instruction) = (instruction.at, checked(instruction)?);
    if instruction.reason.is_none() {
        return Err(Error::NoReason { of: "a hold" });
    }
    let mut held = WasHeld { holds: Vec::new(), repositories: 0, deletions: 0, effect: String::new() };
    let mut unrecorded = Unrecorded::default();
    for pattern in patterns(table, target).await? {
        let hold = Hold { pattern, source: source.cloned(), instruction: instruction.clone() };
        if table.put_hold(&hold).await? == Stored::Known {
            return Err(Error::Changed { what: format!("the hold {}", hold.id()) });
        }
        let Instruction { by, reason, until, .. } = &hold.instruction;
        let act = act_on(&hold, ActName::Hold, (by, reason.as_deref()), now);
        unrecorded = unrecorded.record(table, OperatorAct { until: *until, ..act }).await;
        for mut deletion in covered(table, &hold, target).await? {
            // What another process changes meanwhile is stopped before its call to ECR.
            if deletion.hold(&hold, now).is_ok() && table.put_deletion(&mut deletion).await? == Stored::New {
                held.deletions += 1;
            }
        }
        held.holds.push(hold.into());
    }
    held.repositories = repositories(table, target).await?;
    held.effect = held.effect(matches!(target, HoldTarget::Image(_)));
    let done: Vec<_> = held.holds.iter().map(|hold| hold.summary.clone()).collect();
    unrecorded.or(&done.join("; "), held)
}

/// What an operator does who begins or ends a hold.
fn act_on(hold: &Hold, action: ActName, (by, reason): (&str, Option<&str>), now: Timestamp) -> OperatorAct {
    let (pattern, reason) = (Some(hold.pattern.clone()), short_reason(reason));
    OperatorAct { pattern, reason, ..OperatorAct::new(action, hold.source.as_ref(), by, now) }
}

impl WasHeld {
    fn effect(&self, is_image: bool) -> String {
        let known = match self.repositories {
            0 => "no repository that is known now has such a name".to_owned(),
            1 => "covers 1 known repository".to_owned(),
            many => format!("covers {many} known repositories"),
        };
        let deletions = match self.deletions {
            0 => "no deletion is put on hold now".to_owned(),
            1 => "1 deletion is put on hold".to_owned(),
            many => format!("{many} deletions are put on hold"),
        };
        if is_image { deletions } else { format!("{known}; {deletions}") }
    }
}

/// Holds ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct WasReleased {
    /// The holds that ended, by the names of their patterns.
    pub holds: Vec<DescribedHold>,
    /// Who ended them.
    pub by: String,
    /// The holds of others, by the names of their patterns, that were named, too, and last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<DescribedHold>,
    /// The number of deletions that are re-evaluated.
    pub deletions: usize,
    /// What was done, in one line.
    pub summary: String,
}

/// Which holds to end.
#[derive(Debug, Clone)]
pub struct Release<'a> {
    /// The ID of a hold, its pattern, or an image.
    pub hold: &'a str,
    /// Only holds of this source.
    pub source: Option<&'a Registry>,
    /// End also holds of others.
    pub force: bool,
    /// Why.
    pub reason: Option<&'a str>,
}

/// Ends holds. The deletions that they stopped are re-evaluated.
///
/// # Errors
/// When there is no such hold, when it is another operator's and `force` is false, or when the table cannot be read or
/// written.
pub async fn release(table: &Table, release: &Release<'_>, by: &str, now: Timestamp) -> Result<WasReleased, Error> {
    let mut found = table.controls().await?.at(now).holds;
    found.sort_by(|a, b| (&a.pattern, a.id()).cmp(&(&b.pattern, b.id())));
    let meant = match release.hold.parse::<HoldTarget>() {
        Ok(target) => patterns(table, &target).await.unwrap_or_default(),
        Err(_) => BTreeSet::new(),
    };
    let is_meant = |hold: &Hold| hold.id() == release.hold || meant.contains(&hold.pattern);
    let named = |hold: &Hold| is_meant(hold) && release.source.is_none_or(|only| hold.source.as_ref() == Some(only));
    let (named, others): (Vec<_>, Vec<_>) = found.drain(..).partition(named);
    let (ended, kept): (Vec<_>, Vec<_>) =
        named.into_iter().partition(|hold| release.force || hold.instruction.by == by);
    if ended.is_empty() {
        let asked = release.hold.to_owned();
        let of_others = kept.iter().map(Hold::summary).collect::<Vec<_>>();
        return Err(if kept.is_empty() { Error::NoHold { asked } } else { Error::HoldOfOther { asked, of_others } });
    }
    let remaining = Controls { holds: others.into_iter().chain(kept.iter().cloned()).collect(), ..Controls::default() };
    let (mut deletions, mut unrecorded) = (0, Unrecorded::default());
    for hold in &ended {
        table.delete_hold(hold).await?;
        unrecorded = unrecorded.record(table, act_on(hold, ActName::Release, (by, release.reason), now)).await;
        let why = released(hold, release.reason);
        let target = target_of(hold);
        for mut deletion in covered(table, hold, &target).await?.into_iter().filter(Deletion::held_by_operator) {
            if remaining.held(&deletion.source, &deletion.image, now).is_none()
                && deletion.act(OperatorAction::Release, by, Some(&why), now).is_ok()
                && table.put_deletion(&mut deletion).await? == Stored::New
            {
                deletions += 1;
            }
        }
    }
    let released = WasReleased::new(ended, kept, by, deletions);
    unrecorded.or(&released.summary.clone(), released)
}

impl WasReleased {
    fn new(ended: Vec<Hold>, kept: Vec<Hold>, by: &str, deletions: usize) -> Self {
        let patterns: Vec<_> = ended.iter().map(|hold| hold.pattern.short()).collect();
        let again = match deletions {
            0 => "no deletion was on hold by it".to_owned(),
            1 => "1 deletion is re-evaluated".to_owned(),
            many => format!("{many} deletions are re-evaluated"),
        };
        let still: String = kept.iter().map(|hold| format!("; still {}", hold.summary())).collect();
        let summary = format!("{} released by {by}; {again}{still}", patterns.join(", "));
        let (holds, kept) = (ended.into_iter().map(Into::into).collect(), kept.into_iter().map(Into::into).collect());
        Self { holds, by: by.to_owned(), kept, deletions, summary }
    }
}

/// Whose hold ended, and why.
fn released(hold: &Hold, reason: Option<&str>) -> String {
    let of = format!("hold {} of {}", hold.id(), hold.instruction.by);
    short_reason(reason).map_or(of.clone(), |reason| format!("{of}: {reason}"))
}

fn target_of(hold: &Hold) -> HoldTarget {
    match hold.pattern.covered() {
        Covered::Image(image) => HoldTarget::Image(Reference::Exact(image.clone())),
        Covered::Repositories(pattern) => HoldTarget::Repositories(pattern.clone()),
    }
}

async fn is_known(table: &Table, source: Option<&Registry>) -> Result<(), Error> {
    match source {
        Some(source) if !table.registries().await?.contains(source) => {
            Err(Error::UnknownRegistry { registry: source.clone() })
        }
        _ => Ok(()),
    }
}

/// The instruction, with a short reason and an end that is not over.
fn checked(instruction: Instruction) -> Result<Instruction, Error> {
    if let Some(until) = instruction.until.filter(|until| *until <= instruction.at) {
        return Err(Error::EndIsOver { until: time_text(until) });
    }
    let reason = short_reason(instruction.reason.as_deref());
    Ok(Instruction { reason, ..instruction })
}

/// The patterns of a target. An image that is gone from its source is meant by the tag that it had.
async fn patterns(table: &Table, target: &HoldTarget) -> Result<BTreeSet<HoldPattern>, Error> {
    match target {
        HoldTarget::Repositories(pattern) => Ok([pattern.clone().into()].into()),
        HoldTarget::Image(reference) => {
            let images = answer::resolve_ever(table, reference).await?;
            Ok(images.iter().map(HoldPattern::of_image).collect())
        }
    }
}

/// The deletions that a hold covers and that are not over.
async fn covered(table: &Table, hold: &Hold, target: &HoldTarget) -> Result<Vec<Deletion>, Error> {
    let mut all = match (target, hold.pattern.image()) {
        (HoldTarget::Image(_), Some(image)) => table.image_record(image).await?.deletions,
        _ => {
            let statuses = [DeletionStatus::Pending, DeletionStatus::Held, DeletionStatus::AwaitingApproval];
            deletions::all(table, &statuses, hold.source.as_ref()).await?
        }
    };
    all.retain(|deletion| !deletion.status.is_final() && hold.covers(&deletion.source, &deletion.image));
    Ok(all)
}

/// The number of known repositories that a target covers.
async fn repositories(table: &Table, target: &HoldTarget) -> Result<usize, store::Error> {
    let HoldTarget::Repositories(pattern) = target else { return Ok(1) };
    let (known, _) = search::repositories(table, pattern.prefix(), None, usize::MAX).await?;
    Ok(known.iter().filter(|known| pattern.covers(&known.repository)).count())
}
