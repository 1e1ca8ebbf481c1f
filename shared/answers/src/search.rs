//! Search for repositories, tags, images, registries and people by a part of their names.
//!
//! Nothing here reads a whole index. Names of repositories are found by one read each; an exact tag and the beginning of
//! a digest by one read for each repository; and all else in the newest activity.

use std::collections::BTreeSet;

use domain::{
    activity::{Activity, ActivityKind},
    image::{Image, Registry, RepositoryName, Tag},
    tag::TagName,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use store::{ActivityBounds, Table};
use utoipa::ToSchema;

use crate::{
    READS_AT_A_TIME,
    cursor::Cursor,
    reference::{Reference, ReferenceError, without_registry},
};

/// The matches of a search text. At most 50 of each kind.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct SearchResult {
    /// Repositories with the text in their names: first those that begin with it, then by name.
    pub repositories: Vec<RepositoryName>,
    /// Tags as `REPO:TAG`: first that which is meant exactly, then those which have exactly this name in any repository,
    /// then those with the text in them. Among the latter are all tags of the repository if the text is `REPO:TAG` with
    /// parts of both, and else those of the newest activity.
    pub tags: Vec<String>,
    /// Images whose digests begin with the text, by name; and those of the newest activity with the text in their digests.
    pub images: BTreeSet<Image>,
    /// Registries with the text in their accounts or regions, by name.
    pub registries: BTreeSet<Registry>,
    /// Actors of the newest activity with the text in their names, by name.
    pub actors: BTreeSet<String>,
    /// Since when activity was searched for parts of tags, digests and actors; absent if that is all of the last 30 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity_since: Option<Timestamp>,
}

/// The largest number of matches of each kind.
const MOST: usize = 50;

/// The largest number of repositories in which an exact tag is looked for.
const MOST_REPOSITORIES: usize = 1_000;

/// The largest number of repositories of which all tags are read, and of their images in each registry.
const MOST_READ: usize = 5;
const MOST_IMAGES: usize = 20_000;

/// The newest activity that is searched: the number of entries, and how old they are at most.
const ACTIVITY: usize = 1_000;
const ACTIVITY_AGE: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Searches for a text. Several words must all be in the name.
///
/// # Errors
/// When the table cannot be read.
pub async fn search(table: &Table, text: &str, now: Timestamp) -> Result<SearchResult, store::Error> {
    let text = text.trim();
    let text = without_registry(text).map_or(text, |(_, text)| text);
    if text.is_empty() {
        return Ok(SearchResult::default());
    }
    let mut found = SearchResult::default();
    let reference = text.parse::<Reference>();
    let words = Words::of(text);
    let (known, recent) = futures::try_join!(repositories(table, "", None, usize::MAX), newest(table, now))?;
    found.registries = table.registries().await?.into_iter().filter(|one| words.are_in(&one.to_string())).collect();
    found.tags = tags(table, &reference, text, &known.0).await?;
    match &reference {
        Ok(Reference::Exact(image)) if !table.placements(image).await?.is_empty() => {
            found.images.insert(image.clone());
        }
        Ok(Reference::Short { repository, digest }) => found.images = table.find(digest, repository.as_ref()).await?,
        _ => {}
    }
    let mut named: Vec<_> = known.0.into_iter().map(|known| known.repository).collect();
    named.retain(|name| words.are_in(name.as_str()));
    named.sort_by_key(|name| !name.as_str().starts_with(text));
    found.repositories = named;
    found.add_recent(&words, &recent);
    found.activity_since = recent.get(ACTIVITY - 1).map(Activity::time);
    Ok(found.shortened())
}

/// The words of a search text, without regard to case.
struct Words(Vec<String>);

impl Words {
    fn of(text: &str) -> Self {
        Self(text.to_lowercase().split_whitespace().map(str::to_owned).collect())
    }

    fn are_in(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.0.iter().all(|word| name.contains(word.as_str()))
    }
}

impl SearchResult {
    /// Adds what the newest activity has with the words.
    fn add_recent(&mut self, words: &Words, recent: &[Activity]) {
        let mut tags = BTreeSet::new();
        for activity in recent {
            self.actors.extend(activity.actor().filter(|actor| words.are_in(actor)).map(str::to_owned));
            let Some(repository) = activity.repository().and_then(|name| name.parse::<RepositoryName>().ok()) else {
                continue;
            };
            // The repository alone is not what is meant.
            if words.are_in(repository.as_str()) {
                continue;
            }
            let named = activity.tags().into_iter().map(|tag| format!("{repository}:{tag}"));
            tags.extend(named.filter(|name| words.are_in(name)));
            if let Some(digest) = activity.digest().filter(|digest| words.are_in(&format!("{repository}@{digest}"))) {
                self.images.insert(Image { repository, digest });
            }
        }
        tags.retain(|tag| !self.tags.contains(tag));
        self.tags.extend(tags);
    }

