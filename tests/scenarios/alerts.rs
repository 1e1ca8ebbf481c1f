//! Alerts from the table's stream, through the `alert` function, to an event bus whose calls can fail.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
};

use aws::bus::Bus;
use aws_lambda_events::dynamodb::Event;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_eventbridge::{
    Client,
    config::{BehaviorVersion, Credentials, Region, http::HttpRequest, http::HttpResponse, retry::RetryConfig},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use domain::{
    alert::{
        Alert, AlertKind, AlertState, Incident, PageAddress, PublishedEvent, Response, Severity, SeverityRules, Snooze,
        day,
    },
    expectation::{Completion, ExpectationState, ReplicationExpectation},
};
use jiff::{SignedDuration, Timestamp};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde_json::{Value, json};

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA, image},
    test_table::{Store, attribute_text},
};

// The event bus

/// The outcome of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// Every entry is accepted.
    Taken,
    /// The entries at these positions are refused, and the others are accepted.
    Partly(Vec<usize>),
    /// The call is refused, and no entry is accepted.
    Refused,
    /// Every entry is accepted, and the response is lost.
    Lost,
    /// Every entry is accepted, and the response has one result too few.
    Short,
}

/// A simulation of EventBridge's PutEvents: it refuses what EventBridge refuses, and fails as configured.
#[derive(Debug, Clone, Default)]
struct Events {
    /// The outcomes of the next calls; all later calls succeed.
    fates: Arc<Mutex<VecDeque<Fate>>>,
    /// The entries of each call.
    calls: Arc<Mutex<Vec<Vec<Value>>>>,
    /// All accepted entries.
    taken: Arc<Mutex<Vec<Value>>>,
}

impl Events {
    fn fated(fates: impl IntoIterator<Item = Fate>) -> Self {
        Self { fates: Arc::new(Mutex::new(fates.into_iter().collect())), ..Self::default() }
    }

    /// The event bus, through a client that does not retry.
    fn bus(&self) -> Bus {
        let config = aws_sdk_eventbridge::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("111122223333", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(SharedHttpClient::new(self.clone()));
        Bus::new(Client::from_conf(config.build()), "alerts")
    }

    /// The number of entries of each call.
    fn sizes(&self) -> Vec<usize> {
        self.calls.lock().unwrap().iter().map(Vec::len).collect()
    }

    /// The IDs of the accepted alerts, in order.
    fn ids(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|entry| detail(entry)["id"].as_str().unwrap().to_owned()).collect()
    }

    fn answer(&self, asked: &Value) -> Result<(u16, Value), ConnectorError> {
        let entries = asked["Entries"].as_array().unwrap().clone();
        self.calls.lock().unwrap().push(entries.clone());
        // EventBridge's limit is 1 MB per entry:
        // https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html
        let large = entries.iter().any(|entry| entry["Detail"].as_str().unwrap().len() > 1_000_000);
        if entries.len() > 10 || large {
            return Ok((400, json!({"__type": "ValidationException", "message": "too much"})));
        }
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Taken);
        if fate == Fate::Refused {
            return Ok((400, json!({"__type": "AccessDeniedException", "message": "not yours"})));
        }
        let refused = if let Fate::Partly(places) = &fate { places.as_slice() } else { &[] };
        let mut answers = Vec::new();
        for (place, entry) in entries.into_iter().enumerate() {
            if refused.contains(&place) {
                answers.push(json!({"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}));
            } else {
                answers.push(json!({"EventId": format!("event-{place}")}));
                self.taken.lock().unwrap().push(entry);
            }
        }
        match fate {
            Fate::Lost => return Err(ConnectorError::io("the network is gone".into())),
            Fate::Short => _ = answers.pop(),
            _ => {}
        }
        Ok((200, json!({"FailedEntryCount": refused.len(), "Entries": answers})))
    }
}

impl HttpClient for Events {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Events {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        assert_eq!(request.headers().get("x-amz-target"), Some("AWSEvents.PutEvents"));
        let asked: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        HttpConnectorFuture::ready(
            self.answer(&asked)
                .map(|(status, body)| HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string()))),
        )
    }
}

fn detail(entry: &Value) -> Value {
    serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap()
}

