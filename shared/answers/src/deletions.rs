//! Deletions to be mirrored: listed, and what people do about them.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    alert::{Alert, AlertKind},
    breaker::{Breaker, BreakerClass, BreakerLimits},
    deletion::{Deletion, DeletionStatus, DescribedDeletion, OperatorAction, described},
    image::{Registry, Tag},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::{Listed, Stored, Table};
use utoipa::ToSchema;

use crate::{answer, cursor::Cursor, error::Error, reference::Reference};

/// As many of a status and source are read at once.
const MOST: usize = 1_000;

/// Deletions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deletions {
    /// They: the newest first; of a part of the list by status and by source, and of each the newest first.
    #[serde(serialize_with = "described")]
    #[schema(value_type = Vec<DescribedDeletion>)]
    pub deletions: Vec<Deletion>,
    /// Where the list goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<DeletionsPageToken>>,
}

/// Where a list of deletions goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionsPageToken {
    status: DeletionStatus,
    source: Registry,
    /// After this one; from the first if there is none.
    after: Option<Listed>,
}

/// Which deletions are meant.
#[derive(Debug, Clone)]
pub struct DeletionFilter<'a> {
    /// With these statuses.
    pub statuses: BTreeSet<DeletionStatus>,
    /// From this source; without one from all.
    pub source: Option<&'a Registry>,
    /// Changed since this time.
    pub since: Timestamp,
}

impl DeletionFilter<'_> {
    /// The statuses of those that are not over, and of those that failed.
    #[must_use]
    pub fn not_over() -> BTreeSet<DeletionStatus> {
        DeletionStatus::ALL
            .into_iter()
            .filter(|status| !matches!(status, DeletionStatus::Done | DeletionStatus::Kept))
            .collect()
    }
}

/// Answers `deletions`: at most 1,000 of each status and source.
///
/// # Errors
/// When the table cannot be read.
pub async fn list(table: &Table, filter: &DeletionFilter<'_>) -> Result<Deletions, store::Error> {
    let mut deletions = Vec::new();
    for source in sources(table, filter.source).await? {
        for status in &filter.statuses {
            deletions.extend(table.deletions(*status, &source, filter.since, None, MOST).await?.0);
        }
    }
    deletions.sort_by(|a, b| b.changed_at.cmp(&a.changed_at).then_with(|| a.replica_key().cmp(&b.replica_key())));
    Ok(Deletions { deletions, next_cursor: None })
}

/// A page of the deletions by status and by source.
///
/// # Errors
/// When the table cannot be read.
pub async fn page(
    table: &Table,
    filter: &DeletionFilter<'_>,
    from: Option<DeletionsPageToken>,
    most: usize,
) -> Result<Deletions, store::Error> {
    let sources = sources(table, filter.source).await?;
    let mut deletions = Vec::new();
    for status in &filter.statuses {
        for source in &sources {
            let after = match &from {
                Some(place) if (place.status, &place.source) > (*status, source) => continue,
                Some(place) if (place.status, &place.source) == (*status, source) => place.after.as_ref(),
                _ => None,
            };
            let place = |after| Some(Cursor(DeletionsPageToken { status: *status, source: source.clone(), after }));
            if deletions.len() >= most {
                return Ok(Deletions { deletions, next_cursor: place(None) });
            }
            let (more, next) = table.deletions(*status, source, filter.since, after, most - deletions.len()).await?;
            deletions.extend(more);
            if next.is_some() {
                return Ok(Deletions { deletions, next_cursor: place(next) });
            }
        }
    }
    Ok(Deletions { deletions, next_cursor: None })
}

async fn sources(table: &Table, only: Option<&Registry>) -> Result<BTreeSet<Registry>, store::Error> {
    match only {
        Some(source) => Ok([source.clone()].into()),
        None => table.registries().await,
    }
}

/// What somebody did, and where the deletions stand now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acted {
    /// What was done.
    pub action: OperatorAction,
    /// By whom.
    pub by: String,
    /// To which deletions.
    #[serde(serialize_with = "described")]
    #[schema(value_type = Vec<DescribedDeletion>)]
    pub deletions: Vec<Deletion>,
}

/// The deletions that somebody does something about.
#[derive(Debug, Clone)]
pub struct DeletionSelector {
    /// Of this image.
    pub image: Reference,
    /// Only in this registry.
    pub registry: Option<Registry>,
    /// Which of those.
    pub scope: DeletionScope,
}

/// Which deletions of an image are meant.
#[derive(Debug, Clone)]
pub enum DeletionScope {
    /// All: that of the image, and those of its tags.
    All,
    /// That of this tag.
    OfTag(Tag),
    /// The one that somebody looks at, as it was then: what it became since, nobody has approved.
    Seen {
        /// The tag, if only a tag is meant.
        tag: Option<Tag>,
        /// How often it had been stored.
        version: u64,
    },
}

impl DeletionScope {
    fn means(&self, deletion: &Deletion) -> bool {
        match self {
            Self::All => true,
            Self::OfTag(tag) => deletion.tag.as_ref() == Some(tag),
            Self::Seen { tag, .. } => deletion.tag == *tag,
        }
    }

    fn is_another(&self, deletion: &Deletion) -> bool {
        matches!(self, Self::Seen { version, .. } if *version != deletion.version)
    }
}

