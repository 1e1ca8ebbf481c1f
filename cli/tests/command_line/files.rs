use std::{io::Write, path::Path, process::Stdio};

use base64::{Engine, prelude::BASE64_STANDARD};
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

/// The content of one of the files that people have.
fn real(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/files").join(name);
    std::fs::read(path).unwrap()
}

/// What `ingest` counts of some files: recorded, known, ignored, rejected.
fn counted(user: &User, paths: &[&str], options: &[&str]) -> ([u64; 4], Vec<String>) {
    let ran = user.run(&[&["ingest", "--format", "json"], options, paths].concat());
    assert_eq!(ran.err, "");
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    let rejected = summary.get("rejected").and_then(Value::as_array).unwrap();
    let sum = rejected.iter().filter_map(|one| one.get("count")?.as_u64()).sum();
    let of = |name: &str| summary.get(name).and_then(Value::as_u64).unwrap();
    let counts = [of("recorded"), of("known"), of("ignored"), sum];
    assert_eq!(of("read"), counts.iter().sum::<u64>(), "{summary}");
    assert_eq!(ran.code, Some(i32::from(sum > 0)), "{summary}");
    let field = |one: &Value, name: &str| one.get(name).cloned().unwrap_or_default();
    let text = |one: &Value| {
        let [line, entry, reason] = ["line", "entry", "reason"].map(|name| field(one, name));
        format!("{line} {entry}: {}", reason.as_str().unwrap())
    };
    (counts, rejected.iter().map(text).collect())
}

#[test]
fn every_form_in_which_people_have_events_is_read_or_named() {
    for (file, counts, reasons) in [
        ("push-of-a-tag-and-digest.json", [1, 0, 0, 0], vec![]),
        ("with-byte-order-mark.json", [1, 0, 0, 0], vec![]),
        ("eventbridge-lines.jsonl", [2, 0, 0, 0], vec![]),
        ("sns-notification.json", [1, 0, 0, 0], vec![]),
        ("sns-in-sqs.json", [1, 0, 0, 0], vec![]),
        ("sns-lambda.json", [1, 0, 0, 0], vec![]),
        ("cloudtrail-lookup-events.json", [1, 0, 0, 0], vec![]),
        ("logs-filter-log-events.json", [1, 0, 0, 0], vec![]),
        ("logs-subscription.json", [2, 0, 0, 0], vec![]),
        ("logs-subscription-lambda.json", [2, 0, 0, 0], vec![]),
        ("logs-export-000000.gz", [2, 0, 0, 0], vec![]),
        ("athena-json-row.json", [1, 0, 0, 0], vec![]),
        ("cloudtrail-time-with-space.json", [1, 0, 0, 0], vec![]),
        ("cloudtrail-lake-query-results.json", [1, 0, 0, 0], vec![]),
        ("cloudtrail-digest.json", [0, 0, 1, 0], vec![]),
        ("cloudtrail-insight.json", [0, 0, 1, 0], vec![]),
        (
            "security-lake-ocsf.json",
            [0, 0, 0, 1],
            vec![
                "1 1: an event in the form of OCSF, as in Security Lake, which is not read: pass CloudTrail's own log \
                 files",
            ],
        ),
        (
            "event-bus-log.json",
            [3, 1, 3, 4],
            vec![
                "1 1: a log of an event bus does not name its registry: pass it with `--registry ACCOUNT/REGION`",
                "9 9: a log of an event bus without the events' details: set `IncludeDetail` of the bus's logs to \
                 `FULL`",
                "10 10: a log of an event bus in which the event's detail is truncated",
            ],
        ),
        ("cloudtrail-invalid-utf8.json", [2, 0, 0, 1], vec!["1 1: not JSON: invalid unicode code point"]),
        ("cloudtrail-trailing-comma.json", [2, 0, 0, 1], vec!["1 1: not JSON: trailing comma"]),
        ("cloudtrail-truncated.json", [2, 0, 0, 1], vec!["1 3: not JSON: truncated"]),
        (
            "cloudtrail-torn.json.gz",
            [2, 0, 0, 1],
            vec!["1 3: damaged or unreadable from here on: incomplete deflate stream"],
        ),
    ] {
        let user = User::new();
        let path = user.file(file, real(file));
        assert_eq!(
            counted(&user, &[&path], &[]),
            (counts, reasons.iter().map(ToString::to_string).collect()),
            "{file}"
        );
        let [recorded, known, ignored, rejected] = counts;
        let again = [0, recorded + known, ignored, rejected];
        assert_eq!(counted(&user, &[&path], &[]).0, again, "{file}, again");
    }
}

