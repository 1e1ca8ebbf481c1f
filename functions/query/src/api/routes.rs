//! All operations. The file of a subject has a function for each operation, and the parameters of each.

mod activity;
mod controls;
mod costs;
mod deletions;
mod images;
mod lineage;
mod operator_actions;
mod parameters;
mod policy;
mod presence;
mod problems;
mod replication;
mod responses;

use std::sync::Arc;

use answers::time;
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Query, problem::Problem};

type ApiResult<T> = Result<Answer<T>, Problem>;

/// An answer as JSON, with every time in one form.
struct Answer<T>(T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match time::json(&self.0) {
            Ok(json) => Json(json).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// The operations, in the order of the OpenAPI document.
pub(super) fn all() -> OpenApiRouter<Arc<Query>> {
    OpenApiRouter::new()
        .routes(routes!(replication::overview))
        .routes(routes!(images::search))
        .routes(routes!(images::repositories))
        .routes(routes!(images::images))
        .routes(routes!(lineage::lineage))
        .routes(routes!(lineage::graph))
        .routes(routes!(lineage::history))
        .routes(routes!(activity::activity))
        .routes(routes!(presence::presence))
        .routes(routes!(replication::alerts))
        .routes(routes!(responses::acknowledge))
        .routes(routes!(responses::snooze))
        .routes(routes!(replication::lag))
        .routes(routes!(replication::drift))
        .routes(routes!(replication::orphans))
        .routes(routes!(costs::costs))
        .routes(routes!(deletions::deletions))
        .routes(routes!(deletions::schedule))
        .routes(routes!(operator_actions::approve))
        .routes(routes!(operator_actions::cancel))
        .routes(routes!(operator_actions::retry))
        .routes(routes!(operator_actions::act_on_each))
        .routes(routes!(controls::pause))
        .routes(routes!(controls::resume))
        .routes(routes!(controls::holds, controls::hold))
        .routes(routes!(controls::release))
        .routes(routes!(deletions::breakers))
        .routes(routes!(deletions::preview_reset, operator_actions::reset))
        .routes(routes!(operator_actions::forget))
        .routes(routes!(policy::policy))
        .routes(routes!(policy::policy_preview))
        .routes(routes!(problems::problems))
}
