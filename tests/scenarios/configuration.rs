//! `docs/configuration.md`, the templates and the functions agree on every variable and every parameter.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use serde_json::Value;

use crate::templates::{resources, template};

const TEMPLATES: [&str; 5] = ["hub.yaml", "monitoring.yaml", "channels.yaml", "registry.yaml", "page.yaml"];

/// Variables that the AWS SDK or the start of every function reads, not `config.rs`.
const OF_THE_RUNTIME: [&str; 2] = ["SSL_CERT_FILE", "METRICS_NAMESPACE"];

/// The configuration of a function as text, or all its errors.
type Reading = Result<String, String>;

fn reading<C: Debug, E: ToString>(config: Result<C, E>) -> Reading {
    config.map(|config| format!("{config:?}")).map_err(|error| error.to_string())
}

/// Reads the configuration of the template's function `function` from these variables.
fn configure(function: &str, variable: impl Fn(&str) -> Option<String>) -> Reading {
    match function {
        "record" => reading(record::config::Config::read(variable)),
        "watch" => reading(watch::config::Config::read(variable)),
        "mirror" => reading(mirror::config::Config::read(variable)),
        "reconcile" => reading(reconcile::config::Config::read(variable)),
        "alert" => reading(alert::config::Config::read(variable)),
        "query" | "operate" => reading(query::config::Config::read(variable)),
        other => panic!("a function without configuration: {other}"),
    }
}

/// The variables that each function reads.
fn read_by(function: &str) -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    let _ = configure(function, |name| {
        asked.borrow_mut().insert(name.to_owned());
        None
    });
    asked.into_inner()
}

/// The variables that the template sets, with their values, by function.
fn set() -> BTreeMap<String, BTreeMap<String, Value>> {
    let hub = template("hub.yaml");
    let functions = resources(&hub, "AWS::Lambda::Function").into_iter().map(|(name, function)| {
        let variables = function["Properties"]["Environment"]["Variables"].as_object().unwrap();
        (name.to_lowercase(), variables.clone().into_iter().collect())
    });
    functions.collect()
}

/// A table row, with its cells by column heading.
struct Row {
    heading: Vec<String>,
    cells: BTreeMap<String, String>,
}

