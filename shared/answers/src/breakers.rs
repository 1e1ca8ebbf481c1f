//! Circuit breakers: what they counted, what they put on hold, and their reset.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    activity::{ActName, OperatorAct},
    alert::{Alert, AlertKind},
    breaker::{Breaker, BreakerClass, BreakerLimits, Opened, Reset},
    deletion::{Deletion, DeletionStatus, OperatorAction},
    image::{Image, Registry, RepositoryName},
    time::time_text,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use store::{Listed, Stored, Table};
use utoipa::ToSchema;

use crate::{
    READS_AT_A_TIME,
    activity::Unrecorded,
    deletions::{DeletionTotal, MOST, counted, sources},
    error::Error,
};

/// The breakers of all sources.
#[derive(Debug, Serialize, ToSchema)]
pub struct Breakers {
    /// The breakers, by source.
    pub breakers: BTreeMap<Registry, BreakerStatus>,
}

/// The state and counts of one breaker.
#[derive(Debug, Serialize, ToSchema)]
pub struct BreakerStatus {
    /// The state of the breaker.
    #[serde(flatten)]
    pub breaker: Breaker,
    /// The images counted in the window, by class and by registry of the replicas; empty if its length is unknown.
    pub counted: BTreeMap<BreakerClass, BTreeMap<Registry, u32>>,
    /// The number of deletions that the breaker put on hold.
    pub held: usize,
    /// The deletions that the breaker put on hold, by repository and by who deleted the image at the source; only in
    /// the answer about breakers. The largest number is first, the rest in the order of names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<HeldDeletions>,
    /// Whether the breaker is open, in words: `open` or `closed`.
    pub status_text: &'static str,
    /// What the breaker counted, by class and registry, and who closed it last: one line each.
    pub details: Vec<String>,
    /// The recommended next step; absent if the breaker is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediation: Option<String>,
}

/// Deletions that a breaker put on hold, of one repository and by one actor at the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeldDeletions {
    /// The repository.
    pub repository: RepositoryName,
    /// Who or what deleted the images at the source, in words, such as `by lifecycle rule 10`.
    pub deleted_by: String,
    /// The numbers.
    #[serde(flatten)]
    pub total: DeletionTotal,
    /// The deletions, in one line.
    pub summary: String,
}

impl BreakerStatus {
    fn new(
        source: &Registry,
        breaker: Breaker,
        counted: BTreeMap<BreakerClass, BTreeMap<Registry, u32>>,
        held: usize,
    ) -> Self {
        let mut details = Vec::new();
        let hours = breaker.window_hours.unwrap_or_default();
        for (class, registries) in &counted {
            let class = class.as_str();
            for (registry, count) in registries {
                let images = if *count == 1 { "image" } else { "images" };
                details.push(format!("{count} {images} deleted in {registry} in {hours} h ({class})"));
            }
        }
        if let Some(Reset { by, at, allow, ignore_share }) = &breaker.reset {
            let allow = allow.map(|images| format!(", with an allowance of {images} images")).unwrap_or_default();
            let share = if *ignore_share { ", without the limit of the share" } else { "" };
            details.push(format!("closed {} by {by}{allow}{share}", time_text(*at)));
        }
        let is_open = breaker.opened.is_some();
        let remediation = is_open.then(|| AlertKind::BreakerOpened.remediation(&source.to_string()));
        let status_text = if is_open { "open" } else { "closed" };
        Self { breaker, counted, held, held_by: Vec::new(), status_text, details, remediation }
    }
}

/// Answers `breaker status`: the breakers that are open, were reset, or counted an image in the window, with what they
/// put on hold.
///
/// # Errors
/// When the registry is unknown, or the table cannot be read.
pub async fn breakers(table: &Table, source: Option<&Registry>, now: Timestamp) -> Result<Breakers, Error> {
    let mut breakers = summaries(table, source, now).await?;
    for (source, status) in breakers.iter_mut().filter(|(_, status)| status.held > 0) {
        status.held_by = by_actor(table, &held(table, source, None).await?.0).await?;
    }
    Ok(Breakers { breakers })
}

/// The same breakers without what they put on hold.
pub(crate) async fn summaries(
    table: &Table,
    source: Option<&Registry>,
    now: Timestamp,
) -> Result<BTreeMap<Registry, BreakerStatus>, Error> {
    let mut breakers = BTreeMap::new();
    for source in sources(table, source).await? {
        let status = status(table, &source, now).await?;
        if status.breaker.opened.is_some() || !status.details.is_empty() {
            breakers.insert(source, status);
        }
    }
    Ok(breakers)
}