/// The events of these alerts, as EventBridge delivers them to a target.
pub(crate) async fn published(alerts: &[Alert]) -> Vec<Value> {
    published_events(&alerts.iter().cloned().map(PublishedEvent::Alert).collect::<Vec<_>>()).await
}

/// These events, as EventBridge delivers them to a target.
pub(crate) async fn published_events(all: &[PublishedEvent]) -> Vec<Value> {
    published_with_page(all, None).await
}

/// The same, if the hub knows the address of the page.
pub(crate) async fn published_with_page(all: &[PublishedEvent], page: Option<PageAddress>) -> Vec<Value> {
    let events = Events::default();
    assert!(events.bus().with_page(page).publish(all).await.iter().all(Result::is_ok));
    let taken = events.taken.lock().unwrap();
    let event = |entry: &Value| {
        let time = Timestamp::from_second(entry["Time"].as_f64().unwrap() as i64).unwrap();
        json!({
            "version": "0", "id": "0d079340-135a-c8c6-95c2-41fb8f496c53", "detail-type": entry["DetailType"],
            "source": entry["Source"], "account": "111122223333", "time": time.to_string(), "region": "eu-west-1",
            "resources": [], "detail": detail(entry),
        })
    };
    taken.iter().map(event).collect()
}

// Alerts

pub(crate) fn at(second: i64) -> Timestamp {
    "2026-11-02T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
}

/// Kinds of alert that are incidents: alerts are sent when they open, while they last, and when they are resolved.
pub(crate) const INCIDENTS: [AlertKind; 5] = [
    AlertKind::EventsMissing,
    AlertKind::ReplicationLate,
    AlertKind::ReplicationFailed,
    AlertKind::ReplicationMissing,
    AlertKind::ReplicaUntagged,
];

/// An incident that opened now.
fn began(kind: AlertKind, why: &str) -> Incident {
    Incident {
        kind,
        source: IRELAND.parse().unwrap(),
        destination: TOKYO.parse().unwrap(),
        opened_at: at(0),
        count: 3,
        open: 3,
        arrived: 0,
        superseded: 0,
        image: image('a').parse().unwrap(),
        repositories: ["team/web".parse().unwrap()].into(),
        why: why.to_owned(),
        notified: 0,
        notified_at: None,
        severity: None,
    }
}

/// The three alerts of an incident: opened, repeated, resolved.
pub(crate) fn incident(kind: AlertKind, why: &str) -> [Alert; 3] {
    let (mut incident, rules, nothing_said) = (began(kind, why), SeverityRules::default(), Response::default());
    let opened = incident.due(&rules, &nothing_said, at(0)).unwrap();
    (incident.notified, incident.notified_at, incident.severity) = (1, Some(at(0)), Some(opened.severity));
    let open = incident.due(&rules, &nothing_said, at(3_600)).unwrap();
    (incident.notified, incident.notified_at) = (2, Some(at(3_600)));
    (incident.open, incident.arrived) = (0, 3);
    [opened, open, incident.due(&rules, &nothing_said, at(4_000)).unwrap()]
}

/// Alerts of every kind and state, with the longest and most difficult texts and names.
pub(crate) fn every_alert() -> Vec<Alert> {
    let why = "ECR said \"no\\such\trule\": <!channel>,\nand more ".to_owned() + &"much more ".repeat(1_000);
    let mut alerts = Vec::new();
    for kind in AlertKind::ALL {
        if kind == AlertKind::EventsMissing {
            for state in [AlertState::Opened, AlertState::Open, AlertState::Resolved] {
                let tokyo = TOKYO.parse().unwrap();
                let incident = format!("events_missing/{TOKYO}/{}", state.as_str());
                alerts.push(Alert::events_missing(&tokyo, &incident, state, why.clone(), at(0)));
            }
            continue;
        }
        if INCIDENTS.contains(&kind) {
            alerts.extend(incident(kind, &why));
            continue;
        }
        if kind.is_one_shot() {
            let due = |second| began(kind, &why).due(&SeverityRules::default(), &Response::default(), at(second));
            assert_eq!(due(14 * 60), None);
            alerts.extend(due(15 * 60));
            continue;
        }
        let longest = format!("{IRELAND} {}", "a".repeat(256));
        for subject in ["policy", IRELAND, &longest] {
            alerts.push(Alert::notice(kind, subject, why.clone(), at(0)));
        }
    }
    let states: BTreeSet<AlertState> = alerts.iter().map(|alert| alert.state).collect();
    assert_eq!(states.len(), 4);
    alerts
}

