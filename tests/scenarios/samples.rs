use std::{fmt::Write, path::Path};

use domain::{
    event::{self, Event},
    fact::Subject,
};

use crate::test_table::{Store, deliver};

/// Each sample alone, through the function: whether it is accepted, and the lineage of its image.
#[tokio::test]
async fn every_documented_event_becomes_lineage_or_is_rejected_for_a_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/events");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut report = String::new();
    for file in files {
        let body = std::fs::read_to_string(&file).unwrap();
        let store = Store::new().await;
        let failed = deliver(&store.table, [body.clone()]).await;
        writeln!(report, "## {}", file.file_name().unwrap().display()).unwrap();
        match event::read(body.as_bytes()) {
            Ok(event) => {
                assert_eq!(failed, Vec::<String>::new());
                // Delivering it again, twice in one batch, changes nothing.
                let once = store.dump().await;
                assert_eq!(deliver(&store.table, [body.clone(), body]).await, Vec::<String>::new());
                assert_eq!(store.dump().await, once);
                report.push_str(&lineage(&store, &event).await);
            }
            Err(reject) => {
                assert_eq!(failed, ["0"]);
                // Only the alert about it.
                assert!(store.dump().await.keys().all(|(pk, _)| pk.starts_with("alert#")));
                let reason = retry::chain(&reject);
                writeln!(report, "rejected: {reason}").unwrap();
            }
        }
        report.push('\n');
    }
    insta::assert_snapshot!(report);
}

async fn lineage(store: &Store, event: &Event) -> String {
    let mut text = String::new();
    for fact in &event.facts {
        match &fact.subject {
            Subject::Image(image) => {
                let lineage = store.table.lineage(image).await.unwrap();
                let places = serde_json::to_string_pretty(&lineage.whereabouts()).unwrap();
                let facts = serde_json::to_string_pretty(&lineage.facts).unwrap();
                writeln!(text, "{image}\nwhere: {places}\nfacts: {facts}").unwrap();
            }
            subject => writeln!(text, "about {subject:?}: {}", serde_json::to_string_pretty(fact).unwrap()).unwrap(),
        }
    }
    text
}