#[test]
fn all_steps_in_a_log_of_an_event_bus_are_one_event() {
    let user = User::new();
    let path = user.file("log.json", real("event-bus-log.json"));
    // The push is in four records: two name no registry, and two have the whole event.
    assert_eq!(counted(&user, &[&path], &["--registry", "111122223333/eu-west-1"]).0, [3, 3, 3, 2]);
    let shown = user.run(&["show", "team/app:v1"]);
    assert!(shown.out.contains("111122223333/us-east-1"), "{}", shown.out);
}

/// The most memory that a process had in use, in KiB.
#[cfg(target_os = "linux")]
fn peak_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_a_compressed_trail() {
    const BYTES: usize = 128 << 20;
    let record = |name: &str| String::from_utf8(real(&format!("../records/{name}.json"))).unwrap();
    let (push, other) = (record("put-image"), record("another-service"));
    let id = serde_json::from_str::<Value>(&push).unwrap()["eventID"].as_str().unwrap().to_owned();
    let others = format!("{other},").repeat((1 << 18) / other.len());
    let user = User::new();
    let mut command = user.command(&["ingest", "-", "--format", "json"]);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut packed = GzEncoder::new(process.stdin.take().unwrap(), Compression::fast());
    packed.write_all(b"{\"Records\":[").unwrap();
    let (mut written, mut pushes) = (0, 0);
    while written < BYTES {
        let unique = push.replace(&id, &format!("{pushes:032}"));
        for text in [&others, &unique, ","] {
            packed.write_all(text.as_bytes()).unwrap();
            written += text.len();
        }
        pushes += 1;
    }
    packed.write_all(format!("{other}]}}").as_bytes()).unwrap();
    drop(packed.finish().unwrap());
    let mut peak = 0;
    while process.try_wait().unwrap().is_none() {
        peak = peak_kib(process.id()).unwrap_or_default().max(peak);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let output = process.wait_with_output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["recorded"], &summary["rejected"]), (&json!(pushes), &json!([])));
    println!("{} MiB at most for {} MiB of records", peak >> 10, written >> 20);
    assert!(0 < peak && peak < 100 << 10, "{peak} KiB");
}

#[test]
fn a_folder_is_read_whole_and_a_damaged_file_loses_itself_only() {
    let user = User::new();
    let folder = Path::new(user.path()).join("trail/AWSLogs/111122223333");
    for (path, file) in [
        ("CloudTrail/eu-west-1/2026/11/20/a.json", "with-byte-order-mark.json"),
        ("CloudTrail/eu-west-1/2026/11/21/b.json.gz", "cloudtrail-torn.json.gz"),
        ("CloudTrail/eu-west-1/2026/11/22/c.jsonl", "eventbridge-lines.jsonl"),
        ("CloudTrail-Digest/eu-west-1/2026/11/20/d.json", "cloudtrail-digest.json"),
        ("CloudTrail-Insight/eu-west-1/2026/11/20/e.json", "cloudtrail-insight.json"),
    ] {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, real(file)).unwrap();
    }
    std::fs::write(folder.join(".DS_Store"), "\0\0\0\u{1}Bud1").unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    let (counts, reasons) = counted(&user, &[folder.to_str().unwrap()], &[]);
    // The push is in two of the files.
    assert_eq!(counts, [4, 1, 2, 1]);
    assert_eq!(reasons, ["1 3: damaged or unreadable from here on: incomplete deflate stream"]);
}