/// A push whose copies are complete, as the table stores it.
fn completed(tag: Option<&str>) -> ReplicationExpectation {
    let arrivals = [(VIRGINIA, 120), (TOKYO, 720)].map(|(to, second)| (to.parse().unwrap(), at(second)));
    ReplicationExpectation {
        image: image('a').parse().unwrap(),
        source: IRELAND.parse().unwrap(),
        tag: tag.map(|tag| tag.parse().unwrap()),
        since: at(0),
        due: None,
        state: ExpectationState {
            completion: Some(Completion { at: at(720), arrivals: arrivals.into() }),
            ..ExpectationState::default()
        },
    }
}

/// The event of a push whose copies are complete.
pub(crate) fn complete(tag: Option<&str>) -> PublishedEvent {
    PublishedEvent::ReplicationComplete(completed(tag).complete().unwrap())
}

/// `count` alerts with distinct IDs.
fn alerts(count: usize) -> Vec<Alert> {
    let alert =
        |place| Alert::notice(AlertKind::DriftFound, &format!("{IRELAND} team/app{place}"), "3 tags".into(), at(0));
    (0..count).map(alert).collect()
}

fn ids(alerts: &[Alert]) -> Vec<String> {
    alerts.iter().map(|alert| alert.id.clone()).collect()
}

// Stream records

/// An item in DynamoDB's JSON format.
fn item(alert: &Alert) -> Value {
    let fields = serde_json::to_value(alert).unwrap();
    let mut item = json!({"pk": {"S": format!("alert#{}", day(alert.time))}, "sk": {"S": alert.id}});
    for (name, value) in fields.as_object().unwrap() {
        item[name] = match value {
            Value::Number(number) => json!({"N": number.to_string()}),
            Value::Array(texts) => json!({"L": texts.iter().map(|text| json!({"S": text})).collect::<Vec<_>>()}),
            text => json!({"S": text}),
        };
    }
    item
}

fn record(name: &str, number: usize, item: &Value) -> Value {
    let keys = json!({"pk": item["pk"], "sk": item["sk"]});
    json!({
        "eventID": format!("{number:032x}"), "eventName": name, "eventVersion": "1.1", "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1", "eventSourceARN": "arn:aws:dynamodb:eu-west-1:111122223333:table/lineage/stream/1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1793613600.0, "Keys": keys, "NewImage": item, "SizeBytes": 500,
            "SequenceNumber": format!("{number:021}"), "StreamViewType": "NEW_IMAGE",
        },
    })
}

fn inserted(alerts: &[Alert]) -> Vec<Value> {
    alerts.iter().enumerate().map(|(number, alert)| record("INSERT", number, &item(alert))).collect()
}

/// Invokes the function with records, and returns the positions of the failures that it reports.
async fn deliver(bus: &Bus, records: &[Value]) -> Vec<usize> {
    let batch: Event = serde_json::from_value(json!({"Records": records})).unwrap();
    let answer = serde_json::to_value(alert::handle(bus, batch).await).unwrap();
    let failures = answer["batchItemFailures"].as_array().unwrap().iter();
    let numbers = failures.map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned());
    let place = |number: String| {
        let known = |record: &Value| record["dynamodb"]["SequenceNumber"] == number.as_str();
        records.iter().position(known).unwrap()
    };
    numbers.map(place).collect()
}

// Tests