async fn status(table: &Table, source: &Registry, now: Timestamp) -> Result<BreakerStatus, store::Error> {
    let breaker = table.breaker(source).await?;
    let mut counted: BTreeMap<BreakerClass, BTreeMap<Registry, u32>> = BTreeMap::new();
    if let Some(limits) = limits(&breaker) {
        for key in breaker.counts.keys() {
            let count = breaker.counted(key, &limits, now);
            if count > 0 {
                *counted.entry(key.class).or_default().entry(key.registry.clone()).or_default() += count;
            }
        }
    }
    let held = held(table, source, None).await?.0.len();
    Ok(BreakerStatus::new(source, breaker, counted, held))
}

/// Limits with the window that `mirror` used last; `None` if it used none yet.
fn limits(breaker: &Breaker) -> Option<BreakerLimits> {
    let window = SignedDuration::from_secs(breaker.window_hours?.saturating_mul(3_600));
    Some(BreakerLimits { window, ..BreakerLimits::default() })
}

/// The deletions of a source that its breaker, and not an operator, put on hold; those among at most [`MOST`] on hold,
/// and the position after which the list continues, if it does.
async fn held(
    table: &Table,
    source: &Registry,
    after: Option<&Listed>,
) -> Result<(Vec<Deletion>, Option<Listed>), store::Error> {
    let of_any_age = Timestamp::UNIX_EPOCH;
    let (mut held, next) = table.deletions(DeletionStatus::Held, source, of_any_age, None, after, MOST).await?;
    held.retain(Deletion::held_by_breaker);
    Ok((held, next))
}

/// Groups deletions by repository and by who deleted the image at the source; the largest group first.
async fn by_actor(table: &Table, held: &[Deletion]) -> Result<Vec<HeldDeletions>, store::Error> {
    let images: BTreeSet<Image> = held.iter().map(|deletion| deletion.image.clone()).collect();
    let lineages = stream::iter(images)
        .map(|image| async move { table.lineage(&image).await.map(|lineage| (image, lineage)) })
        .buffer_unordered(READS_AT_A_TIME);
    let lineages: BTreeMap<_, _> = lineages.try_collect().await?;
    let mut groups: BTreeMap<(&RepositoryName, String), Vec<&Deletion>> = BTreeMap::new();
    for deletion in held {
        let Some(lineage) = lineages.get(&deletion.image) else { continue };
        let cause = deletion.cause(lineage).to_string();
        groups.entry((&deletion.image.repository, cause)).or_default().push(deletion);
    }
    let groups = groups.into_iter().filter_map(|((repository, deleted_by), deletions)| {
        let total = DeletionTotal::of(&deletions)?;
        let summary = format!("{repository}: {}, {deleted_by}", total.summary());
        Some(HeldDeletions { repository: repository.clone(), deleted_by, total, summary })
    });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.total.deletions));
    Ok(groups)
}

/// What an operator asks of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResetTerms {
    /// The number of images that may be deleted in the next window, in all registries and classes together.
    pub allow: Option<u32>,
    /// Whether the limit of the share does not apply in the next window.
    pub ignore_share: bool,
}

/// What a reset of a breaker would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResetPreview {
    /// The source of the breaker.
    pub source: Registry,
    /// The version of the breaker, which the reset names.
    pub version: u64,
    /// Since when and why the breaker is open; absent if it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
    /// The deletions that the reset re-evaluates; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<DeletionTotal>,
    /// Whether there are more: at most 1,000 deletions are read.
    pub at_least: bool,
    /// The same deletions by repository and by who deleted the image at the source, the largest number first.
    pub held_by: Vec<HeldDeletions>,
    /// What the reset would do, one line each, in the order in which to read them.
    pub consequences: Vec<String>,
    /// The question to the operator.
    pub question: String,
}

impl ResetPreview {
    fn consequences(breaker: &Breaker, held: Option<&DeletionTotal>, at_least: bool, terms: ResetTerms) -> Vec<String> {
        let mut lines = vec![match held {
            None => "No deletion is on hold by the breaker.".to_owned(),
            Some(held) => {
                let more = if at_least { "More than " } else { "" };
                format!("{more}{}: these deletions are re-evaluated.", held.summary())
            }
        }];
        let window = breaker.window_hours.map(|hours| format!(" ({hours} h)")).unwrap_or_default();
        lines.push(match terms.allow {
            None => format!("The limits of images apply in the next window{window}; what was counted is forgotten."),
            Some(allow) => format!(
                "At most {} deleted in the next window{window}, in all registries together; an image counts once for \
                 each registry. Then the breaker opens again.",
                if allow == 1 { "1 image is".to_owned() } else { format!("{allow} images are") }
            ),
        });
        if let (Some(allow), Some(held)) = (terms.allow, held)
            && let Some(rest) = held.deletions.checked_sub(allow as usize).filter(|rest| *rest > 0)
        {
            let (verb, least) = (if rest == 1 { "stays" } else { "stay" }, if at_least { "At least " } else { "" });
            lines.push(format!("{least}{} {verb} on hold.", counted(rest, "deletion")));
        }
        lines.push(if terms.ignore_share {
            "The limit of the share of a repository does not apply in that window.".to_owned()
        } else {
            "The limit of the share of a repository still applies.".to_owned()
        });
        lines.push("What operators put on hold stays on hold.".to_owned());
        lines
    }
}

