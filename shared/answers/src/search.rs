//! Search for repositories, tags and images by a text.

use std::collections::BTreeSet;

use domain::image::{Image, Registry, RepositoryName};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use store::{PageBounds, Table};
use utoipa::ToSchema;

use crate::{READS_AT_A_TIME, cursor::Cursor, reference::Reference};

/// The matches of a search text.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct SearchResult {
    /// Repositories whose names begin with the text, by name.
    pub repositories: Vec<RepositoryName>,
    /// The tag, as `REPO:TAG`, if it was ever seen: none or one.
    pub tags: Vec<String>,
    /// Images whose digests begin with the text, by name.
    pub images: BTreeSet<Image>,
    /// The cursor for the next page of images; absent on the last page. A page may be empty and have a next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor<Image>>,
}

/// The largest number of repositories in a search result.
const MOST_REPOSITORIES: usize = 50;

/// The number of images that are read for one page of a search by digest.
const MOST_IMAGES: usize = 5_000;

/// Searches for a text. With `from`, a search by digest continues after that image, and repositories are left out.
///
/// # Errors
/// When the table cannot be read.
pub async fn search(table: &Table, text: &str, from: Option<Image>) -> Result<SearchResult, store::Error> {
    let text = text.trim();
    let mut found = SearchResult::default();
    let digest = match text.parse::<Reference>() {
        Ok(Reference::Tagged(tag)) => {
            if !table.tag_history(&tag.name).await?.is_empty() {
                found.tags.push(tag.to_string());
            }
            None
        }
        Ok(Reference::Exact(image)) => Some((Some(image.repository), image.digest.to_string())),
        Ok(Reference::Short { repository, digest }) => Some((repository, digest)),
        Err(_) => None,
    };
    if let Some((repository, digest)) = digest {
        let bounds = PageBounds { repository: repository.as_ref(), after: from.as_ref(), most: MOST_IMAGES };
        let (images, page_end) = table.find(&digest, bounds).await?;
        (found.images, found.next_cursor) = (images, page_end.next.map(Cursor));
    }
    let may_be_a_name = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/".contains(&b));
    if from.is_none() && may_be_a_name {
        let (repositories, _) = repositories(table, text, None, MOST_REPOSITORIES).await?;
        found.repositories = repositories.into_iter().map(|known| known.repository).collect();
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