/// Does something about every deletion that is meant.
///
/// # Errors
/// When there is none, when it cannot be done to any of them, or when the table cannot be read or written.
pub async fn act(
    table: &Table,
    selector: &DeletionSelector,
    action: OperatorAction,
    by: &str,
    now: Timestamp,
) -> Result<Acted, Error> {
    let (mut acted, mut refused, mut asked) = (Vec::new(), None, None);
    for image in answer::resolve(table, &selector.image).await? {
        let is_selected = |deletion: &Deletion| {
            selector.registry.as_ref().is_none_or(|registry| deletion.registry == *registry)
                && selector.scope.means(deletion)
        };
        for mut deletion in table.image_record(&image).await?.deletions.into_iter().filter(is_selected) {
            let changed = Error::Changed { what: format!("the deletion of {image} in {}", deletion.registry) };
            if selector.scope.is_another(&deletion) {
                return Err(changed);
            }
            if let Err(invalid) = deletion.act(action, by, now) {
                refused = Some(invalid);
                continue;
            }
            if table.put_deletion(&mut deletion).await? == Stored::Known {
                return Err(changed);
            }
            acted.push(deletion);
        }
        asked = Some(image);
    }
    match (acted.is_empty(), refused, asked) {
        (true, Some(invalid), _) => Err(invalid.into()),
        (true, None, Some(asked)) => Err(Error::NoDeletion { asked, registry: selector.registry.clone() }),
        _ => Ok(Acted { action, by: by.to_owned(), deletions: acted }),
    }
}

/// The breakers of all sources.
#[derive(Debug, Serialize, ToSchema)]
pub struct Breakers {
    /// By source.
    pub breakers: BTreeMap<Registry, BreakerStatus>,
}

/// One breaker.
#[derive(Debug, Serialize, ToSchema)]
pub struct BreakerStatus {
    /// Its state.
    #[serde(flatten)]
    pub breaker: Breaker,
    /// What it counted in the last 24 hours, by class and registry of the replicas.
    pub counted: BTreeMap<BreakerClass, BTreeMap<Registry, u32>>,
    /// How many deletions it holds.
    pub held: usize,
}

/// Answers `breaker status`: of the breakers that ever did anything.
///
/// # Errors
/// When the table cannot be read.
pub async fn breakers(table: &Table, source: Option<&Registry>, now: Timestamp) -> Result<Breakers, store::Error> {
    let mut breakers = BTreeMap::new();
    for source in sources(table, source).await? {
        let status = status(table, &source, now).await?;
        let shown = status.breaker.opened.is_some() || status.breaker.reset.is_some() || !status.counted.is_empty();
        if shown {
            breakers.insert(source, status);
        }
    }
    Ok(Breakers { breakers })
}

async fn status(table: &Table, source: &Registry, now: Timestamp) -> Result<BreakerStatus, store::Error> {
    let (breaker, limits) = (table.breaker(source).await?, BreakerLimits::default());
    let mut counted: BTreeMap<BreakerClass, BTreeMap<Registry, u32>> = BTreeMap::new();
    for place in breaker.counts.keys() {
        let count = breaker.counted(place, &limits, now);
        if count > 0 {
            *counted.entry(place.class).or_default().entry(place.registry.clone()).or_default() += count;
        }
    }
    let (held, _) = table.deletions(DeletionStatus::Held, source, Timestamp::UNIX_EPOCH, None, MOST).await?;
    let held = held.iter().filter(|deletion| deletion.held_by_breaker()).count();
    Ok(BreakerStatus { breaker, counted, held })
}

/// A breaker that was closed.
#[derive(Debug, Serialize, ToSchema)]
pub struct WasReset {
    /// The source.
    pub source: Registry,
    /// By whom.
    pub by: String,
    /// So many images may go in the next window, whatever the limits say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<u32>,
    /// How many deletions are judged again.
    pub released: usize,
}

/// Closes a breaker, and lets everything that it holds be judged again.
///
/// # Errors
/// When the registry is not known, or the table cannot be read or written.
pub async fn reset(
    table: &Table,
    source: &Registry,
    allow: Option<u32>,
    by: &str,
    now: Timestamp,
) -> Result<WasReset, Error> {
    if !table.registries().await?.contains(source) {
        return Err(Error::UnknownRegistry { registry: source.clone() });
    }
    if table.reset_breaker(source, by, allow, now).await? == Stored::Known {
        return Err(Error::Changed { what: format!("the breaker of {source}") });
    }
    let message = format!("the breaker of {source} was closed by {by}");
    table.put_alert(&Alert::notice(AlertKind::BreakerReset, &source.to_string(), message, now)).await?;
    let mut released = 0;
    loop {
        let (held, _) = table.deletions(DeletionStatus::Held, source, Timestamp::UNIX_EPOCH, None, MOST).await?;
        let before = released;
        for mut deletion in held.into_iter().filter(Deletion::held_by_breaker) {
            // Who holds it for another reason meanwhile is faster, and right.
            if deletion.act(OperatorAction::Release, by, now).is_ok()
                && table.put_deletion(&mut deletion).await? == Stored::New
            {
                released += 1;
            }
        }
        if released == before {
            return Ok(WasReset { source: source.clone(), by: by.to_owned(), allow, released });
        }
    }
}
