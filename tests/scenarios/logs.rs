//! Every line that the functions log in any scenario is as `docs/logging.md` says: its fields are those of the table,
//! and it names what it is about.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    sync::{LazyLock, Mutex, Once},
};

use aws::log;
use serde_json::{Value, json};

use crate::test_table::{Store, handle_batch, messages};

/// The packages whose lines are checked.
const FUNCTIONS: [&str; 6] = ["alert", "mirror", "query", "reconcile", "record", "watch"];

/// The fields of every line.
const OF_EVERY_LINE: [&str; 4] = ["level", "message", "target", "timestamp"];

/// Fields that do not say what a line is about.
const OTHERS: [&str; 7] = ["action", "error", "method", "name", "policies", "source", "why"];

/// The fields in the table of `docs/logging.md`.
static DOCUMENTED: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
    let page = include_str!("../../docs/logging.md");
    let table = page.split("\n## Fields\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let names = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    names.flat_map(|(names, _)| names.split("`, `")).collect()
});

static WRITTEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Writes the functions' log into a list, and checks each line. Every table of a scenario calls this.
pub(crate) fn check() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(log::lines(None, || Checked)).unwrap());
}

struct Checked;

impl Write for Checked {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(line.to_vec()).unwrap();
        let wrong = mistakes(&text);
        assert!(wrong.is_empty(), "{wrong:?} in {text}");
        WRITTEN.lock().unwrap().push(text);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is wrong with a line of one of our functions.
fn mistakes(line: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(line).unwrap();
    let fields: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let target = value["target"].as_str().unwrap();
    if !FUNCTIONS.contains(&target.split("::").next().unwrap()) {
        return Vec::new();
    }
    let own: BTreeSet<_> = fields.difference(&OF_EVERY_LINE.into()).copied().collect();
    let mut mistakes: Vec<_> = own.difference(&DOCUMENTED).map(|name| format!("`{name}` is not documented")).collect();
    if own.is_subset(&OTHERS.into()) {
        mistakes.push("no field says what it is about".to_owned());
    }
    // Parsing keeps one of two fields with the same name.
    if value.to_string().len() != line.trim_end().len() {
        mistakes.push("a field is written twice".to_owned());
    }
    mistakes
}

#[test]
fn a_line_without_a_subject_and_an_undocumented_field_are_found() {
    let line = |more: &str| format!(r#"{{"timestamp":"","level":"WARN","message":"m","target":"watch"{more}}}"#);
    let good: [String; 0] = [];
    assert_eq!(mistakes(&line(r#","registry":"111122223333/eu-west-1","error":"e""#)), good);
    assert_eq!(mistakes(&line(r#","error":"e""#)), ["no field says what it is about"]);
    assert_eq!(mistakes(&line(r#","tag":"a","repository":"team/app""#)), ["`repository` is not documented"]);
    assert_eq!(mistakes(&line(r#","tag":"a","tag":"b""#)), ["a field is written twice"]);
    assert_eq!(mistakes(&line("").replace("watch", "hyper")), good);
}

#[tokio::test]
async fn a_rejected_message_is_logged_once_with_its_id() {
    let store = Store::new().await;
    let mut batch = messages(["not an event".to_owned()]);
    batch.records[0].message_id = Some("the message of this test".to_owned());
    handle_batch(&store.table, batch).await;
    let lines = WRITTEN.lock().unwrap().clone().into_iter();
    let lines = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let text = "not an event of a registry, bound for the dead letters";
    let ours: Vec<_> =
        lines.filter(|line| line["message"] == text && line["message.id"] == "the message of this test").collect();
    let [line] = &ours[..] else { panic!("{ours:?}") };
    assert_eq!((&line["level"], &line["target"]), (&json!("ERROR"), &json!("record")));
}
