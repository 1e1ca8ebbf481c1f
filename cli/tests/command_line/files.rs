use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::command::{User, sample};

/// The JSON output of `ingest` for some input, with the exit code.
fn ingest(user: &User, file: &str, input: &str) -> (Option<i32>, Value) {
    let ran = user.run_with(&["ingest", file, "--format", "json"], &[], input);
    assert_eq!(ran.err, "");
    (ran.code, serde_json::from_str(&ran.out).unwrap())
}

fn counts(read: u32, recorded: u32, known: u32, ignored: u32) -> Value {
    json!({"read": read, "recorded": recorded, "known": known, "ignored": ignored, "rejected": []})
}

fn line(sample: &str) -> String {
    serde_json::from_str::<Value>(sample).unwrap().to_string()
}

#[test]
fn ingest_reads_events_in_every_common_format() {
    let (push, delete) = (line(&sample("push.json")), line(&sample("delete.json")));
    let queue = json!({"Messages": [{"MessageId": "1", "Body": push}, {"MessageId": "2", "Body": delete}]});
    let lambda = json!({"Records": [
        {"messageId": "1", "eventSource": "aws:sqs", "body": push},
        {"messageId": "2", "eventSource": "aws:sqs", "body": delete},
    ]});
    let arn = "arn:aws:sns:us-west-2:123456789012:ecr-lineage-events";
    let time = "2026-11-02T09:00:00.000Z";
    let topic = |event: &str| json!({"Type": "Notification", "TopicArn": arn, "Timestamp": time, "Message": event});
    let (push_of_topic, delete_of_topic) = (topic(&push).to_string(), topic(&delete).to_string());
    for input in [
        format!("{push_of_topic}\n{delete_of_topic}"),
        json!({"Messages": [{"Body": push_of_topic}, {"Body": delete_of_topic}]}).to_string(),
        json!({"Records": [{"Sns": topic(&push)}, {"Sns": topic(&delete)}]}).to_string(),
        format!("{push}\n{delete}\n"),
        format!("{push}\r\n\r\n{delete}"),
        format!("[{push},{delete}]"),
        format!("[\n  {push},\n  {delete}\n]\n"),
        format!("\u{feff}{}{}", sample("push.json"), sample("delete.json")),
        queue.to_string(),
        lambda.to_string(),
        serde_json::to_string_pretty(&lambda).unwrap(),
        format!("{}\n{}", json!({"body": push}), json!({"Body": delete})),
    ] {
        let user = User::new();
        assert_eq!(ingest(&user, "-", &input), (Some(0), counts(2, 2, 0, 0)), "{input}");
        assert_eq!(ingest(&user, "-", &input), (Some(0), counts(2, 0, 2, 0)), "again: {input}");
    }
}

#[test]
fn a_cloudtrail_log_file_is_read_plain_and_compressed() {
    let event: Value = serde_json::from_str(&sample("cloudtrail-lifecycle-policy-execution.json")).unwrap();
    let other = json!({"eventID": "x", "eventSource": "s3.amazonaws.com", "eventName": "GetObject"});
    let mut dry = event["detail"].clone();
    dry["eventName"] = "DryRunEvent".into();
    dry["eventID"] = "y".into();
    let log = json!({"Records": [other, event["detail"], dry]}).to_string();
    let user = User::new();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(log.as_bytes()).unwrap();
    let plain = user.file("log.json", &log);
    let packed = user.file("log.json.gz", packed.finish().unwrap());
    assert_eq!(ingest(&user, &packed, ""), (Some(0), counts(3, 1, 0, 2)));
    assert_eq!(ingest(&user, &plain, ""), (Some(0), counts(3, 0, 1, 2)));
    let bus = user.file("event.json", event.to_string());
    assert_eq!(ingest(&user, &bus, ""), (Some(0), counts(1, 0, 1, 0)), "the same record from the bus");
}

#[test]
fn broken_events_are_rejected_with_their_line_and_the_others_are_recorded() {
    let user = User::new();
    let (push, delete) = (line(&sample("push.json")), line(&sample("delete.json")));
    let bad_time = line(&sample("pull-through-cache.json"));
    let cut: String = push.chars().take(100).collect();
    let file = user.file("events.jsonl", format!("{push}\n{cut}\n\nnonsense\n{{\"a\":1}}\n{bad_time}\n{delete}\n"));
    let ran = user.run(&["ingest", &file]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.out);
    let shown = user.run(&["show", "my-repository-name@7f5b"]);
    assert!(shown.out.contains("pushed as latest") && shown.out.contains("tag latest deleted"), "{}", shown.out);
}

#[test]
fn the_complete_events_of_a_truncated_array_are_recorded() {
    let (push, delete) = (line(&sample("push.json")), line(&sample("delete.json")));
    let cut: String = delete.chars().take(100).collect();
    for input in [format!("[{push},{cut}"), format!("[\n{push},\n{cut}")] {
        let (code, summary) = ingest(&User::new(), "-", &input);
        assert_eq!(code, Some(1));
        assert_eq!((&summary["recorded"], summary["rejected"].as_array().unwrap().len()), (&json!(1), 1));
    }
}

#[test]
fn empty_input_records_nothing() {
    for input in ["", "\n\n", "[]", " [ ] "] {
        assert_eq!(ingest(&User::new(), "-", input), (Some(0), counts(0, 0, 0, 0)));
    }
}

#[test]
fn a_file_too_long_for_one_batch_is_read_to_its_end() {
    let push = line(&sample("push.json"));
    let events: Vec<_> =
        (0..350).map(|n| push.replace("13cde686", &format!("{n:08}")).replace("cd1234", &format!("{n:06}"))).collect();
    assert_eq!(ingest(&User::new(), "-", &events.join("\n")), (Some(0), counts(350, 350, 0, 0)));
}