/// A push and a deletion, as AWS documents them.
fn push_and_delete() -> [String; 2] {
    [line(&sample("push.json")), line(&sample("delete.json"))]
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Checks what `ingest` counts of some content, in a table of its own, with nothing rejected.
fn check(form: &str, input: impl AsRef<[u8]>, [recorded, known, ignored]: [u64; 3]) {
    let user = User::new();
    let path = user.file("input", input);
    assert_eq!(counted(&user, &[&path], &[]), ([recorded, known, ignored, 0], vec![]), "{form}");
}

#[test]
fn events_are_found_however_they_are_written_down() {
    let [push, delete] = push_and_delete();
    let utf16 = |text: &str, to: fn(u16) -> [u8; 2]| -> Vec<u8> {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(to).collect()
    };
    check("one after the other", format!("{push}{delete}"), [2, 0, 0]);
    check("pretty", [sample("push.json"), sample("delete.json")].concat(), [2, 0, 0]);
    check("JSON as a text", json!(push).to_string(), [1, 0, 0]);
    check("texts in a list", json!([push, delete]).to_string(), [2, 0, 0]);
    check("PowerShell 5", utf16(&format!("{push}\r\n{delete}\r\n"), u16::to_le_bytes), [2, 0, 0]);
    check("UTF-16, big endian", utf16(&push, u16::to_be_bytes), [1, 0, 0]);
    check("compressed twice", packed(&packed(push.as_bytes())), [1, 0, 0]);
    let other = json!([{"version": "0", "source": "aws.s3", "detail-type": "Object Created", "detail": {"object": {}}},
        {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {}}]);
    check("other services", other.to_string(), [0, 0, 2]);
}

#[test]
fn events_are_found_in_every_envelope_of_aws() {
    let event: Value = serde_json::from_str(&sample("push.json")).unwrap();
    let (push, detail) = (event.to_string(), event["detail"].to_string());
    let kinesis = json!({"eventSource": "aws:kinesis", "kinesis": {"data": BASE64_STANDARD.encode(&push)}});
    let request =
        json!({"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": event});
    let result = json!({"version": "0", "source": "lambda", "account": "123456789012", "region": "us-west-2",
        "detail-type": "Lambda Function Invocation Result - Failure", "detail": request});
    let cloud_event = json!({"specversion": "1.0", "type": "ECR Image Action", "source": "aws.ecr", "data": event});
    let bus = "arn:aws:events:us-west-2:123456789012:event-bus/images";
    let entry = json!({"Source": "aws.ecr", "DetailType": "ECR Image Action", "Detail": detail,
        "Time": "2019-11-16T01:54:34Z", "EventBusName": bus});
    for (form, input) in [
        ("Lambda, Kinesis", json!({"Records": [kinesis]})),
        ("Pipes", json!([{"messageId": "1", "eventSource": "aws:sqs", "body": push}])),
        ("Pipes, parsed", json!([{"messageId": "1", "body": event}])),
        ("Lambda destination", request),
        ("Lambda destination, by a bus", result),
        ("CloudEvents", cloud_event),
        ("PutEvents", json!({"Entries": [entry]})),
    ] {
        check(form, input.to_string(), [1, 0, 0]);
    }
}

#[test]
fn events_are_found_in_logs() {
    let [push, delete] = push_and_delete();
    let logs = json!({"messageType": "DATA_MESSAGE", "logEvents": [{"id": "1", "timestamp": 1, "message": push}, {
        "id": "2", "timestamp": 2, "message": delete}]})
    .to_string();
    let logs = packed(logs.as_bytes());
    check("Firehose, of a subscription", logs.repeat(2), [2, 2, 0]);
    check("Lambda, Firehose", json!({"records": [{"data": BASE64_STANDARD.encode(&logs)}]}).to_string(), [2, 0, 0]);
    let tail = format!(
        "2026-11-20T10:00:00.123000+00:00 stream {push}\n2026-11-20T10:00:01+00:00 2026/11/20/[$LATEST]ab START \
         RequestId: 1\n2026-11-20T10:00:00 {delete}\n"
    );
    check("aws logs tail", tail, [2, 0, 1]);
    let (first, second) = ("2026-11-20T10:00:00+00:00 stream\r\n", "2026-11-20T10:00:05+00:00 stream\n");
    let tail = [first, &sample("push.json"), second, &sample("delete.json")].concat();
    check("aws logs tail --format json", tail, [2, 0, 0]);
    let row =
        json!([{"field": "@timestamp", "value": "2026-11-20 10:00:00.000"}, {"field": "@message", "value": push}]);
    check("Logs Insights", json!({"results": [row], "status": "Complete"}).to_string(), [1, 0, 0]);
    let row = format!("@timestamp,@message\n2026-11-20 10:00:00.000,\"{}\"\n", push.replace('"', "\"\""));
    check("Logs Insights, CSV", row, [1, 0, 0]);
    let texts = ["START {RequestId: 1}", "[INFO] ready", "{\"level\": \"INFO\"}", &push];
    let texts = json!({"events": texts.map(|text| json!({"message": text}))});
    check("other text in a log", texts.to_string(), [1, 0, 3]);
}

/// As Athena writes the table of AWS's page, and as a person who selected less.
#[test]
fn the_rows_of_tables_are_records_if_they_have_all_columns() {
    let columns = "\"eventtime\",\"useridentity\",\"eventsource\",\"eventname\",\"awsregion\",\"errorcode\",\
                   \"requestparameters\",\"responseelements\",\"eventid\",\"recipientaccountid\"";
    let digest = format!("sha256:{}", "7c".repeat(32));
    let row = |id: &str| {
        format!(
            "\"2026-11-21T09:00:00Z\",\"{{type=AssumedRole, arn=arn:aws:sts::111122223333:assumed-role/platform/dana, \
             invokedby=null}}\",\"ecr.amazonaws.com\",\"BatchDeleteImage\",\"eu-west-1\",,\
             \"{{\"\"repositoryName\"\":\"\"team/app\"\",\"\"imageIds\"\":[{{\"\"imageTag\"\":\"\"v1\"\"}}]}}\",\
             \"{{\"\"imageIds\"\":[{{\"\"imageTag\"\":\"\"v1\"\",\"\"imageDigest\"\":\"\"{digest}\"\"}}],\"\"failures\"\":[]}}\",\
             \"{id}\",\"111122223333\""
        )
    };
    let user = User::new();
    let path = user.file("rows.csv", format!("{columns}\r\n{}\r\n{}\r\n", row("e-1"), row("e-2")));
    assert_eq!(counted(&user, &[&path], &[]), ([2, 0, 0, 0], vec![]));
    let shown = user.run(&["show", &format!("team/app@{digest}")]).out;
    assert!(shown.contains("assumed-role/platform/dana"), "{shown}");
    // The same as JSON, from the API.
    let datum = |text: &str| json!({"VarCharValue": text});
    let names = [
        "eventtime",
        "eventsource",
        "eventname",
        "awsregion",
        "requestparameters",
        "responseelements",
        "eventid",
        "recipientaccountid",
    ];
    let parameters = json!({"repositoryName": "team/app", "imageIds": [{"imageTag": "v1"}]}).to_string();
    let response = json!({"imageIds": [{"imageTag": "v1", "imageDigest": digest}]}).to_string();
    let values = [
        "2026-11-21T09:00:00Z",
        "ecr.amazonaws.com",
        "BatchDeleteImage",
        "eu-west-1",
        &parameters,
        &response,
        "e-1",
        "111122223333",
    ];
    let rows = [names, values].map(|row| json!({"Data": row.map(datum)}));
    let path = user.file("rows.json", json!({"UpdateCount": 0, "ResultSet": {"Rows": rows}}).to_string());
    assert_eq!(counted(&user, &[&path], &[]), ([0, 1, 0, 0], vec![]));
    let fewer =
        "eventTime,eventName,eventSource,eventID\n2026-11-21 09:00:00.000,BatchDeleteImage,ecr.amazonaws.com,e-3\n";
    let path = user.file("fewer.csv", format!("{fewer}{}", fewer.lines().nth(1).unwrap().replace("e-3", "e-4")));
    let (counts, reasons) = counted(&user, &[&path], &[]);
    assert_eq!((counts, reasons.len()), ([0, 0, 0, 2], 1));
    assert!(reasons[0].starts_with("2 1: a row without all columns of CloudTrail's records: field"), "{reasons:?}");
}

#[test]
fn a_list_of_images_is_an_observation_of_its_registry() {
    let digest = format!("sha256:{}", "7c".repeat(32));
    let described = json!({"imageDetails": [{"registryId": "111122223333", "repositoryName": "team/app",
        "imageDigest": digest, "imageTags": ["v1", "v2"], "imageStatus": "ACTIVE", "imagePushedAt": 1.0}]});
    let ids = json!([{"imageDigest": digest, "imageTag": "v3"}]);
    let user = User::new();
    let images = user.file("images.json", described.to_string());
    let listed = user.file("ids.json", json!({"imageIds": ids}).to_string());
    let deleted = user.file("deleted.json", json!({"imageIds": ids, "failures": []}).to_string());
    let (_, reasons) = counted(&user, &[&images], &[]);
    assert_eq!(reasons, ["1 1: a list of images does not name its registry: pass it with `--registry ACCOUNT/REGION`"]);
    let (_, reasons) = counted(&user, &[&images], &["--registry", "444455556666/eu-west-1"]);
    assert_eq!(reasons, ["1 1: a list of account 111122223333, which is not that of `--registry`"]);
    let at = ["--registry", "111122223333/eu-west-1", "--listed-at", "2026-11-20T10:00:00Z"];
    assert_eq!(counted(&user, &[&images], &at), ([1, 0, 0, 0], vec![]));
    assert_eq!(counted(&user, &[&images], &at).0, [0, 1, 0, 0]);
    let (_, reasons) = counted(&user, &[&listed, &deleted], &at);
    assert_eq!(
        reasons,
        [
            "1 1: the output of list-images does not name its repository: pass it with `--repository`",
            "1 1: the output of batch-delete-image or batch-get-image, which does not say when",
        ]
    );
    let with_repository = [&at[..], &["--repository", "team/app"]].concat();
    assert_eq!(counted(&user, &[&listed], &with_repository), ([1, 0, 0, 0], vec![]));
    let shown = user.run(&["show", &format!("team/app@{digest}")]).out;
    assert!(
        shown.contains("found in a list with tag v1, v2") && shown.contains("found in a list with tag v3"),
        "{shown}"
    );
}

#[test]
fn a_reference_is_taken_as_tools_print_it() {
    let user = User::new();
    let push = user.file("push.json", real("push-of-a-tag-and-digest.json"));
    assert_eq!(user.run(&["ingest", &push]).code, Some(0));
    let digest = "sha256:7c8bf509e9cb0cd65f83203fb9dfb1e27a813214a24e2d2abe8d8809b473fa61";
    let host = "111122223333.dkr.ecr.eu-west-1.amazonaws.com";
    for reference in [
        format!("team/app:v1@{digest}"),
        format!("{host}/team/app:v1@{digest}"),
        format!("docker-pullable://{host}/team/app@{digest}"),
        format!("docker://{host}/team/app:v1"),
        format!("oci://{host}:443/team/app:v1"),
        format!("https://{host}/team/app:v1"),
        format!("arn:aws:ecr:eu-west-1:111122223333:repository/team/app@{digest}"),
    ] {
        let ran = user.run(&["show", &reference]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{reference}");
        assert!(ran.out.contains("pushed as v1"), "{reference}: {}", ran.out);
    }
    let images = user.run(&["images", "arn:aws:ecr:eu-west-1:111122223333:repository/team/app"]);
    assert_eq!(images.code, Some(0), "{images:?}");
}
