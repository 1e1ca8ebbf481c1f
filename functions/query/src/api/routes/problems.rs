//! The kinds of problems.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::problem::{Problem, ProblemCode};

/// The kinds of problems that an operation may answer with.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problems {
    /// The kinds, by the number of their status.
    problems: Vec<ProblemKind>,
}

/// A kind of problem.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProblemKind {
    /// The kind as a URI: `type` of a problem.
    r#type: String,
    /// The kind, for programs.
    code: ProblemCode,
    /// The HTTP status code.
    status: u16,
    /// The kind in words.
    title: &'static str,
}

/// The kinds of problems, which `type` and `code` of a problem name.
#[utoipa::path(get, path = "/v1/problems", tag = "problems", responses((status = 200, body = Problems), Problem))]
pub(super) async fn problems() -> Json<Problems> {
    let kind = |code: ProblemCode| ProblemKind {
        r#type: code.uri(),
        code,
        status: code.status().as_u16(),
        title: code.title(),
    };
    Json(Problems { problems: ProblemCode::ALL.map(kind).into() })
}
