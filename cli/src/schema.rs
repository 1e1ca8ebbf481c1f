//! `schema`: the JSON Schema of a command's JSON, from the OpenAPI document.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    failure::CliError,
    print::{HEADING, Print, styled},
};

/// The commands whose JSON is also an answer of the API, and the schema of it in the OpenAPI document.
pub const SCHEMAS: [(&str, &str); 23] = [
    ("show", "Shown"),
    ("history", "History"),
    ("images", "Images"),
    ("orphans", "Orphans"),
    ("activity", "ActivityReport"),
    ("costs", "CostReport"),
    ("lag", "LagReport"),
    ("alerts", "Alerts"),
    ("acknowledge", "WasAnswered"),
    ("snooze", "WasAnswered"),
    ("drift", "DriftReport"),
    ("deletions", "Deletions"),
    ("holds", "Holds"),
    ("breaker status", "Breakers"),
    ("breaker reset", "WasReset"),
    ("pause", "WasPaused"),
    ("resume", "WasResumed"),
    ("hold", "WasHeld"),
    ("release", "WasReleased"),
    ("approve", "Acted"),
    ("cancel", "Acted"),
    ("retry", "Acted"),
    ("registry forget", "WasForgotten"),
];

/// The commands that have a schema.
#[derive(Debug, Serialize)]
pub struct Schemas {
    /// Each command with the name of its schema.
    pub commands: Vec<CommandSchema>,
}

/// A command and its schema.
#[derive(Debug, Serialize)]
pub struct CommandSchema {
    /// The command, such as `breaker status`.
    pub command: &'static str,
    /// The name of the schema in the OpenAPI document.
    pub schema: &'static str,
}

/// Every command that has a schema.
#[must_use]
pub fn schemas() -> Schemas {
    let commands = SCHEMAS.iter().map(|(command, schema)| CommandSchema { command, schema });
    Schemas { commands: commands.collect() }
}

/// The JSON Schema of what a command prints with `--format json`.
///
/// # Errors
/// When the command has none.
pub fn schema(command: &str) -> Result<Value, CliError> {
    let known = SCHEMAS.iter().find(|(name, _)| *name == command);
    let (_, name) = known.ok_or_else(|| CliError::NoSchema { command: command.to_owned() })?;
    let document = serde_json::to_value(query::api::document()).map_err(std::io::Error::from)?;
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("ecr-lineage {command} --format json"),
        "$ref": format!("#/components/schemas/{name}"),
        "components": { "schemas": document.pointer("/components/schemas") },
    }))
}

impl Print for Schemas {
    fn table(&self, _: Option<u16>) -> String {
        let line =
            |one: &CommandSchema| format!("{}  {}\n", styled(HEADING, format!("{:<16}", one.command)), one.schema);
        self.commands.iter().map(line).collect::<String>()
            + "\n`ecr-lineage schema COMMAND` prints the schema. The API's document has it under the same name.\n"
    }
}