#[test]
fn a_snoozed_incident_is_repeated_only_if_it_becomes_more_severe() {
    let mut incident = began(AlertKind::ReplicationLate, "team/app:v1 is late");
    (incident.notified, incident.notified_at, incident.severity) = (1, Some(at(0)), Some(Severity::Warning));
    let snooze = |severity| Snooze {
        by: "dana".to_owned(),
        at: at(60),
        until: at(24 * 3_600),
        reason: "known".to_owned(),
        severity,
    };
    let response = Response { acknowledged: None, snoozed: Some(snooze(Severity::Warning)) };
    let rules = SeverityRules::default();
    let state = |incident: &Incident, rules: &SeverityRules, response: &Response, second| {
        incident.due(rules, response, at(second)).map(|alert| (alert.state, alert.severity))
    };
    let open = Some((AlertState::Open, Severity::Warning));
    assert_eq!(state(&incident, &rules, &Response::default(), 7_200), open);
    assert_eq!(state(&incident, &rules, &response, 7_200), None);
    assert_eq!(state(&incident, &rules, &response, 24 * 3_600), open, "the snooze is over");
    // An image of a repository that is more important is affected now: it is sent at once.
    let rules: SeverityRules = ["prod/*=critical".parse().unwrap()].into_iter().collect();
    incident.repositories.insert("prod/api".parse().unwrap());
    let worse = Some((AlertState::Open, Severity::Critical));
    assert_eq!(state(&incident, &rules, &response, 120), worse);
    assert_eq!(state(&incident, &rules, &Response::default(), 120), worse);
    let again = Response { acknowledged: None, snoozed: Some(snooze(Severity::Critical)) };
    assert_eq!(state(&incident, &rules, &again, 7_200), worse, "the last alert said less, whatever was snoozed");
    (incident.notified, incident.notified_at, incident.severity) = (2, Some(at(120)), Some(Severity::Critical));
    assert_eq!(state(&incident, &rules, &again, 7_200), None);
    assert_eq!(state(&incident, &rules, &response, 7_320), worse, "an earlier snooze was of less");
    // The end is always sent.
    incident.open = 0;
    assert_eq!(state(&incident, &rules, &again, 7_200), Some((AlertState::Resolved, Severity::Info)));
    let resolved = incident.due(&rules, &again, at(7_200)).unwrap();
    assert_eq!(resolved.severity_before, Some(Severity::Critical), "that of the last alert");
}

#[tokio::test]
async fn an_alert_becomes_an_event() {
    let events = Events::default();
    let [alert, ..] = incident(AlertKind::ReplicationLate, "team/app:v1 has been replicating since 09:29:00 UTC");
    assert!(deliver(&events.bus(), &inserted(&[alert])).await.is_empty());
    let mut entry = events.taken.lock().unwrap()[0].clone();
    entry["Detail"] = detail(&entry);
    insta::assert_json_snapshot!(entry);
}

/// A value as a stream's record has it.
fn attribute_value(value: &Value) -> AttributeValue {
    let text = |of: &str| value[of].as_str().map(str::to_owned);
    let list = || Some(AttributeValue::L(value["L"].as_array()?.iter().map(attribute_value).collect()));
    text("S").map(AttributeValue::S).or(text("N").map(AttributeValue::N)).or_else(list).unwrap()
}

#[tokio::test]
async fn the_function_publishes_alerts_as_the_table_stores_them() {
    let store = Store::new().await;
    let stored = every_alert();
    let mut notified = BTreeMap::new();
    for alert in &stored {
        store.table.put_alert(alert).await.unwrap();
        let attribute = |(name, value): (&String, &Value)| (name.clone(), attribute_text(&attribute_value(value)));
        let item = item(alert);
        let key = ["pk", "sk"].map(|name| item[name]["S"].as_str().unwrap().to_owned());
        notified.insert(key.into(), item.as_object().unwrap().iter().map(attribute).collect());
    }
    assert_eq!(store.dump().await, notified);
    let events = Events::default();
    assert!(deliver(&events.bus(), &inserted(&stored)).await.is_empty());
    assert_eq!(events.ids(), ids(&stored));
}

#[tokio::test]
async fn a_call_has_ten_alerts_at_most() {
    let events = Events::default();
    assert!(deliver(&events.bus(), &inserted(&alerts(25))).await.is_empty());
    assert_eq!(events.sizes(), [10, 10, 5]);
    assert_eq!(events.ids(), ids(&alerts(25)));
    assert!(deliver(&events.bus(), &[]).await.is_empty());
    assert_eq!(events.sizes().len(), 3);
}

#[tokio::test]
async fn only_refused_alerts_are_sent_again() {
    let events = Events::fated([Fate::Partly(vec![1, 3]), Fate::Partly(vec![1])]);
    assert!(deliver(&events.bus(), &inserted(&alerts(4))).await.is_empty());
    assert_eq!(events.sizes(), [4, 2, 1]);
    let [a, b, c, d] = ids(&alerts(4)).try_into().unwrap();
    assert_eq!(events.ids(), [a, c, b, d]);
}