    fn shortened(mut self) -> Self {
        self.repositories.truncate(MOST);
        self.tags.truncate(MOST);
        self.images = self.images.into_iter().take(MOST).collect();
        self.registries = self.registries.into_iter().take(MOST).collect();
        self.actors = self.actors.into_iter().take(MOST).collect();
        self
    }
}

/// The newest activity of every kind.
async fn newest(table: &Table, now: Timestamp) -> Result<Vec<Activity>, store::Error> {
    let since = now.checked_sub(ACTIVITY_AGE).unwrap_or(Timestamp::UNIX_EPOCH);
    let kinds = ActivityKind::ALL.into();
    let bounds = ActivityBounds { kinds: &kinds, since, until: None, after: None, most: ACTIVITY, examined: ACTIVITY };
    Ok(table.activity(bounds, |_| true).await?.0)
}

/// The tags that the text means: that which it names, those with exactly this name, and those of the repositories that it
/// names a part of.
async fn tags(
    table: &Table,
    reference: &Result<Reference, ReferenceError>,
    text: &str,
    known: &[KnownRepository],
) -> Result<Vec<String>, store::Error> {
    let mut found = Vec::new();
    if let Ok(Reference::Tagged(tag)) = reference {
        if table.has_tag(&tag.name).await? {
            found.push(tag.to_string());
        }
        let words = Words::of(text);
        let part = tag.name.repository.as_str();
        let named = known.iter().filter(|known| known.repository.as_str().contains(part)).take(MOST_READ);
        let places = named.flat_map(|known| known.registries.iter().map(move |registry| (registry, &known.repository)));
        let reads = places.map(|(registry, repository)| {
            let words = &words;
            async move {
                let is_meant = |tag: &Tag| words.are_in(&format!("{repository}:{tag}"));
                let tags = table.tags_in(registry, repository, MOST_IMAGES, is_meant).await?;
                Ok::<_, store::Error>(tags.into_iter().map(move |tag| format!("{repository}:{tag}")))
            }
        });
        let reads: Vec<_> = reads.collect();
        let all: Vec<_> = stream::iter(reads).buffered(READS_AT_A_TIME).try_collect().await?;
        let all: BTreeSet<_> = all.into_iter().flatten().filter(|tag| !found.contains(tag)).collect();
        found.extend(all);
    } else if let Ok(tag) = text.parse::<Tag>() {
        let names = known.iter().take(MOST_REPOSITORIES);
        let names = names.map(|known| TagName { repository: known.repository.clone(), tag: tag.clone() });
        let reads: Vec<_> = names
            .map(|name| async move { Ok::<_, store::Error>(table.has_tag(&name).await?.then_some(name)) })
            .collect();
        let all: Vec<_> = stream::iter(reads).buffered(READS_AT_A_TIME).try_collect().await?;
        found.extend(all.into_iter().flatten().map(|name| format!("{}:{}", name.repository, name.tag)));
    }
    Ok(found)
}

/// Repositories in the order of their names.
#[derive(Debug, Serialize, ToSchema)]
pub struct Repositories {
    /// The repositories, by name.
    pub repositories: Vec<KnownRepository>,
    /// The cursor for the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<RepositoryName>>,
}

/// A repository of which an event was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KnownRepository {
    /// The name of the repository.
    pub repository: RepositoryName,
    /// The registries that have or had images of the repository, by name.
    pub registries: BTreeSet<Registry>,
}

/// The repositories whose names begin with a prefix: at most `most`, after another one. Also returns whether there may
/// be more.
///
/// # Errors
/// When the table cannot be read.
pub async fn repositories(
    table: &Table,
    prefix: &str,
    after: Option<&RepositoryName>,
    most: usize,
) -> Result<(Vec<KnownRepository>, bool), store::Error> {
    let found = stream::iter(table.registries().await?).map(|registry| async move {
        let repositories = table.repositories(&registry, prefix, after, most.saturating_add(1)).await;
        repositories.map(|repositories| (registry, repositories))
    });
    let mut found = found.buffered(READS_AT_A_TIME);
    let mut all: Vec<KnownRepository> = Vec::new();
    while let Some((registry, repositories)) = found.try_next().await? {
        for repository in repositories {
            match all.iter_mut().find(|known| known.repository == repository) {
                Some(known) => _ = known.registries.insert(registry.clone()),
                None => all.push(KnownRepository { repository, registries: [registry.clone()].into() }),
            }
        }
    }
    // The order of the index: repository names followed by `@`.
    all.sort_by_key(|known| format!("{}@", known.repository));
    let more = all.len() > most;
    all.truncate(most);
    Ok((all, more))
}
