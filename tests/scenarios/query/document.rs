//! The OpenAPI document: what it says is what the API does, for every operation.

use std::{collections::BTreeSet, fs, path::PathBuf};

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Asking, operator, problem,
    site::{Operation, site},
};

/// A file of the repository.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

#[tokio::test]
async fn no_operation_accepts_a_parameter_that_it_does_not_have() {
    let asking = site().await;
    let operations = Operation::all(&asking).await;
    assert!(operations.len() > 25, "{}", operations.len());
    // Beside nonsense the parameters of all other operations, such as those of a list that a filter was taken from.
    let names = operations.iter().flat_map(Operation::parameters).map(|one| one["name"].as_str().unwrap());
    let names: BTreeSet<_> = names.chain(["repo", "Repository", "limit%20", "x%00"]).collect();
    let before = asking.store.dump().await;
    for operation in &operations {
        for name in names.iter().copied().filter(|name| !operation.has(name)) {
            let path = operation.asked(&[(name, "1")]);
            let answer = match operation.method.as_str() {
                "GET" => asking.get(&path).await,
                _ => asking.post(&path, &operation.body()).await,
            };
            problem(&answer, 400, &path);
            assert_eq!(answer.json()["code"], "unknown_parameter", "{path}");
        }
        // What a signed address has beside the parameters is not one of them.
        if operation.method == "GET" && !operation.has("wait") {
            let signed = asking.get(&operation.asked(&[("X-Amz-Signature", "ab12")])).await;
            assert_eq!(signed.status, StatusCode::OK, "{}: {}", operation.name(), signed.text);
        }
    }
    assert_eq!(asking.store.dump().await, before);
}

#[tokio::test]
async fn every_parameter_has_an_example_that_is_accepted() {
    let asking = site().await;
    for operation in Operation::all(&asking).await {
        for parameter in operation.parameters() {
            let name = parameter["name"].as_str().unwrap();
            assert!(parameter["description"].is_string(), "{}: {name}", operation.name());
            // A cursor means nothing to another table. Nothing happens to the image that would end the wait.
            if matches!(name, "cursor" | "wait") {
                continue;
            }
            let example = &parameter["example"];
            let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            assert_ne!(example, "null", "{}: {name} has no example", operation.name());
            let answer = asking.get(&operation.asked(&[(name, example.as_str())])).await;
            assert_eq!(answer.status, StatusCode::OK, "{} {name}={example}: {}", operation.name(), answer.text);
        }
    }
}

/// Every text that is a time.
fn times<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if text.parse::<Timestamp>().is_ok() => found.push(text),
        Value::Array(entries) => entries.iter().for_each(|entry| times(entry, found)),
        Value::Object(fields) => fields.values().for_each(|field| times(field, found)),
        _ => {}
    }
}

