//! Deletions of replicas: lists and operator actions.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    deletion::{Deletion, DeletionStatus, OperatorAction},
    image::{Registry, Tag},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::{Listed, Stored, Table};
use utoipa::ToSchema;

use crate::{
    answer,
    cursor::Cursor,
    described::{DescribedDeletion, described},
    error::Error,
    reference::Reference,
};

/// Deletions of one status and source that are read at most for one list or in one step.
pub(crate) const MOST: usize = 1_000;

/// Deletions of replicas.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deletions {
    /// The deletions. On a page: by status, then by source, then the newest first.
    #[serde(serialize_with = "described")]
    #[schema(value_type = Vec<DescribedDeletion>)]
    pub deletions: Vec<Deletion>,
    /// Every status in words.
    #[schema(value_type = BTreeMap<String, String>)]
    pub status_texts: BTreeMap<DeletionStatus, &'static str>,
    /// The cursor for the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<DeletionsPageToken>>,
}

impl Deletions {
    fn new(deletions: Vec<Deletion>, next_cursor: Option<Cursor<DeletionsPageToken>>) -> Self {
        let status_texts = DeletionStatus::ALL.map(|status| (status, status.words())).into();
        Self { deletions, status_texts, next_cursor }
    }
}

/// The position at which the next page of deletions starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionsPageToken {
    status: DeletionStatus,
    source: Registry,
    /// The last deletion of the previous page; without one, start from the first.
    after: Option<Listed>,
}

/// Selects deletions for a list.
#[derive(Debug, Clone)]
pub struct DeletionFilter<'a> {
    /// Deletions with one of these statuses.
    pub statuses: BTreeSet<DeletionStatus>,
    /// Deletions from this source; without one, from every source.
    pub source: Option<&'a Registry>,
    /// Deletions that changed since this time.
    pub since: Timestamp,
}

impl DeletionFilter<'_> {
    /// Every status except `done` and `kept`.
    #[must_use]
    pub fn not_over() -> BTreeSet<DeletionStatus> {
        DeletionStatus::ALL
            .into_iter()
            .filter(|status| !matches!(status, DeletionStatus::Done | DeletionStatus::Kept))
            .collect()
    }
}

/// Answers `deletions`, with at most 1,000 of each status and source.
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
    Ok(Deletions::new(deletions, None))
}

/// One page of deletions, by status and by source.
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
                return Ok(Deletions::new(deletions, place(None)));
            }
            let (more, next) = table.deletions(*status, source, filter.since, after, most - deletions.len()).await?;
            deletions.extend(more);
            if next.is_some() {
                return Ok(Deletions::new(deletions, place(next)));
            }
        }
    }
    Ok(Deletions::new(deletions, None))
}

pub(crate) async fn sources(table: &Table, only: Option<&Registry>) -> Result<BTreeSet<Registry>, store::Error> {
    match only {
        Some(source) => Ok([source.clone()].into()),
        None => table.registries().await,
    }
}

/// An operator action, and the deletions after it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acted {
    /// The action.
    pub action: OperatorAction,
    /// What the caller did, in words, such as `put on hold`.
    pub action_text: &'static str,
    /// The caller who acted.
    pub by: String,
    /// The deletions that the action changed, in their new state.
    #[serde(serialize_with = "described")]
    #[schema(value_type = Vec<DescribedDeletion>)]
    pub deletions: Vec<Deletion>,
}

/// Selects the deletions of an operator action.
#[derive(Debug, Clone)]
pub struct DeletionSelector {
    /// The image.
    pub image: Reference,
    /// Only the deletions in this registry.
    pub registry: Option<Registry>,
    /// The deletions of the image itself, of its tags, or one of them.
    pub scope: DeletionScope,
}

/// Selects among the deletions of an image.
#[derive(Debug, Clone)]
pub enum DeletionScope {
    /// All: that of the image, and those of its tags.
    All,
    /// The deletion of this tag.
    OfTag(Tag),
    /// Exactly the version that the caller saw: anything newer is rejected (optimistic lock).
    Seen {
        /// The tag, if the deletion is of a tag and not of the image.
        tag: Option<Tag>,
        /// The version that the caller saw.
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

/// Applies an operator action to every selected deletion.
///
/// # Errors
/// When no deletion is selected, when none of them allows the action, when a deletion changed concurrently, or when the
/// table cannot be read or written.
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
        _ => Ok(Acted { action, action_text: action.past_tense(), by: by.to_owned(), deletions: acted }),
    }
}