#[tokio::test]
async fn only_an_alert_that_is_refused_four_times_is_reported_as_failed() {
    let events = Events::fated([vec![2], vec![0], vec![0], vec![0]].map(Fate::Partly));
    let start = tokio::time::Instant::now();
    assert_eq!(deliver(&events.bus(), &inserted(&alerts(4))).await, [2]);
    assert!(start.elapsed().as_millis() >= 700, "it waited 100, 200 and 400 ms");
    assert_eq!(events.sizes(), [4, 1, 1, 1]);
}

#[tokio::test]
async fn all_alerts_of_a_refused_call_are_reported_and_the_next_call_is_made() {
    let events = Events::fated([Fate::Refused]);
    assert_eq!(deliver(&events.bus(), &inserted(&alerts(12))).await, (0..10).collect::<Vec<_>>());
    assert_eq!(events.ids(), ids(&alerts(12)[10..]));
}

#[tokio::test]
async fn an_alert_that_is_too_large_does_not_hold_back_the_others() {
    let mut alerts = alerts(4);
    alerts[2].message = "x".repeat(1_100_000);
    let events = Events::default();
    assert_eq!(deliver(&events.bus(), &inserted(&alerts)).await, [2]);
    alerts.remove(2);
    assert_eq!(events.ids(), ids(&alerts));
}

#[tokio::test]
async fn a_response_with_too_few_entries_counts_as_failed() {
    let events = Events::fated([Fate::Short]);
    let alerts: Vec<_> = alerts(3).into_iter().map(PublishedEvent::Alert).collect();
    let answers = events.bus().publish(&alerts).await;
    for answer in answers {
        assert_eq!(answer.unwrap_err().to_string(), "the bus answered 2 entries, asked about 3");
    }
}

#[tokio::test]
async fn unreadable_records_are_reported_and_the_others_are_published() {
    let alerts = alerts(3);
    let mut records = inserted(&alerts);
    let mut broken = item(&alerts[0]);
    broken["kind"] = json!({"S": "never_heard_of"});
    records.insert(1, record("INSERT", 101, &broken));
    let mut without = record("INSERT", 102, &item(&alerts[0]));
    without["dynamodb"]["NewImage"].take();
    records.push(without);
    let events = Events::default();
    assert_eq!(deliver(&events.bus(), &records).await, [1, 4]);
    assert_eq!(events.ids(), ids(&alerts));
}

#[tokio::test]
async fn only_alerts_that_are_new_are_published() {
    let alert = &alerts(1)[0];
    let other = |pk: &str| {
        let mut other = item(alert);
        other["pk"] = json!({"S": pk});
        record("INSERT", 7, &other)
    };
    let mut records = vec![record("MODIFY", 1, &item(alert)), record("REMOVE", 2, &item(alert))];
    records.extend(["incidents", "registries", "breaker#alert#", "tag#alert#1:v1", "alert"].map(other));
    let events = Events::default();
    assert!(deliver(&events.bus(), &records).await.is_empty());
    assert!(events.sizes().is_empty());
}

/// The item of a push, as the stream has it.
fn item_of_push(completed: &ReplicationExpectation) -> Value {
    let arrivals = completed.state.completion.as_ref().map(|completion| {
        let arrivals = completion.arrivals.iter().map(|(to, at)| (to.to_string(), json!({"S": at})));
        let arrivals: serde_json::Map<_, _> = arrivals.collect();
        json!({"M": {"at": {"S": completion.at}, "arrivals": {"M": arrivals}}})
    });
    let mut item = json!({
        "pk": {"S": format!("image#{}", completed.image)}, "sk": {"S": format!("expect#{IRELAND}#v1")},
        "since": {"S": completed.since}, "version": {"N": "1"}, "problems": {"M": {}},
    });
    if let Some(arrivals) = arrivals {
        item["completion"] = arrivals;
    }
    item
}