/// The examples are requests that people wrote, and the answers to them. `UPDATE_EXAMPLES=1` writes the answers.
#[tokio::test]
async fn the_example_of_each_answer_is_the_answer_to_the_example_of_its_request() {
    let update = std::env::var("UPDATE_EXAMPLES").is_ok();
    let path = file("functions/query/src/api/examples.json");
    let written: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let first = site().await;
    let document = first.get("/v1/openapi.json").await.json();
    let mut examples = Map::new();
    for operation in Operation::all(&first).await {
        let mut example = Map::new();
        if operation.method == "POST" {
            assert!(operation.body().is_object(), "{} has no example of its body", operation.name());
            example.insert("request".to_owned(), operation.body());
        }
        // Each on a table of its own: some change it. A preview of something would read ECR.
        let is_preview = operation.path == "/v1/policy/preview";
        let asking = if is_preview { Asking::new(operator()).await } else { site().await };
        let answer = operation.send(&asking).await;
        assert_eq!(answer.status, StatusCode::OK, "{}: {}", operation.name(), answer.text);
        let answer = answer.json();
        let mut schema = operation.described["responses"]["200"]["content"]["application/json"]["schema"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", operation.name());
        let mut found = Vec::new();
        times(&answer, &mut found);
        let other = found.into_iter().find(|time| time.len() != "2026-11-16T12:00:00Z".len());
        assert_eq!(other, None, "{}: a time in another form", operation.name());
        example.insert("answer".to_owned(), answer);
        examples.insert(operation.name(), example.into());
    }
    if update {
        fs::write(&path, serde_json::to_string_pretty(&examples).unwrap() + "\n").unwrap();
        return;
    }
    for (operation, example) in &examples {
        assert_eq!(example, &written[operation], "{operation}: `UPDATE_EXAMPLES=1` writes the answers");
    }
    assert_eq!(written.as_object().unwrap().len(), examples.len(), "an example of an operation that is gone");
}

#[tokio::test]
async fn every_kind_of_problem_is_listed_and_documented() {
    let asking = site().await;
    let kinds = asking.get("/v1/problems").await.json()["problems"].clone();
    let kinds = kinds.as_array().unwrap();
    assert!(kinds.is_sorted_by_key(|kind| kind["status"].as_u64()));
    let rows = kinds.iter().map(|kind| {
        let text = |field: &str| kind[field].as_str().unwrap();
        assert_eq!(text("type"), format!("/v1/problems#{}", text("code")));
        format!("| {} | `{}` | {} |", kind["status"], text("code"), text("title"))
    });
    let rows: Vec<_> = rows.collect();
    let documented = fs::read_to_string(file("docs/api.md")).unwrap();
    let documented: Vec<_> = documented.lines().skip_while(|line| *line != "| status | `code` | means |").collect();
    let documented: Vec<_> = documented.into_iter().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert_eq!(documented, rows, "docs/api.md:\n{}", rows.join("\n"));
    let document = asking.get("/v1/openapi.json").await.json();
    let codes: Vec<_> = kinds.iter().map(|kind| kind["code"].clone()).collect();
    assert_eq!(document["components"]["schemas"]["ProblemCode"]["enum"], json!(codes));
}

/// Visits each list in the schemas: its name and its description.
fn lists<'a>(schemas: &'a Value, name: &str, found: &mut Vec<(String, &'a str)>) {
    match schemas {
        Value::Object(fields) => {
            let is_list = fields.get("type").is_some_and(|kind| *kind == "array" || kind[0] == "array");
            if is_list {
                let description = fields.get("description").and_then(Value::as_str).unwrap_or_default();
                found.push((name.to_owned(), description));
            }
            for (field, value) in fields {
                let name = if field == "properties" { name.to_owned() } else { format!("{name}.{field}") };
                lists(value, &name, found);
            }
        }
        Value::Array(parts) => parts.iter().for_each(|part| lists(part, name, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_list_says_in_which_order_it_is() {
    let asking = site().await;
    let document = asking.get("/v1/openapi.json").await.json();
    let mut found = Vec::new();
    lists(&document["components"]["schemas"], "", &mut found);
    assert!(found.len() > 30, "{found:?}");
    let orders = ["newest", "oldest first", "by ", "in the order", "in order", "none or one"];
    let unordered: Vec<_> =
        found.into_iter().filter(|(_, text)| !orders.iter().any(|order| text.contains(order))).collect();
    assert!(unordered.is_empty(), "{unordered:#?}");
}

#[tokio::test]
async fn a_registry_or_repository_that_is_not_known_is_404_in_every_operation() {
    let asking = site().await;
    for operation in Operation::all(&asking).await {
        for (parameter, unknown) in [
            ("registry", "999999999999/eu-west-1"),
            ("source", "999999999999/eu-west-1"),
            ("destination", "999999999999/eu-west-1"),
            ("only_in", "999999999999/eu-west-1"),
            ("not_in", "999999999999/eu-west-1"),
            ("in", "me-south-1"),
            ("repository", "no/such"),
            ("image", "no/such:v1"),
            ("tag", "no/such:v1"),
        ] {
            if operation.has(parameter) {
                let path = operation.asked(&[(parameter, unknown)]);
                problem(&asking.get(&path).await, 404, &path);
            }
        }
    }
}
