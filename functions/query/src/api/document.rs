//! The OpenAPI document, with examples; and the parameters that it names: no operation accepts another one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    extract::{Query as Parameters, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};
use utoipa::openapi::{OpenApi, RefOr, path::Operation};

use super::problem::{Problem, ProblemCode};

/// A request and an answer of each operation, by method and path. A test writes the answers.
const EXAMPLES: &str = include_str!("examples.json");

/// The part of the document about JSON, of a request or of an answer.
const JSON_CONTENT: [&str; 2] = ["content", "application/json"];

/// The longest name of an unknown parameter that is repeated, in characters.
const LONGEST_NAME: usize = 100;

/// The document with an example of each request and of each answer.
pub(super) fn with_examples(document: &OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let examples: BTreeMap<String, Map<String, Value>> = serde_json::from_str(EXAMPLES).unwrap_or_default();
    for (operation, mut example) in examples {
        let Some((method, path)) = operation.split_once(' ') else { continue };
        let method = method.to_ascii_lowercase();
        for (what, place) in [("request", &["requestBody"][..]), ("answer", &["responses", "200"])] {
            let operation = document.get_mut("paths").and_then(|paths| paths.get_mut(path)?.get_mut(&method));
            let content = place.iter().chain(&JSON_CONTENT).fold(operation, |at, name| at?.get_mut(*name));
            let content = content.and_then(Value::as_object_mut);
            if let (Some(content), Some(example)) = (content, example.remove(what)) {
                content.insert("example".to_owned(), example);
            }
        }
    }
    document
}

/// The names of the parameters of each operation, by path and method.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownParameters(Arc<BTreeMap<String, BTreeMap<&'static str, BTreeSet<String>>>>);

impl KnownParameters {
    pub(super) fn of(document: &OpenApi) -> Self {
        let names = |operation: &Operation| {
            let named = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
                RefOr::T(parameter) => Some(parameter.name.clone()),
                RefOr::Ref(_) => None,
            });
            named.collect::<BTreeSet<_>>()
        };
        let paths = document.paths.paths.iter().map(|(path, item)| {
            let operations = [("GET", &item.get), ("POST", &item.post)].into_iter();
            (path.clone(), operations.filter_map(|(method, of)| Some((method, names(of.as_ref()?)))).collect())
        });
        Self(Arc::new(paths.collect()))
    }
}

/// Refuses parameters that the operation does not have: a misspelled filter must not be one that is left out. The names of
/// a signature are not parameters.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html>
pub(super) async fn refuse_unknown(State(known): State<KnownParameters>, request: Request, next: Next) -> Response {
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let names = known.0.get(request.uri().path()).and_then(|operations| operations.get(method.as_str()));
    let Some(names) = names else { return next.run(request).await };
    let Ok(Parameters(given)) = Parameters::<Vec<(String, String)>>::try_from_uri(request.uri()) else {
        return Problem::new(ProblemCode::InvalidParameter, "the query cannot be read").into_response();
    };
    let unknown = given.iter().find(|(name, _)| !names.contains(name) && !name.starts_with("X-Amz-"));
    let Some((unknown, _)) = unknown else { return next.run(request).await };
    let unknown: String = unknown.chars().take(LONGEST_NAME).collect();
    let detail = format!("`{}` is no parameter of `{method} {}`", unknown.escape_debug(), request.uri().path());
    let all = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let remediation = if all.is_empty() { "it has none".to_owned() } else { format!("it has {all}") };
    Problem::new(ProblemCode::UnknownParameter, detail).remediation(remediation).into_response()
}