#[tokio::test]
async fn a_push_whose_copies_are_complete_is_published_when_that_is_stored() {
    let (events, complete) = (Events::default(), completed(Some("v1")));
    let mut waiting = complete.clone();
    waiting.state.completion = None;
    let records = [
        record("INSERT", 1, &item_of_push(&waiting)),
        record("MODIFY", 2, &item_of_push(&complete)),
        record("REMOVE", 3, &item_of_push(&complete)),
    ];
    assert!(deliver(&events.bus(), &records).await.is_empty());
    assert_eq!(events.ids(), [complete.complete().unwrap().id]);
    let mut entry = events.taken.lock().unwrap()[0].clone();
    entry["Detail"] = detail(&entry);
    insta::assert_json_snapshot!(entry);
}

#[tokio::test]
async fn the_filter_of_the_stream_passes_what_the_function_publishes_and_nothing_else() {
    let hub = crate::templates::template("hub.yaml");
    let stream = &hub["Resources"]["AlertStream"]["Properties"];
    let filters = stream["FilterCriteria"]["Filters"].as_array().unwrap().iter();
    let patterns: Vec<Value> =
        filters.map(|filter| serde_json::from_str(filter["Pattern"].as_str().unwrap()).unwrap()).collect();
    let passes = |record: &Value| patterns.iter().any(|pattern| crate::patterns::matches(pattern, record));
    let (complete, mut waiting) = (completed(Some("v1")), completed(Some("v1")));
    waiting.state.completion = None;
    let alert = item(&alerts(1)[0]);
    assert!(passes(&record("INSERT", 1, &alert)) && passes(&record("MODIFY", 1, &item_of_push(&complete))));
    assert!(passes(&record("INSERT", 1, &item_of_push(&complete))));
    for (name, item) in [("MODIFY", &alert), ("REMOVE", &alert), ("REMOVE", &item_of_push(&complete))] {
        assert!(!passes(&record(name, 1, item)), "{name}");
    }
    for name in ["INSERT", "MODIFY"] {
        assert!(!passes(&record(name, 1, &item_of_push(&waiting))), "{name}");
    }
    assert!(!passes(&record("INSERT", 1, &json!({"pk": {"S": "incidents"}, "sk": {"S": "x"}}))));
}

#[tokio::test]
async fn every_alert_is_published_with_its_own_id_although_a_call_fails() {
    let alerts = alerts(25);
    for fate in [Fate::Refused, Fate::Lost, Fate::Short, Fate::Partly(vec![0, 4])] {
        for call in 0..3 {
            let fates = (0..call).map(|_| Fate::Taken).chain([fate.clone()]);
            let events = Events::fated(fates);
            let mut records = inserted(&alerts);
            // Lambda redelivers from the first failed record.
            while let Some(first) = deliver(&events.bus(), &records).await.into_iter().min() {
                records.drain(..first);
            }
            let published: BTreeSet<_> = events.ids().into_iter().collect();
            assert_eq!(published, ids(&alerts).into_iter().collect(), "{fate:?} at call {call}");
        }
    }
}

#[tokio::test]
async fn a_function_that_dies_before_it_answers_publishes_the_same_ids_again() {
    let (events, records) = (Events::default(), inserted(&alerts(12)));
    _ = deliver(&events.bus(), &records).await;
    assert!(deliver(&events.bus(), &records).await.is_empty());
    let expected = ids(&alerts(12));
    assert_eq!(events.ids(), [expected.clone(), expected].concat());
    let taken = events.taken.lock().unwrap();
    assert_eq!(taken[..12], taken[12..]);
}

#[test]
fn published_and_failed_alerts_are_counted() {
    let recorder = DebuggingRecorder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let events = Events::fated([Fate::Taken, Fate::Refused]);
            let mut records = inserted(&alerts(12));
            records.push(record("INSERT", 99, &json!({"pk": {"S": "alert#2026-11-02"}, "sk": {"S": "x"}})));
            deliver(&events.bus(), &records).await;
        });
    });
    let seen = recorder.snapshotter().snapshot().into_vec();
    let mut counters = Vec::new();
    for (key, _, _, value) in seen {
        let DebugValue::Counter(count) = value else { panic!("{key:?}") };
        counters.push(format!("{} {count}", key.key().name()));
    }
    counters.sort();
    assert_eq!(counters, ["AlertFailures 3", "AlertsPublished 10"]);
}