/// Every table row of a chapter of `docs/configuration.md`, with the words in backticks of the heading above its table.
fn rows(chapter: &str) -> Vec<Row> {
    let path = format!("{}/../docs/configuration.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let chapter = text.split("\n## ").find(|part| part.starts_with(chapter)).unwrap_or_else(|| panic!("no {chapter}"));
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    let (mut heading, mut columns, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for line in chapter.lines() {
        if line.starts_with("### ") {
            heading = line.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            columns.clear();
        } else if line.starts_with("|--") {
        } else if line.starts_with('|') && columns.is_empty() {
            columns = cells(line);
        } else if line.starts_with('|') {
            let cells = columns.iter().cloned().zip(cells(line)).collect();
            rows.push(Row { heading: heading.clone(), cells });
        }
    }
    rows
}

/// How the document writes a default value.
fn written(default: &Value) -> String {
    match default {
        Value::Null => "required".into(),
        Value::String(text) if text.is_empty() => "empty".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How the document writes a parameter's allowed values, unless they are a pattern.
fn allowed(parameter: &Value) -> Option<String> {
    if let Some(values) = parameter["AllowedValues"].as_array() {
        let values: Vec<_> = values.iter().map(written).collect();
        return Some(if values.len() < 10 { values.join(", ") } else { "what CloudWatch Logs offers".into() });
    }
    match (parameter["MinValue"].as_u64(), parameter["MaxValue"].as_u64()) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) => Some(format!("{least} or more")),
        _ => None,
    }
}

#[test]
fn every_variable_that_a_function_reads_is_set_and_the_reverse() {
    let set = set();
    assert_eq!(set.len(), 7, "functions of the template");
    for (function, variables) in set {
        let runtime = OF_THE_RUNTIME.map(str::to_owned);
        let set: BTreeSet<_> = variables.into_keys().filter(|name| !runtime.contains(name)).collect();
        // `alert` only publishes, so it reads no table name; the template sets it for all functions.
        let read = read_by(&function);
        let unused: BTreeSet<_> = set.difference(&read).collect();
        let expected = if function == "alert" { BTreeSet::from(["TABLE_NAME".to_owned()]) } else { BTreeSet::new() };
        assert_eq!(unused, expected.iter().collect(), "{function}: set and not read");
        assert_eq!(read.difference(&set).collect::<Vec<_>>(), Vec::<&String>::new(), "{function}: read and not set");
    }
}

#[test]
fn the_template_is_of_this_version() {
    let hub = template("hub.yaml");
    assert_eq!(hub["Outputs"]["Version"]["Value"], env!("CARGO_PKG_VERSION"));
    let prefix = concat!("ecr-lineage/", env!("CARGO_PKG_VERSION"));
    assert_eq!(hub["Parameters"]["ArtifactsPrefix"]["Default"], prefix);
}

#[test]
fn numbers_have_the_defaults_and_ranges_of_the_functions() {
    let hub = template("hub.yaml");
    let mut compared = BTreeSet::new();
    for (function, variables) in set() {
        for (variable, value) in variables {
            let Some(name) = value["Ref"].as_str() else { continue };
            let parameter = &hub["Parameters"][name];
            let optional = parameter["Default"] == "" && name != "Registries";
            if parameter["Type"] != "Number" && !optional {
                continue;
            }
            let with = |text: Option<String>| {
                configure(&function, |asked| match asked {
                    asked if asked == variable => text.clone(),
                    "TABLE_NAME" | "READ_ROLE" | "DELETE_ROLE" | "BUS_NAME" | "TOPIC_NAME" | "ACCOUNT_IDS" => {
                        Some("name".into())
                    }
                    _ => None,
                })
            };
            let default = parameter["Default"].as_str().map_or_else(|| parameter["Default"].to_string(), str::to_owned);
            assert_eq!(with(Some(default)), with(None), "{variable}: the default of {name}");
            if let (Some(least), Some(most)) = (parameter["MinValue"].as_i64(), parameter["MaxValue"].as_i64()) {
                for (number, is_right) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
                    assert_eq!(with(Some(number.to_string())).is_ok(), is_right, "{variable}={number}");
                }
            }
            compared.insert(variable);
        }
    }
    let expected = [
        "BREAKER_IMAGES",
        "BREAKER_LIFECYCLE_IMAGES",
        "BREAKER_LIFECYCLE_PERCENT",
        "BREAKER_PERCENT",
        "BREAKER_WINDOW_HOURS",
        "ORGANIZATION_ID",
        "PAGE_URL",
        "RECONCILE_CALLS_PER_SECOND",
        "RECONCILE_EVERY_HOURS",
        "RECONCILE_LIMITS",
        "SEVERITY_RULES",
        "USAGE_REVISIONS",
        "USAGE_SERVICES",
    ];
    assert_eq!(compared.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn the_document_has_every_variable_with_its_functions_and_its_parameter() {
    let hub = template("hub.yaml");
    let set = set();
    let mut documented = BTreeSet::new();
    for row in rows("Environment variables") {
        let cell = |name: &str| row.cells.get(name).unwrap_or_else(|| panic!("no column {name}")).clone();
        let variable = cell("Variable");
        for function in &row.heading {
            let value = &set[function][&variable];
            // The value comes from a parameter, or from a resource or a constant of the template.
            let parameter = value["Ref"].as_str().or_else(|| value["Fn::Sub"].as_str()).unwrap_or_default();
            let parameter =
                parameter.trim_start_matches("/opt/").trim_start_matches("${RolePath}").trim_matches(['$', '{', '}']);
            let parameter = Some(parameter).filter(|name| hub["Parameters"].get(*name).is_some());
            assert_eq!(cell("Set by parameter"), parameter.unwrap_or("–"), "{function}: {variable}");
            if let Some(allowed) = parameter.and_then(|name| allowed(&hub["Parameters"][name])) {
                assert_eq!(cell("Values"), allowed, "{variable}");
                assert_eq!(cell("Default"), written(&hub["Parameters"][parameter.unwrap()]["Default"]), "{variable}");
            }
            assert!(documented.insert((function.clone(), variable.clone())), "twice: {function} {variable}");
        }
    }
    let functions = set.keys().flat_map(|function| {
        let runtime = set[function].keys().filter(|name| OF_THE_RUNTIME.contains(&name.as_str())).cloned();
        read_by(function).into_iter().chain(runtime).map(|variable| (function.clone(), variable)).collect::<Vec<_>>()
    });
    assert_eq!(documented, functions.collect());
}

#[test]
fn every_stage_variable_of_the_page_is_set_read_and_documented() {
    let asked = RefCell::new(BTreeSet::new());
    let _ = query::sign_in::SignIn::read(|name| {
        asked.borrow_mut().insert(name.to_owned());
        None
    });
    let page = template("page.yaml");
    let set = page["Resources"]["Stage"]["Properties"]["StageVariables"].as_object().unwrap();
    assert_eq!(asked.into_inner(), set.keys().cloned().collect());
    let documented = rows("Stage variables").into_iter().map(|row| {
        let (variable, parameter) = (row.cells["Variable"].clone(), row.cells["Set by parameter"].clone());
        assert!(
            set[&variable].to_string().contains(&format!("{{\"Ref\":\"{parameter}\"}}")),
            "{variable}: {parameter}"
        );
        variable
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), set.keys().cloned().collect());
}

#[test]
fn the_document_has_every_parameter_with_its_default_and_what_it_allows() {
    let mut documented = BTreeSet::new();
    for row in rows("Template parameters") {
        let cell = |name: &str| row.cells.get(name).unwrap_or_else(|| panic!("no column {name}")).clone();
        let name = cell("Parameter");
        for file in &row.heading {
            let parameter = &template(file)["Parameters"][&name];
            assert_eq!(cell("Default"), written(&parameter["Default"]), "{file}: {name}");
            if let Some(allowed) = allowed(parameter) {
                assert_eq!(cell("Values"), allowed, "{file}: {name}");
            }
            assert!(!cell("Meaning").is_empty(), "{file}: {name}");
            assert!(documented.insert((file.clone(), name.clone())), "twice: {file} {name}");
        }
    }
    let parameters = TEMPLATES.iter().flat_map(|file| {
        let parameters = template(file)["Parameters"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        parameters.into_iter().map(|name| ((*file).to_owned(), name))
    });
    assert_eq!(documented, parameters.collect());
}

#[test]
fn the_document_fits_the_screen() {
    let path = format!("{}/../docs/configuration.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    for line in text.lines() {
        assert!(line.chars().count() <= 120, "{line}");
    }
}
