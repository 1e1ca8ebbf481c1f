//! The identity of ECR's own events: what they say, where and when.
//!
//! The envelope's `id` is not that identity. An archive replay gives the same event a new `id`, and so does a bus that
//! forwards it to a bus in another region
//! (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-replay-archived-event.html>). The names of events from
//! another path, such as a file that a person saved, may be lost altogether.

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::image::Registry;

/// The number of bytes of the hash that become part of the id: 128 bits, so that two events do not share one by chance.
const BYTES: usize = 16;

/// The id of an event: `ecr-` and 32 hexadecimal digits. Two events have the same id if they have the same registry,
/// `detail-type`, time and `detail`, whatever the order of the fields.
pub(super) fn of(registry: &Registry, detail_type: &str, time: Timestamp, detail: &Value) -> String {
    let mut text = format!("{registry}\n{detail_type}\n{time}\n");
    write_sorted(detail, &mut text);
    let hash = Sha256::digest(text);
    hash.iter().take(BYTES).fold("ecr-".to_owned(), |id, byte| id + &format!("{byte:02x}"))
}

/// Writes JSON with the fields of each object in alphabetical order.
fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in fields {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_sorted(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for value in values {
                write_sorted(value, text);
                text.push(',');
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(region: &str, detail_type: &str, second: i64, detail: &Value) -> String {
        let registry = Registry::new("111122223333", region).unwrap();
        of(&registry, detail_type, Timestamp::from_second(second).unwrap(), detail)
    }

    #[test]
    fn every_part_of_an_event_is_part_of_its_identity() {
        let detail = json!({"result": "SUCCESS", "image-tag": "v1"});
        let one = id("eu-west-1", "ECR Image Action", 7, &detail);
        // Computed by another program, with SHA-256 of the text that `of` describes.
        assert_eq!(one, "ecr-b2da7716e891f1bd4dcf9bfa8d8cc068");
        for other in [
            id("eu-west-2", "ECR Image Action", 7, &detail),
            id("eu-west-1", "ECR Referrer Action", 7, &detail),
            id("eu-west-1", "ECR Image Action", 8, &detail),
            id("eu-west-1", "ECR Image Action", 7, &json!({"result": "SUCCESS", "image-tag": "v2"})),
            id("eu-west-1", "ECR Image Action", 7, &json!({"result": "SUCCESS", "image-tag": null})),
            id("eu-west-1", "ECR Image Action", 7, &json!({"result": "SUCCESS"})),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn the_order_of_fields_is_not_part_of_the_identity() {
        let one = json!({"a": {"x": [1, {"p": 1, "q": 2}], "y": 2}, "b": null});
        let other: Value = serde_json::from_str(r#"{"b": null, "a": {"y": 2, "x": [1, {"q": 2, "p": 1}]}}"#).unwrap();
        assert_eq!(id("eu-west-1", "x", 7, &one), id("eu-west-1", "x", 7, &other));
        // Quotes are escaped, so that a text cannot look like the end of one.
        assert_ne!(
            id("eu-west-1", "x", 7, &json!({"a": "1\",\"b\":\"2"})),
            id("eu-west-1", "x", 7, &json!({"a": "1", "b": "2"}))
        );
    }
}
