//! `schema`: the JSON Schema of a command's JSON.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{OpenApi, ToSchema};

use crate::{
    failure::CliError,
    print::{HEADING, Print, styled},
};

/// The schemas of what no operation of the API answers.
#[derive(OpenApi)]
#[openapi(components(schemas(
    sandbox::demo::Demo,
    answers::preview::Explained,
    answers::preview::PolicyDiff,
    answers::audit::NativeDeletes,
    answers::lifecycle::LifecycleAudit,
    answers::restore::Restored,
    answers::restore::Copied,
    answers::restore::Drilled,
    crate::deploy::Plan,
    crate::drift::Drifted,
    crate::drift::Reconciled,
    crate::drift::Backfilled,
    crate::ingest::IngestSummary,
    crate::open::PageLink,
    crate::policies::ShippedPolicies,
    crate::policies::WrittenPolicy,
    crate::policies::CheckedPolicies,
    crate::policies::TestedPolicies,
    crate::usage::ImportedUsage,
    crate::usage::UsageLists,
    crate::usage::RemovedUsage,
    Schemas,
)))]
struct OwnSchemas;

#[cfg(feature = "doctor")]
#[derive(OpenApi)]
#[openapi(components(schemas(crate::doctor::Diagnosis, crate::policies::deploy::DeployedPolicy)))]
struct DoctorSchemas;

#[cfg(feature = "prove")]
#[derive(OpenApi)]
#[openapi(components(schemas(crate::policies::prove::Proof)))]
struct ProveSchemas;

/// The commands that print JSON, and the schemas of it: one for each kind of answer.
pub const SCHEMAS: &[(&str, &[&str])] = &[
    ("demo", &["Demo"]),
    #[cfg(feature = "doctor")]
    ("doctor", &["Diagnosis"]),
    ("deploy plan", &["Plan"]),
    ("open", &["PageLink"]),
    ("schema", &["Schemas"]),
    ("ingest", &["IngestSummary"]),
    ("show", &["Shown"]),
    ("where", &["Presence"]),
    ("wait", &["Presence"]),
    ("history", &["History"]),
    ("images", &["Images"]),
    ("orphans", &["Orphans"]),
    ("activity", &["ActivityReport"]),
    ("costs", &["CostReport"]),
    ("lag", &["LagReport"]),
    ("alerts", &["Alerts"]),
    ("acknowledge", &["WasAnswered"]),
    ("snooze", &["WasAnswered"]),
    ("drift", &["Drifted"]),
    ("reconcile", &["Reconciled"]),
    ("backfill", &["Backfilled"]),
    ("deletions", &["Deletions", "Schedule"]),
    ("holds", &["Holds"]),
    ("breaker status", &["Breakers"]),
    ("breaker reset", &["WasReset"]),
    ("usage import", &["ImportedUsage"]),
    ("usage lists", &["UsageLists"]),
    ("usage remove", &["RemovedUsage"]),
    ("pause", &["WasPaused"]),
    ("resume", &["WasResumed"]),
    ("hold", &["WasHeld"]),
    ("release", &["WasReleased"]),
    ("approve", &["Acted"]),
    ("cancel", &["Acted"]),
    ("retry", &["Acted"]),
    ("registry forget", &["WasForgotten"]),
    ("restore", &["Restored", "Copied", "Drilled"]),
    ("policy new", &["ShippedPolicies", "WrittenPolicy"]),
    ("policy check", &["CheckedPolicies"]),
    ("policy test", &["TestedPolicies"]),
    #[cfg(feature = "prove")]
    ("policy prove", &["Proof"]),
    ("policy preview", &["Preview"]),
    ("policy diff", &["PolicyDiff"]),
    #[cfg(feature = "doctor")]
    ("policy deploy", &["DeployedPolicy"]),
    ("policy explain", &["Explained"]),
    ("audit native-deletes", &["NativeDeletes"]),
    ("audit lifecycle", &["LifecycleAudit"]),
];

/// The commands that have a schema.
#[derive(Debug, Serialize, ToSchema)]
pub struct Schemas {
    /// Each command with the name of its schema.
    pub commands: Vec<CommandSchema>,
}

/// A command and its schema.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandSchema {
    /// The command, such as `breaker status`.
    pub command: &'static str,
    /// The names of its schemas: one for each kind of answer. Those of the API have the same names in its OpenAPI document.
    #[schema(value_type = Vec<String>)]
    pub schemas: &'static [&'static str],
}

/// Every command that has a schema.
#[must_use]
pub fn schemas() -> Schemas {
    let commands = SCHEMAS.iter().map(|(command, schemas)| CommandSchema { command, schemas });
    Schemas { commands: commands.collect() }
}

/// The JSON Schema of what a command prints with `--format json`.
///
/// # Errors
/// When the command has none.
pub fn schema(command: &str) -> Result<Value, CliError> {
    let known = SCHEMAS.iter().find(|(name, _)| *name == command);
    let (_, names) = known.ok_or_else(|| CliError::NoSchema { command: command.to_owned() })?;
    let references = names.iter().map(|name| json!({"$ref": format!("#/components/schemas/{name}")}));
    let components = components().map_err(std::io::Error::from)?;
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("ecr-lineage {command} --format json"),
        "anyOf": references.collect::<Vec<_>>(),
        "components": { "schemas": components },
    }))
}

/// The schemas of the API and those of the command line.
fn components() -> Result<Map<String, Value>, serde_json::Error> {
    let documents = [
        serde_json::to_value(query::api::document())?,
        serde_json::to_value(OwnSchemas::openapi())?,
        #[cfg(feature = "doctor")]
        serde_json::to_value(DoctorSchemas::openapi())?,
        #[cfg(feature = "prove")]
        serde_json::to_value(ProveSchemas::openapi())?,
    ];
    let mut all = Map::new();
    for mut document in documents {
        if let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas").map(Value::take) {
            all.extend(schemas);
        }
    }
    Ok(all)
}

impl Print for Schemas {
    fn table(&self, _: Option<u16>) -> String {
        let line = |one: &CommandSchema| {
            format!("{}  {}\n", styled(HEADING, format!("{:<20}", one.command)), one.schemas.join(", "))
        };
        self.commands.iter().map(line).collect::<String>()
            + "\n`ecr-lineage schema COMMAND` prints the schema. The API's document has its own under the same names.\n"
    }
}
