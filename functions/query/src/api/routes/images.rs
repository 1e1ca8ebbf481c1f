//! Search for images, and lists of repositories and images.

use std::sync::Arc;

use answers::{
    answer::{self, ImageFilter, Images},
    cursor::Cursor,
    search::{self, Repositories, SearchResult},
    time::Moment,
};
use axum::extract::{Query as Parameters, State};
use domain::image::{Registry, RepositoryName};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Answer, ApiResult,
    parameters::{PageSize, TimeRange, short},
};
use crate::api::{Query, problem::Problem};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchParameters {
    /// A part of the name of a repository, tag, registry or actor, several words that are all in it, `REPO:TAG`,
    /// `REPO@sha256:…`, or the beginning of a digest; with or without a host name.
    #[serde(deserialize_with = "short")]
    #[param(max_length = 512, example = "team/app:v1")]
    q: String,
}

/// Repositories, tags, images, registries and actors that match a search text
///
/// At most 50 of each. Nothing is scanned: parts of tags, of digests and of actors are found in the newest 1,000 entries
/// of activity; `activity_since` says how far back that is.
#[utoipa::path(get, path = "/v1/search", tag = "images", params(SearchParameters), responses((status = 200, body = SearchResult), Problem))]
pub(super) async fn search(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<SearchParameters>,
) -> ApiResult<SearchResult> {
    Ok(Answer(search::search(&query.table, &asked.q, (query.clock)()).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RepositoriesParameters {
    /// The beginning of the repositories' names.
    #[serde(default, deserialize_with = "short")]
    #[param(max_length = 512, example = "team/")]
    prefix: String,
    /// The number of entries on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: PageSize,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<RepositoryName>>,
}

/// Repositories by name.
#[utoipa::path(get, path = "/v1/repositories", tag = "images", params(RepositoriesParameters), responses((status = 200, body = Repositories), Problem))]
pub(super) async fn repositories(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<RepositoriesParameters>,
) -> ApiResult<Repositories> {
    let after = asked.cursor.map(|Cursor(repository)| repository);
    let (repositories, more) = search::repositories(&query.table, &asked.prefix, after.as_ref(), asked.limit.0).await?;
    let last = repositories.last().map(|known| Cursor(known.repository.clone()));
    Ok(Answer(Repositories { repositories, next_cursor: last.filter(|_| more) }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ImagesParameters {
    /// The repository, such as `team/app`.
    #[param(example = "team/app")]
    repository: RepositoryName,
    /// Only images that this registry has, and no other.
    #[param(example = "111122223333/eu-west-1")]
    only_in: Option<Registry>,
    /// Only images that some registry has, and this one does not.
    #[param(example = "444455556666/ap-northeast-1")]
    not_in: Option<Registry>,
    /// Only images with a copy that is older than this, as in `90d`, and of which ECR recorded no pull for as long.
    #[param(value_type = Option<String>, example = "90d")]
    not_pulled: Option<Moment>,
    /// The number of images that a page is about.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: PageSize,
    /// `next_cursor` of the previous response.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<answer::NewestFirst>>,
}

/// The images of a repository, newest push first
///
/// And the registries that have or had them. `from` and `to` choose by the time of the newest push to any registry.
#[utoipa::path(get, path = "/v1/images", tag = "images", params(ImagesParameters, TimeRange), responses((status = 200, body = Images), Problem))]
pub(super) async fn images(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<ImagesParameters>,
    Parameters(range): Parameters<TimeRange>,
) -> ApiResult<Images> {
    let after = asked.cursor.map(|Cursor(image)| image);
    let (table, now) = (&query.table, (query.clock)());
    let pushed = range.asked(now)?;
    let unpulled_since = asked.not_pulled.map(|not_pulled| not_pulled.at(now));
    let filter = ImageFilter { only_in: asked.only_in.as_ref(), not_in: asked.not_in.as_ref(), pushed, unpulled_since };
    Ok(Answer(answer::images(table, &asked.repository, filter, after, asked.limit.0, now).await?))
}
