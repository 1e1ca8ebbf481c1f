//! The templates of `infra`, parsed as data.

use serde_json::Value;

/// The text of a template.
pub(crate) fn source(file: &str) -> String {
    std::fs::read_to_string(format!("{}/../infra/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

pub(crate) fn template(file: &str) -> Value {
    serde_saphyr::from_str(&source(file)).unwrap()
}

/// The resources of a type, with their names.
pub(crate) fn resources<'a>(template: &'a Value, kind: &str) -> Vec<(&'a str, &'a Value)> {
    let all = template["Resources"].as_object().unwrap().iter();
    all.filter(|(_, resource)| resource["Type"] == kind).map(|(name, resource)| (name.as_str(), resource)).collect()
}
