//! Lists as CSV, for spreadsheets: RFC 4180, with a header of the names that the fields have in JSON.
//!
//! A list in a field is written with spaces between its entries, an object as `name=value`. Times and durations are those of
//! JSON: RFC 3339 in UTC, and seconds.

use serde::Serialize;
use serde_json::{Map, Value};

/// The list of an answer, or its lists, and the columns. A column is the path of a field: `ended.at` is the field `at` of
/// the field `ended`. What an entry lacks is taken from the answer itself.
#[derive(Debug)]
pub struct Sheet {
    /// The fields of the answer that are lists. If there are several, the first column names the list.
    pub lists: &'static [&'static str],
    /// The columns.
    pub columns: &'static [&'static str],
}

impl Sheet {
    /// The answer as CSV.
    pub(crate) fn csv(&self, answer: &impl Serialize) -> Result<String, serde_json::Error> {
        let answer = answers::time::json(answer)?;
        let several = self.lists.len() > 1;
        let mut text =
            line(several.then_some("list").into_iter().chain(self.columns.iter().copied()).map(str::to_owned));
        for list in self.lists {
            for entry in answer.get(list).and_then(Value::as_array).into_iter().flatten() {
                let cells =
                    self.columns.iter().map(|column| cell(find(entry, column).or_else(|| own(&answer, column))));
                text.push_str(&line(several.then(|| (*list).to_owned()).into_iter().chain(cells)));
            }
        }
        Ok(text)
    }
}

fn find<'a>(entry: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(entry, |value, name| value.get(name))
}

/// A field of the answer itself, unless it is a list or an object.
fn own<'a>(answer: &'a Value, name: &str) -> Option<&'a Value> {
    answer.get(name).filter(|value| !value.is_array() && !value.is_object())
}

/// The text of a field. No spreadsheet takes it for a formula: what begins like one gets an apostrophe.
/// <https://owasp.org/www-community/attacks/CSV_Injection>
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Number(number)) => number.to_string(),
        Some(value) => {
            let text = text(value);
            if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{text}") } else { text }
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(entries) => entries.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => pairs(fields),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn pairs(fields: &Map<String, Value>) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(" ")
}

/// A line of RFC 4180. <https://www.rfc-editor.org/rfc/rfc4180#section-2>
fn line(cells: impl Iterator<Item = String>) -> String {
    let quoted = cells.map(|cell| {
        if cell.contains([',', '"', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
    });
    quoted.collect::<Vec<_>>().join(",") + "\r\n"
}

/// `activity`
pub(super) const ACTIVITY: Sheet = Sheet {
    lists: &["activity"],
    columns: &[
        "time",
        "kind",
        "action",
        "registry",
        "repository",
        "digest",
        "tags",
        "actor",
        "cause",
        "incident",
        "until",
        "call",
        "setting",
        "code",
        "reason",
        "event_id",
        "summary",
    ],
};

/// `alerts`
pub(super) const ALERTS: Sheet = Sheet {
    lists: &["open", "alerts"],
    columns: &[
        "id",
        "incident",
        "time",
        "opened_at",
        "kind",
        "state",
        "severity",
        "subject",
        "source",
        "destination",
        "repository",
        "digest",
        "repositories",
        "count",
        "open",
        "arrived",
        "why",
        "message",
        "remediation",
    ],
};

/// `deletions`, with and without `--until`
pub(super) const DELETIONS: Sheet = Sheet {
    lists: &["deletions"],
    columns: &[
        "repository",
        "digest",
        "tag",
        "tags",
        "registry",
        "source",
        "status",
        "since",
        "due",
        "changed_at",
        "action",
        "needs_approval",
        "policies",
        "attempts",
        "size_bytes",
        "version",
        "summary",
    ],
};

/// `drift`
pub(crate) const DRIFT: Sheet = Sheet {
    lists: &["differences", "orphans"],
    columns: &[
        "repository",
        "digest",
        "source",
        "destination",
        "drift",
        "pushed_at",
        "expected",
        "only_at_source",
        "only_at_replica",
        "registry",
        "status",
        "tags",
        "sources",
        "summary",
    ],
};

/// `doctor`
#[cfg(feature = "doctor")]
pub(crate) const FINDINGS: Sheet = Sheet { lists: &["findings"], columns: &["level", "place", "what", "fix"] };

/// `history`
pub(super) const HISTORY: Sheet = Sheet {
    lists: &["history"],
    columns: &["repository", "tag", "registry", "digest", "from", "ended.at", "ended.why", "ended.to", "summary"],
};

/// `holds`
pub(super) const HOLDS: Sheet = Sheet {
    lists: &["pauses", "holds"],
    columns: &["id", "pattern", "source", "by", "at", "until", "reason", "summary"],
};

/// `images`
pub(super) const IMAGES: Sheet =
    Sheet { lists: &["images"], columns: &["repository", "digest", "tags", "pushed_at", "registries", "not_arrived"] };

/// `lag`
pub(super) const LAG: Sheet = Sheet {
    lists: &["lanes", "late"],
    columns: &[
        "source",
        "destination",
        "repository",
        "digest",
        "tag",
        "count",
        "not_arrived",
        "p50_seconds",
        "p90_seconds",
        "p99_seconds",
        "worst_seconds",
        "within",
        "pushed_at",
        "kind",
        "severity",
        "why",
    ],
};

/// `orphans`
pub(super) const ORPHANS: Sheet = Sheet {
    lists: &["orphans"],
    columns: &["repository", "digest", "registry", "status", "tags", "sources", "summary"],
};

/// `policy preview`
pub(super) const PREVIEW: Sheet = Sheet {
    lists: &["replicas"],
    columns: &[
        "planned_action",
        "repository",
        "digest",
        "registry",
        "tag",
        "recorded",
        "size_bytes",
        "policies",
        "why",
    ],
};

/// `where`
pub(super) const PRESENCE: Sheet = Sheet {
    lists: &["registries"],
    columns: &["asked", "repository", "digest", "registry", "there", "wanted", "state", "summary"],
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SHEET: Sheet = Sheet { lists: &["list"], columns: &["of", "text", "ended.at", "tags", "counts", "seconds"] };

    #[test]
    fn fields_are_quoted_as_rfc_4180_says() {
        let answer = json!({"of": "all", "list": [
            {"text": "a, \"b\"\nc", "ended": {"at": "2026-11-16T12:00:00Z"}, "tags": ["v1", "v2"], "counts": {"a": 1, "b": null}},
            {"text": "plain", "of": "own", "seconds": 90},
        ]});
        let lines = "of,text,ended.at,tags,counts,seconds\r\n\
                     all,\"a, \"\"b\"\"\nc\",2026-11-16T12:00:00Z,v1 v2,a=1 b=,\r\n\
                     own,plain,,,,90\r\n";
        assert_eq!(SHEET.csv(&answer).unwrap(), lines);
        assert_eq!(SHEET.csv(&json!({"list": []})).unwrap(), "of,text,ended.at,tags,counts,seconds\r\n");
    }

    #[test]
    fn nothing_is_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(cell(Some(&json!(text))), format!("'{text}"));
            assert_eq!(cell(Some(&json!([text, "v1"]))), format!("'{text} v1"));
        }
        for text in ["v1=2", "a-b", "2026-11-16"] {
            assert_eq!(cell(Some(&json!(text))), text);
        }
        assert_eq!(cell(Some(&json!(-1.5))), "-1.5");
    }
}
