//! What images cost.

use std::sync::Arc;

use answers::{
    costs::{self, CostReport},
    time::Moment,
};
use axum::extract::{Query as Parameters, State};
use domain::{
    costs::{CostScope, PriceTable},
    image::{Registry, RepositoryPattern},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, ApiResult, parameters::TimeRange};
use crate::api::{Query, problem::Problem};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CostsParameters {
    /// Only what this registry stores, as in `111122223333/us-east-1`.
    #[param(example = "444455556666/ap-northeast-1")]
    registry: Option<Registry>,
    /// Only these repositories: a name, as in `team/app`, or a pattern, as in `prod/*`.
    #[param(example = "team/*")]
    repository: Option<RepositoryPattern>,
    /// Only copies that are older than this, as in `90d`, and of which ECR recorded no pull for as long.
    #[param(value_type = Option<String>, example = "90d")]
    not_pulled: Option<Moment>,
    /// Transfers at this time or later, written as in the other lists.
    #[param(value_type = Option<String>, default = "30d", example = "30d")]
    from: Option<Moment>,
}

/// What images cost
///
/// Size and list price by registry, kind and repository, and what replication transferred, as the last listing of each
/// registry saw it.
#[utoipa::path(get, path = "/v1/costs", tag = "replication", params(CostsParameters), responses((status = 200, body = CostReport), Problem))]
pub(super) async fn costs(
    State(query): State<Arc<Query>>,
    Parameters(asked): Parameters<CostsParameters>,
) -> ApiResult<CostReport> {
    let now = (query.clock)();
    let scope = CostScope {
        registry: asked.registry.as_ref(),
        repositories: asked.repository.as_ref(),
        unpulled_since: asked.not_pulled.map(|not_pulled| not_pulled.at(now)),
        transferred_since: TimeRange::since(asked.from).of_days(30, now)?.from,
    };
    Ok(Answer(costs::costs(&query.table, &scope, &PriceTable::of_aws()).await?))
}