/// What a reset would do.
///
/// # Errors
/// When the registry is unknown, or the table cannot be read.
pub async fn preview_reset(table: &Table, source: &Registry, terms: ResetTerms) -> Result<ResetPreview, Error> {
    sources(table, Some(source)).await?;
    let breaker = table.breaker(source).await?;
    let (held, more) = held(table, source, None).await?;
    let at_least = more.is_some();
    let total = DeletionTotal::of(&held.iter().collect::<Vec<_>>());
    let consequences = ResetPreview::consequences(&breaker, total.as_ref(), at_least, terms);
    Ok(ResetPreview {
        source: source.clone(),
        version: breaker.version,
        held_by: by_actor(table, &held).await?,
        held: total,
        at_least,
        consequences,
        question: format!("Reset the breaker of {source}?"),
        opened: breaker.opened,
    })
}

/// The result of closing a breaker.
#[derive(Debug, Serialize, ToSchema)]
pub struct WasReset {
    /// The source of the breaker.
    pub source: Registry,
    /// The caller who closed it.
    pub by: String,
    /// The number of images that may be deleted in the next window, in all registries and classes together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<u32>,
    /// Whether the limit of the share does not apply in the next window.
    pub ignore_share: bool,
    /// The number of deletions that were released and are re-evaluated.
    pub released: usize,
    /// What was done, in one line.
    pub summary: String,
}

impl WasReset {
    fn new(source: &Registry, by: &str, ResetTerms { allow, ignore_share }: ResetTerms, released: usize) -> Self {
        let re_evaluated = match released {
            0 => "no deletion was on hold".to_owned(),
            1 => "1 deletion is re-evaluated".to_owned(),
            many => format!("{many} deletions are re-evaluated"),
        };
        let allowed =
            allow.map(|images| format!("; the next window allows {images} images in all")).unwrap_or_default();
        let share = if ignore_share { "; without the limit of the share" } else { "" };
        let summary = format!("breaker of {source} closed by {by}; {re_evaluated}{allowed}{share}");
        Self { source: source.clone(), by: by.to_owned(), allow, ignore_share, released, summary }
    }
}

/// Closes a breaker in the version that the operator saw, and releases every deletion that it put on hold: they are
/// re-evaluated. What operators put on hold stays on hold.
///
/// # Errors
/// When the registry is unknown, another process changed the breaker, or the table cannot be read or written.
pub async fn reset(
    table: &Table,
    source: &Registry,
    version: u64,
    terms: ResetTerms,
    by: &str,
    now: Timestamp,
) -> Result<WasReset, Error> {
    sources(table, Some(source)).await?;
    let ResetTerms { allow, ignore_share } = terms;
    let reset = Reset { by: by.to_owned(), at: now, allow, ignore_share };
    if table.reset_breaker(source, version, reset).await? == Stored::Known {
        return Err(Error::Changed { what: format!("the breaker of {source}") });
    }
    let message = format!("the breaker of {source} was closed by {by}");
    let act = OperatorAct::new(ActName::ResetBreaker, Some(source), by, now);
    let unrecorded = Unrecorded::default().record(table, act).await;
    table.put_alert(&Alert::notice(AlertKind::BreakerReset, &source.to_string(), message, now)).await?;
    let (mut released, mut after) = (0, None);
    loop {
        let (held, next) = held(table, source, after.as_ref()).await?;
        for mut deletion in held {
            // If another process changed the deletion meanwhile, that change is kept.
            if deletion.act(OperatorAction::Release, by, None, now).is_ok()
                && table.put_deletion(&mut deletion).await? == Stored::New
            {
                released += 1;
            }
        }
        after = next;
        if after.is_none() {
            let reset = WasReset::new(source, by, terms, released);
            return unrecorded.or(&reset.summary.clone(), reset);
        }
    }
}
